"""The two networks of FCFR-Net (arXiv 2012.08270) and their composition.

Inputs are an image `[B, H, W, 3]` (or gray `[B, H, W, 1]`) with values 0..255 and a depth map `[B,
H, W, 1]` in metres, 0 = missing, where H and W are multiples of 16. The output is float32 metres
`[B, H, W, 1]`, not clipped; `clip_depth` gives the depth that is evaluated and returned to users.
Layers have the names of the released code.
"""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike

from fcfrnet_jax.networks import patches
from fcfrnet_jax.networks.branches import EnergyFusion
from fcfrnet_jax.networks.fill import classical_fill, keep_measured
from fcfrnet_jax.networks.inputs import MAX_INPUT, checked_depth, select_channels
from fcfrnet_jax.networks.layers import Module
from fcfrnet_jax.networks.network import Backbone
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, Spec, TwoStageSpec

# The variables of a network, `params` and `batch_stats`: nested dicts of arrays.
Variables = dict[str, Any]
# The encoder halves its input four times.
SIZE_MULTIPLE = 16


class SparseToCoarse(Backbone):
    """The sparse-to-coarse network ("self-supervised sparse-to-dense", Ma et al., ICRA 2019)."""

    spec: SparseToCoarseSpec

    @nn.compact
    def __call__(
        self, image: jax.Array | None, depth: jax.Array | None, train: bool = False
    ) -> jax.Array:
        """Predicts the coarse depth from the image and the sparse depth.

        See the module docstring for shapes and units.

        Raises:
          ValueError: an input that the modality requires is None or has the wrong shape.
        """
        parts, spec = self.bound_parts(train), self.spec
        if spec.patch > 1:
            return self._of_patches(image, depth, parts)
        stems = []
        sparse_depth, base = depth, jnp.zeros(())
        if spec.uses_depth:
            depth = sparse_depth = checked_depth(depth)
            if spec.base == "fill":
                base = keep_measured(depth, classical_fill(depth, spec.max_depth))
                depth = jnp.concatenate([depth, base], axis=-1)
            depth_stem = parts.stem(spec.width // len(spec.modality), "conv1_d")
            stems.append(depth_stem(depth.astype(self.dtype)))
        if spec.uses_image:
            image = select_channels(image, spec.modality).astype(self.dtype)
            share = (3 if spec.modality.startswith("rgb") else 1) / len(spec.modality)
            stems.append(parts.stem(int(spec.width * share), "conv1_img")(image))
        stem = jnp.concatenate(stems, axis=-1)  # [B, H, W, width]
        # 1, 1/2, 1/4, 1/8 and 1/16 of H and W, after the stem itself.
        levels = itertools.accumulate(self.encoder(parts), lambda x, f: f(x), initial=stem)
        _, *skips, deepest = levels
        output = self.decode(deepest, [[skip] for skip in skips], [stem], parts)
        return put_back_measured(spec, sparse_depth, base + spec.max_depth * output)

    def _of_patches(
        self, image: jax.Array | None, depth: jax.Array | None, parts: Parts
    ) -> jax.Array:
        """The form of `patches.py`."""
        spec, patch, limits = self.spec, self.spec.patch, self.spec.limits
        sparse = checked_depth(depth)
        fill = patches.to_patches(patches.filled(sparse, spec.max_depth), patch)
        sparse = patches.to_patches(sparse, patch)
        base = patches.log_depth(keep_measured(sparse, fill), limits)
        scan = patches.scan_maps(sparse, patches.log_depth(fill, limits), base, limits)
        stems = [parts.stem(spec.width, "conv1_d")(scan.astype(self.dtype))]
        if spec.uses_image:
            colours = patches.to_patches(patches.normalised(image, spec.modality), patch)
            stems.append(parts.stem(spec.width, "conv1_img")(colours.astype(self.dtype)))
        x = jnp.concatenate(stems, axis=-1)  # [B, H / patch, W / patch, 2 width]
        *skips, deepest = itertools.accumulate(self.encoder(parts), lambda x, f: f(x), initial=x)
        features = [[skip] for skip in skips[1:]]
        head = self.decode(deepest, features, stems, parts, patches.outputs(patch))
        depth = patches.metres(patches.combine(head, base, patch))
        # In training, measured pixels need a gradient too: some are seen through the foreground.
        depth = depth if parts.train else put_back_measured(spec, sparse, depth)
        return patches.from_patches(depth, patch)


class CoarseToFine(Backbone):
    """FCFR-Net: predicts the residual of the coarse depth (Liu et al., AAAI 2021).

    With `capture_intermediates`, the shuffled branches of each level are `shuffle2`..`shuffle6`.
    The fused features are `fusion6`, and in the wiring of the paper `fusion1`..`fusion6`.
    """

    spec: CoarseToFineSpec

    @nn.compact
    def __call__(
        self,
        image: jax.Array | None,
        depth: jax.Array,
        train: bool = False,
        sparse_depth: jax.Array | None = None,
    ) -> jax.Array:
        """Refines the coarse depth `depth`.

        See the module docstring for shapes and units. `sparse_depth` is read by networks of
        patches only, which then know which depths are measured.

        Raises:
          ValueError: an input is None or has the wrong shape.
        """
        parts, spec = self.bound_parts(train), self.spec
        if spec.patch > 1:
            return self._of_patches(image, depth, sparse_depth, parts)
        image = select_channels(image, spec.modality) / 255.0
        coarse = jnp.minimum(checked_depth(depth), spec.max_depth) / spec.max_depth
        a = parts.stem(spec.width, "conv1_img")(image.astype(self.dtype))  # [B, H, W, width]
        b = parts.stem(spec.width, "conv1_d_2")(coarse.astype(self.dtype))
        return spec.max_depth * (self._wire(a, b, parts) + coarse)

    def _of_patches(
        self, image: jax.Array | None, depth: jax.Array, sparse: jax.Array | None, parts: Parts
    ) -> jax.Array:
        """The form of `patches.py`."""
        spec, patch = self.spec, self.spec.patch
        base = patches.to_patches(patches.log_depth(checked_depth(depth), spec.limits), patch)
        sparse = jnp.zeros_like(depth) if sparse is None else checked_depth(sparse)
        sparse = patches.to_patches(sparse, patch)
        scan = colours = patches.scan_maps(sparse, base, base, spec.limits)
        # Without an image, both branches read the scan, so that the network keeps its size.
        if spec.uses_image:
            colours = patches.to_patches(patches.normalised(image, spec.modality), patch)
        a = parts.stem(spec.width, "conv1_img")(colours.astype(self.dtype))
        b = parts.stem(spec.width, "conv1_d_2")(scan.astype(self.dtype))
        head = self._wire(a, b, parts, patches.outputs(patch) + patch**2)
        head, scale = jnp.split(head, [patches.outputs(patch)], axis=-1)
        self.sow("intermediates", patches.LOG_SCALE, patches.from_patches(scale, patch))
        spread = parts.apart(partial(patches.from_patches, patch=patch))
        return spread(patches.metres(patches.combine(head, base, patch)))

    def _wire(self, a: jax.Array, b: jax.Array, parts: Parts, outputs: int = 1) -> jax.Array:
        wire = self._paper if self.spec.variant == "paper" else self._released
        return wire(a, b, parts, outputs)

    def _released(self, a: jax.Array, b: jax.Array, parts: Parts, outputs: int) -> jax.Array:
        """The wiring of the released code: the decoder reads both branches and one fusion."""
        stems, levels = (a, b), []
        encoders = self.encoder(parts), self.encoder(parts, suffix="_2")
        for i, (colour, distance) in enumerate(zip(*encoders, strict=True)):
            # From conv4 on, both encoders read the colour branch.
            a, b = colour(a), distance(b if i < 2 else a)
            a, b = parts.shuffle(i, fused=i == 4, name=f"shuffle{i + 2}")(a, b)
            levels.append((a, b))
        *skips, deepest = levels
        fused = EnergyFusion(self.spec.window, name="fusion6")(*deepest)
        return self.decode(fused, skips, stems, parts, outputs)

    def _paper(self, a: jax.Array, b: jax.Array, parts: Parts, outputs: int) -> jax.Array:
        """The wiring in figures 2 and 3 of the paper.

        Each encoder reads its own branch, the shuffle puts depth first, and the decoder reads the
        fused branches of every level.
        """
        window = self.spec.window
        stem = EnergyFusion(window, name="fusion1")(a, b)
        levels = []
        encoders = self.encoder(parts), self.encoder(parts, suffix="_2")
        for i, (colour, distance) in enumerate(zip(*encoders, strict=True)):
            a, b = colour(a), distance(b)
            b, a = parts.shuffle(i, fused=True, name=f"shuffle{i + 2}")(b, a)
            levels.append(EnergyFusion(window, name=f"fusion{i + 2}")(a, b))
        *skips, deepest = levels
        return self.decode(deepest, [[skip] for skip in skips], [stem], parts, outputs)


class TwoStage(nn.Module):
    """Both networks end to end: image and sparse depth in, coarse and fine depth out.

    With `freeze_coarse`, the coarse network runs in eval mode and receives no gradient.
    """

    coarse: SparseToCoarse
    fine: CoarseToFine
    freeze_coarse: bool = False

    @property
    def spec(self) -> TwoStageSpec:
        return TwoStageSpec(self.coarse.spec, self.fine.spec)

    @property
    def dtype(self) -> DTypeLike:
        return self.fine.dtype

    def __call__(
        self, image: jax.Array | None, depth: jax.Array | None, train: bool = False
    ) -> tuple[jax.Array, jax.Array]:
        """Predicts the coarse and the fine depth from the image and the sparse depth.

        The fine network refines the clipped coarse depth. See the module docstring for shapes and
        units.

        Args:
          image: `[B, H, W, 3]`, `[B, H, W, 1]` if neither needs colour, None if neither uses it.
          depth: the sparse depth `[B, H, W, 1]`, or None if the coarse network does not use it.
          train: whether BatchNorm uses the moments of the batch and updates its statistics.

        Returns:
          The coarse and the fine depth, each `[B, H, W, 1]` metres, not clipped.

        Raises:
          ValueError: an input that a network requires is None or has the wrong shape.
        """
        spec = self.coarse.spec
        coarse = self.coarse(image, depth, train and not self.freeze_coarse)
        if self.freeze_coarse:
            coarse = lax.stop_gradient(coarse)
        put_back, patch = partial(put_back_measured, spec), self.fine.spec.patch
        clip = partial(clip_depth, limits=spec.limits)
        if patch == 1:
            return coarse, put_back(depth, self.fine(image, clip(coarse), train))
        depth = checked_depth(depth)
        refined = patches.pixelwise(lambda s, x: put_back(s, clip(x)), patch, depth, coarse)
        fine = self.fine(image, refined, train, depth)
        return coarse, fine if train else put_back(depth, fine)


Network = SparseToCoarse | CoarseToFine | TwoStage


def build(
    spec: Spec,
    *,
    dtype: DTypeLike = jnp.float32,
    folded: bool = False,
    remat: bool = False,
    conv: Module = nn.Conv,
    parts: type[Parts] = Parts,
) -> Network:
    """Builds the network that `spec` describes.

    The keyword arguments are those of `network.Backbone`; both stages of a two-stage model get the
    same. They do not change the variables, except that `folded` networks have no BatchNorm.
    """
    if isinstance(spec, TwoStageSpec):
        return TwoStage(
            SparseToCoarse(spec.coarse, dtype, folded, remat, conv, parts),
            CoarseToFine(spec.fine, dtype, folded, remat, conv, parts),
        )
    if isinstance(spec, SparseToCoarseSpec):
        return SparseToCoarse(spec, dtype, folded, remat, conv, parts)
    return CoarseToFine(spec, dtype, folded, remat, conv, parts)


def join_variables(coarse: Variables, fine: Variables) -> Variables:
    """Returns the variables of a `TwoStage` network, given those of its two networks."""
    return {kind: {"coarse": coarse[kind], "fine": tree} for kind, tree in fine.items()}


def variable_shapes(spec: Spec) -> dict[str, Any]:
    """Returns the variables of a network as a tree of `jax.ShapeDtypeStruct`."""
    return shapes_of(build(spec))


def shapes_of(network: Network) -> dict[str, Any]:
    """Returns the variables of `network`, which may be folded, as in `variable_shapes`."""

    def init() -> Any:
        size = (1, SIZE_MULTIPLE, SIZE_MULTIPLE)
        return network.init(jax.random.key(0), jnp.zeros((*size, 3)), jnp.zeros((*size, 1)))

    return jax.eval_shape(init)


def put_back_measured(
    coarse_spec: SparseToCoarseSpec, sparse_depth: jax.Array | None, depth: jax.Array
) -> jax.Array:
    """Puts measured depths, 0 = missing, back into a prediction if `keep_measured` is set."""
    if not coarse_spec.keep_measured:
        return depth
    assert sparse_depth is not None
    return keep_measured(jnp.minimum(sparse_depth, MAX_INPUT), depth)


def clip_depth(depth: jax.Array, limits: patches.Limits) -> jax.Array:
    """Clips metres to `limits`, as evaluation and prediction do."""
    return jnp.clip(depth, *limits)
