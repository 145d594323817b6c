"""The two networks of FCFR-Net (arXiv 2012.08270) and their composition.

All take an image `[B, H, W, 3]` (or gray `[B, H, W, 1]`) with values 0..255 and a depth map `[B, H,
W, 1]` in metres, 0 = missing, with H and W multiples of 16, and return float32 metres `[B, H, W,
1]`, not clamped: `clip_depth` gives the depth that is evaluated and handed out. Layer names are
those of the released code.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcfrnet_jax import layers, packed_ops
from fcfrnet_jax.cpu_conv import CpuConv
from fcfrnet_jax.fill import classical_fill, keep_measured
from fcfrnet_jax.inputs import checked_depth, select_channels
from fcfrnet_jax.layers import Module
from fcfrnet_jax.network import Network
from fcfrnet_jax.specs import SPARSE_TO_COARSE, ModelSpec, TwoStageSpec

# Nearer than this, metres, the LiDAR sees nothing.
MIN_DEPTH = 0.9
# Four halvings in the encoder.
SIZE_MULTIPLE = 16


class SparseToCoarse(Network):
    """The sparse-to-coarse network ("self-supervised sparse-to-dense", Ma et al., ICRA 2019)."""

    @nn.compact
    def __call__(
        self, image: jax.Array | None, depth: jax.Array | None, train: bool = False
    ) -> jax.Array:
        """Predicts the coarse depth from the image and the sparse depth; see the module's
        docstring.

        Raises:
          ValueError: an input that the modality needs is None or has the wrong shape.
        """
        parts = self.parts(train)
        width, modality = self.spec.width, self.spec.modality
        measured = depth
        stems = []
        base = jnp.zeros(())
        if self.spec.uses_depth:
            depth = checked_depth(depth)
            if self.spec.base == "fill":
                base = keep_measured(depth, classical_fill(depth, self.spec.max_depth))
                depth = jnp.concatenate([depth, base], axis=-1)
            depth = depth.astype(self.dtype)
            stems.append(parts.stem(width // len(modality), name="conv1_d")(depth))
        if self.spec.uses_image:
            image = select_channels(image, modality).astype(self.dtype)
            share = 3 if modality.startswith("rgb") else 1
            features = width * share // len(modality)
            stems.append(parts.stem(features, name="conv1_img")(image))
        skips = [jnp.concatenate(stems, axis=-1)]
        for level in self.encoder(parts):
            skips.append(level(skips[-1]))
        stem, *levels, deepest = skips
        coarse = base + self.spec.max_depth * self.decode(deepest, [stem], levels, parts)
        return with_measured(self.spec, measured, coarse)


class CoarseToFine(Network):
    """FCFR-Net: learns the residual of the coarse depth (Liu et al., AAAI 2021).

    `variant="released"`: from the third level on both branches read the colour branch, only the
    last level is fused, and both branches feed the decoder. `variant="paper"`: the branches stay
    apart, the shuffle puts depth first, and the decoder reads the fusion of every level.
    """

    @nn.compact
    def __call__(self, image: jax.Array, depth: jax.Array, train: bool = False) -> jax.Array:
        """Refines the coarse depth `depth`; see the module's docstring.

        Raises:
          ValueError: an input is None or has the wrong shape.
        """
        parts = self.parts(train)
        spec, paper = self.spec, self.spec.variant == "paper"
        image = select_channels(image, spec.modality) / 255.0
        coarse = jnp.minimum(checked_depth(depth), spec.max_depth) / spec.max_depth
        a = parts.stem(spec.width, name="conv1_img")(image.astype(self.dtype))
        b = parts.stem(spec.width, name="conv1_d_2")(coarse.astype(self.dtype))

        pairs = [(a, b)]
        colour_levels = self.encoder(parts)
        depth_levels = self.encoder(parts, suffix="_2")
        for i, (colour, distance) in enumerate(zip(colour_levels, depth_levels, strict=True)):
            a, b = colour(a), distance(b if paper or i < 2 else a)
            pairs.append((a, b))
            if paper:
                b, a = layers.shuffle_branches(b, a, self.interleave)
            elif self.interleave and self.packed:
                a, b = packed_ops.shuffle_branches(a, b, pixels=2 if i == 0 else 1)
            elif self.interleave or i == len(colour_levels) - 1:
                a, b = layers.shuffle_branches(a, b, self.interleave)
            else:
                # The decoder's kernels know the order of what is not shuffled.
                a, b = layers.exchange_halves(a, b)
                continue
            pairs[-1] = a, b

        def merge(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
            return layers.energy_fusion(*pair, spec.window) if paper else jnp.concatenate(pair, -1)

        stems, *middle, deepest = pairs
        residual = self.decode(
            layers.energy_fusion(*deepest, spec.window),
            [merge(stems)] if paper else stems,
            [merge(pair) for pair in middle],
            parts,
        )
        return spec.max_depth * (residual + coarse)


class TwoStage(nn.Module):
    """Both networks end to end: image and sparse depth in, coarse and fine depth out."""

    coarse: SparseToCoarse
    fine: CoarseToFine

    @property
    def spec(self) -> TwoStageSpec:
        return TwoStageSpec(self.coarse.spec, self.fine.spec)

    @property
    def dtype(self) -> Any:
        return self.fine.dtype

    def __call__(
        self, image: jax.Array, depth: jax.Array | None, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Returns (coarse, fine) for the sparse depth `depth`, neither clamped."""
        spec = self.coarse.spec
        coarse = self.coarse(image, depth, train)
        fine = self.fine(image, clip_depth(coarse, spec.max_depth), train)
        return coarse, with_measured(spec, depth, fine)


