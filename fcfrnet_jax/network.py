"""What the two networks of FCFR-Net share: the encoder and the decoder."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcfrnet_jax import layers, packing
from fcfrnet_jax.layers import ConvNormAct, Module, ResNetLayer, UpConvNormAct
from fcfrnet_jax.packed_norm import STATISTICS, PackedNorm
from fcfrnet_jax.specs import ModelSpec

# Blocks of layer1..layer4 and their kind, by ResNet depth.
RESNETS: dict[int, tuple[tuple[int, ...], Any]] = {
    18: ((2, 2, 2, 2), layers.BasicBlock),
    34: ((3, 4, 6, 3), layers.BasicBlock),
    50: ((3, 4, 6, 3), layers.BottleneckBlock),
}
# The layer that computes in float32 at least: bfloat16 has steps of 0.2 m at 50 m.
HEAD = "convtf"
# Of the released code's BatchNorm.
NORM_EPSILON = 1e-5


class Parts(NamedTuple):
    """What the blocks of a network are built of; `norm` may be None.

    `full_conv` and `full_norm` are those at full resolution, `second_conv` is the convolution of
    the level that reads it. `block` is a `ConvNormAct`; `stem` is the one that leads from an input
    map to full resolution, `up` one that doubles the size, and `full_up` the one that leads back to
    full resolution.
    """

    conv: Module
    norm: Module | None
    block: Module
    full_conv: Module
    full_norm: Module | None
    second_conv: Module
    stem: Module
    up: Module
    full_up: Module


class Network(nn.Module):
    """What both networks share: the encoder's ResNet layers and the decoder.

    `conv`, `conv_transpose` and `norm` are the modules to build of; without a `norm` the
    convolutions have a bias. With `interleave=False` the branches exchange halves of their channels
    instead of shuffling them, which is the same where the next kernels' inputs are reordered as
    well. `fold.py` makes the variables for both. With `packed` the layers at full resolution run on
    pairs of pixels, see `packing.py`: the same variables, the same result.
    """

    spec: ModelSpec
    dtype: Any = jnp.float32
    conv: Module = nn.Conv
    conv_transpose: Module = layers.DoublingConv
    norm: Module | None = nn.BatchNorm
    interleave: bool = True
    axis_name: str | None = None
    remat: bool = False
    packed: bool = False

    def parts(self, train: bool) -> Parts:
        """Binds dtype, train mode and axis once."""
        bound = {"use_bias": self.norm is None, "dtype": self.dtype}
        again = self.again
        block, up_block = again(ConvNormAct), again(UpConvNormAct)
        settings: dict[str, Any] = {
            "use_running_average": not train,
            "momentum": 0.9,
            "epsilon": NORM_EPSILON,
            "dtype": self.dtype,
            "axis_name": self.axis_name,
        }
        conv = partial(self.conv, **bound)
        if not self.packed:
            # E[x^2] - E[x]^2 loses half of float32's digits.
            norm = self.norm and partial(self.norm, **settings, use_fast_variance=False)
            conv_transpose = partial(self.conv_transpose, **bound)
            up = partial(up_block, conv_transpose=conv_transpose, norm=norm)
            stem = partial(block, conv=conv, norm=norm)
            return Parts(conv, norm, block, conv, norm, conv, stem, up, up)

        def norm_of(before: int, after: int) -> Module | None:
            return self.norm and partial(PackedNorm, **settings, before=before, after=after)

        pairs = norm_of(1, 2)
        stem = partial(
            block,
            conv=partial(packing.PackingConv, **bound),
            norm=norm_of(packing.RUN // 2, 2),
            arrange=packing.pairs_of_runs,
        )
        up = partial(
            up_block,
            conv_transpose=partial(packing.UnpackedDoublingConv, **bound),
            norm=norm_of(2, 1),
            arrange=packing.pixels_of_double_rows,
        )
        full_up = partial(
            up_block,
            conv_transpose=partial(packing.PackedDoublingConv, **bound),
            norm=pairs,
            arrange=packing.pairs_of_double_rows,
        )
        full_conv = partial(packing.PackedConv, **bound)
        second_conv = partial(packing.conv_out_of_pairs, **bound)
        return Parts(conv, norm_of(1, 1), block, full_conv, pairs, second_conv, stem, up, full_up)

    def again(self, module: Module) -> Module:
        """The module that in training keeps its input alone, if that is asked for."""
        if not self.remat:
            return module
        if not self.packed:
            return nn.remat(module)
        # The moments are kept as well: they are small, and take a pass over the picture each.
        policy = jax.checkpoint_policies.save_only_these_names(STATISTICS)
        return nn.remat(module, policy=policy)

    def encoder(self, parts: Parts, suffix: str = "") -> list[nn.Module]:
        """`conv2`..`conv6`: layer1..layer4 of the ResNet, then one more halving."""
        blocks, block = RESNETS[self.spec.layers]
        convs = (parts.full_conv, parts.second_conv, parts.conv, parts.conv)
        norms = (parts.full_norm, parts.norm, parts.norm, parts.norm)
        width = self.spec.width
        block = self.again(block)
        resnet = [
            ResNetLayer(
                block,
                blocks[i],
                width * 2**i,
                convs[i],
                norms[i],
                stride=1 if i == 0 else 2,
                name=f"conv{i + 2}{suffix}",
            )
            for i in range(4)
        ]
        last = parts.block(width * 8, parts.conv, parts.norm, stride=2, name=f"conv6{suffix}")
        return [*resnet, last]

    def decode(
        self, x: jax.Array, stems: Sequence[jax.Array], levels: list[jax.Array], parts: Parts
    ) -> jax.Array:
        """From 1/16 to full size; `levels` are what is skipped to, at 1, 1/2, 1/4 and 1/8."""
        width = self.spec.width
        x = parts.up(width * 4, name="convt5")(x)  # 1/8
        for features, skip, up, name in (
            (width * 2, levels[3], parts.up, "convt4"),  # 1/4
            (width, levels[2], parts.up, "convt3"),  # 1/2
            (width, levels[1], parts.full_up, "convt2"),  # 1
        ):
            x = up(features, name=name)(jnp.concatenate([x, skip], axis=-1))
        # A transposed convolution of stride 1 is a convolution with the kernel turned around.
        x = jnp.concatenate([x, levels[0]], axis=-1)
        x = parts.block(width, parts.full_conv, parts.full_norm, name="convt1")(x)
        dtype = jnp.promote_types(self.dtype, jnp.float32)
        head = packing.PackedHead if self.packed else layers.Head
        return head(dtype=dtype, name=HEAD)([x, *stems])
