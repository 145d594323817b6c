"""The two networks of FCFR-Net (arXiv 2012.08270) and their composition.

All take an image `[B, H, W, 3]` (or gray `[B, H, W, 1]`) with values 0..255 and a depth map `[B, H,
W, 1]` in metres, 0 = missing, with H and W multiples of 16, and return float32 metres `[B, H, W,
1]`, not clamped: `clip_depth` gives the depth that is evaluated and handed out. Layer names are
those of the released code.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcfrnet_jax import layers
from fcfrnet_jax.fill import classical_fill, keep_measured
from fcfrnet_jax.layers import ConvNormAct, Module, ResNetLayer, UpConvNormAct
from fcfrnet_jax.specs import SPARSE_TO_COARSE, ModelSpec, TwoStageSpec

# Blocks of layer1..layer4 and their kind, by ResNet depth.
RESNETS: dict[int, tuple[tuple[int, ...], Any]] = {
    18: ((2, 2, 2, 2), layers.BasicBlock),
    34: ((3, 4, 6, 3), layers.BasicBlock),
    50: ((3, 4, 6, 3), layers.BottleneckBlock),
}
# Nearer than this, metres, the LiDAR sees nothing.
MIN_DEPTH = 0.9
# Of the released code's BatchNorm.
NORM_EPSILON = 1e-5
# Four halvings in the encoder.
SIZE_MULTIPLE = 16


class Network(nn.Module):
    """What both networks share: the encoder's ResNet layers and the decoder.

    `conv`, `conv_transpose` and `norm` are the modules to build of; without a `norm` the
    convolutions have a bias. With `interleave=False` the branches exchange halves of their channels
    instead of shuffling them, which is the same where the next kernels' inputs are reordered as
    well. `fold.py` makes the variables for both.
    """

    spec: ModelSpec
    dtype: Any = jnp.float32
    conv: Module = nn.Conv
    conv_transpose: Module = layers.DoublingConv
    norm: Module | None = nn.BatchNorm
    interleave: bool = True
    axis_name: str | None = None
    remat: bool = False

    def parts(self, train: bool) -> tuple[Module, Module, Module | None]:
        """Binds dtype, train mode and axis once: `conv`, `conv_transpose`, `norm` of all blocks."""
        bound = {"use_bias": self.norm is None, "dtype": self.dtype}
        norm = self.norm and partial(
            self.norm,
            use_running_average=not train,
            momentum=0.9,
            epsilon=NORM_EPSILON,
            dtype=self.dtype,
            axis_name=self.axis_name,
            # E[x^2] - E[x]^2 loses half of float32's digits.
            use_fast_variance=False,
        )
        return partial(self.conv, **bound), partial(self.conv_transpose, **bound), norm

    def encoder(self, conv: Module, norm: Module | None, suffix: str = "") -> list[nn.Module]:
        """`conv2`..`conv6`: layer1..layer4 of the ResNet, then one more halving."""
        blocks, block = RESNETS[self.spec.layers]
        width = self.spec.width
        resnet_layer = nn.remat(ResNetLayer) if self.remat else ResNetLayer
        resnet = [
            resnet_layer(
                block,
                blocks[i],
                width * 2**i,
                conv,
                norm,
                stride=1 if i == 0 else 2,
                name=f"conv{i + 2}{suffix}",
            )
            for i in range(4)
        ]
        return [*resnet, ConvNormAct(width * 8, conv, norm, stride=2, name=f"conv6{suffix}")]

    def decode(
        self, x: jax.Array, skips: list[jax.Array], conv: Module, up: Module, norm: Module | None
    ) -> jax.Array:
        """From 1/16 to full size. `skips`: the stem at full size, then 1, 1/2, 1/4 and 1/8."""
        stem, *levels = skips
        width = self.spec.width
        x = UpConvNormAct(width * 4, up, norm, name="convt5")(x)  # 1/8
        for features, skip, name in (
            (width * 2, levels[3], "convt4"),  # 1/4
            (width, levels[2], "convt3"),  # 1/2
            (width, levels[1], "convt2"),  # 1
        ):
            x = UpConvNormAct(features, up, norm, name=name)(jnp.concatenate([x, skip], axis=-1))
        # A transposed convolution of stride 1 is a convolution with the kernel turned around.
        x = ConvNormAct(width, conv, norm, name="convt1")(jnp.concatenate([x, levels[0]], axis=-1))
        x = jnp.concatenate([x, stem], axis=-1)
        # bfloat16 has steps of 0.2 m at 50 m: the last layer is float32 at least.
        dtype = jnp.promote_types(self.dtype, jnp.float32)
        return nn.Conv(1, (1, 1), dtype=dtype, name="convtf")(x)


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
        conv, up, norm = self.parts(train)
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
            stems.append(ConvNormAct(width // len(modality), conv, norm, name="conv1_d")(depth))
        if self.spec.uses_image:
            image = select_channels(image, modality).astype(self.dtype)
            share = 3 if modality.startswith("rgb") else 1
            features = width * share // len(modality)
            stems.append(ConvNormAct(features, conv, norm, name="conv1_img")(image))
        skips = [jnp.concatenate(stems, axis=-1)]
        for level in self.encoder(conv, norm):
            skips.append(level(skips[-1]))
        coarse = base + self.spec.max_depth * self.decode(skips.pop(), skips, conv, up, norm)
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
        conv, up, norm = self.parts(train)
        spec, paper = self.spec, self.spec.variant == "paper"
        image = select_channels(image, spec.modality) / 255.0
        coarse = jnp.minimum(checked_depth(depth), spec.max_depth) / spec.max_depth
        stem = partial(ConvNormAct, spec.width, conv, norm)
        a = stem(name="conv1_img")(image.astype(self.dtype))
        b = stem(name="conv1_d_2")(coarse.astype(self.dtype))

        levels = [(a, b)]
        colour_levels = self.encoder(conv, norm)
        depth_levels = self.encoder(conv, norm, suffix="_2")
        for i, (colour, distance) in enumerate(zip(colour_levels, depth_levels, strict=True)):
            a, b = colour(a), distance(b if paper or i < 2 else a)
            if paper:
                b, a = layers.shuffle_branches(b, a, self.interleave)
            else:
                a, b = layers.shuffle_branches(a, b, self.interleave)
            levels.append((a, b))

        fused = layers.energy_fusion(a, b, spec.window)
        skips = [
            layers.energy_fusion(*pair, spec.window) if paper else jnp.concatenate(pair, axis=-1)
            for pair in levels[:-1]
        ]
        return spec.max_depth * (self.decode(fused, skips, conv, up, norm) + coarse)


class TwoStage(nn.Module):
    """Both networks end to end: image and sparse depth in, coarse and fine depth out."""

    coarse: SparseToCoarse
    fine: CoarseToFine

    @property
    def spec(self) -> TwoStageSpec:
        return TwoStageSpec(self.coarse.spec, self.fine.spec)

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
) -> SparseToCoarse | CoarseToFine | TwoStage:
    """The network that `spec` describes.

    Args:
      spec: what to build.
      dtype: of the convolutions; parameters, statistics, energies and outputs stay float32.
      axis_name: pmap axis over which train mode averages the BatchNorm statistics.
      remat: in training, keep only the input and output of each ResNet layer and compute the rest
        again for the gradients: less memory for more time, the same variables and gradients.
      folded: for the variables that `fold.fold` makes, which have no normalisation of their own.
    """
    settings: dict[str, Any] = {"dtype": dtype, "axis_name": axis_name, "remat": remat}
    if folded:
        settings |= {"norm": None, "interleave": False}
    if isinstance(spec, TwoStageSpec):
        networks = (SparseToCoarse(spec.coarse, **settings), CoarseToFine(spec.fine, **settings))
        return TwoStage(*networks)
    network = SparseToCoarse if spec.network == SPARSE_TO_COARSE else CoarseToFine
    return network(spec, **settings)


def variable_shapes(spec: ModelSpec | TwoStageSpec) -> dict[str, Any]:
    """The variables of a network as a tree of `jax.ShapeDtypeStruct`; computes nothing."""
    size = (1, SIZE_MULTIPLE, SIZE_MULTIPLE)
    image, depth = jnp.zeros((*size, 3)), jnp.zeros((*size, 1))
    return jax.eval_shape(build(spec).init, jax.random.key(0), image, depth)


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


def luma(image: jax.Array) -> jax.Array:
    """Gray `[B, H, W, 1]` of a colour image 0..255: ITU-R BT.601, in integers as Pillow does."""
    weights = jnp.array([19595, 38470, 7471], jnp.int32)
    weighted = jnp.sum(image.astype(jnp.int32) * weights, axis=-1, keepdims=True)
    return ((weighted + 0x8000) >> 16).astype(jnp.float32)


def select_channels(image: jax.Array | None, modality: str) -> jax.Array:
    """The image as `modality` wants it, float32 0..255: colour as it is, or gray.

    Raises:
      ValueError: no image, a shape other than `[B, H, W, 3 or 1]`, or gray where colour is needed.
    """
    if image is None:
        raise ValueError(f"a network of modality {modality!r} needs an image, got None")
    if image.ndim != 4 or image.shape[-1] not in (1, 3):
        raise ValueError(f"expected an image [B, H, W, 3] or [B, H, W, 1], got {image.shape}")
    if modality.startswith("rgb"):
        if image.shape[-1] != 3:
            raise ValueError(f"modality {modality!r} needs a colour image, got {image.shape}")
        return image.astype(jnp.float32)
    return image.astype(jnp.float32) if image.shape[-1] == 1 else luma(image)


def checked_depth(depth: jax.Array | None) -> jax.Array:
    """`depth` as float32.

    Raises:
      ValueError: no depth map, or a shape other than `[B, H, W, 1]`.
    """
    if depth is None:
        raise ValueError("this network needs a depth map, got None")
    if depth.ndim != 4 or depth.shape[-1] != 1:
        raise ValueError(f"expected a depth map [B, H, W, 1], got {depth.shape}")
    return depth.astype(jnp.float32)