def build(
    spec: ModelSpec | TwoStageSpec,
    *,
    dtype: Any = jnp.float32,
    axis_name: str | None = None,
    remat: bool = False,
    folded: bool = False,
    packed: bool = False,
    conv: Module = nn.Conv,
) -> SparseToCoarse | CoarseToFine | TwoStage:
    """The network that `spec` describes.

    Args:
      spec: what to build.
      dtype: of the convolutions; parameters, statistics, energies and outputs stay float32.
      axis_name: pmap axis over which train mode averages the BatchNorm statistics.
      remat: in training, keep only the inputs of ResNet blocks, stems and the decoder's layers, and
        compute the rest again for the gradients: less memory for more time, the same variables and
        gradients.
      folded: for the variables that `fold.fold` makes, which have no normalisation of their own.
      packed: of a network that `can_pack`: the faster form on TPUs.
      conv: the convolutions' module, `nn.Conv` or one that computes the same.

    Raises:
      ValueError: `packed` for a network that has no such form.
    """
    if packed and not can_pack(spec):
        raise ValueError(f"there is no packed form of {spec}")
    settings: dict[str, Any] = {
        "dtype": dtype,
        "axis_name": axis_name,
        "remat": remat,
        "conv": conv,
        "packed": packed,
    }
    if folded:
        settings |= {"norm": None, "interleave": False}
    if isinstance(spec, TwoStageSpec):
        networks = (SparseToCoarse(spec.coarse, **settings), CoarseToFine(spec.fine, **settings))
        return TwoStage(*networks)
    network = SparseToCoarse if spec.network == SPARSE_TO_COARSE else CoarseToFine
    return network(spec, **settings)


def build_to_train(
    spec: ModelSpec | TwoStageSpec, *, dtype: Any = jnp.float32, remat: bool = False
) -> SparseToCoarse | CoarseToFine | TwoStage:
    """The same network as `build` makes, in the form that trains fastest on what is here."""
    backend = jax.default_backend()
    packed = backend == "tpu" and can_pack(spec)
    conv = CpuConv if backend == "cpu" else nn.Conv
    return build(spec, dtype=dtype, remat=remat, packed=packed, conv=conv)


def can_pack(spec: ModelSpec | TwoStageSpec) -> bool:
    """Whether a network has a form that is packed at full resolution: those of ResNet-18 and 34,
    but for the wiring of the paper, which compares energies there.
    """
    if isinstance(spec, TwoStageSpec):
        return can_pack(spec.coarse) and can_pack(spec.fine)
    return spec.layers < 50 and spec.variant != "paper"


def variable_shapes(spec: ModelSpec | TwoStageSpec) -> dict[str, Any]:
    """The variables of a network as a tree of `jax.ShapeDtypeStruct`; computes nothing."""
    return shapes_of(build(spec))


def shapes_of(network: nn.Module) -> dict[str, Any]:
    """The variables of a network that `build` made, as `variable_shapes` has them."""

    def init() -> Any:
        size = (1, SIZE_MULTIPLE, SIZE_MULTIPLE)
        return network.init(jax.random.key(0), jnp.zeros((*size, 3)), jnp.zeros((*size, 1)))

    return jax.eval_shape(init)


def with_measured(
    coarse_spec: ModelSpec, sparse_depth: jax.Array | None, depth: jax.Array
) -> jax.Array:
    """Puts the sparse depth into a prediction `depth` where a model whose sparse-to-coarse network
    is of this spec does so; both `[B, H, W, 1]` metres, the coarse or the fine depth.
    """
    if not coarse_spec.keep_measured:
        return depth
    return keep_measured(checked_depth(sparse_depth), depth)


def clip_depth(depth: jax.Array, max_depth: float) -> jax.Array:
    """Clips metres to [0.9, `max_depth`], what a LiDAR measures; evaluation and prediction do."""
    return jnp.clip(depth, MIN_DEPTH, max_depth)
