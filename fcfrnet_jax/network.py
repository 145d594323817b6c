"""What the two networks of FCFR-Net share: the encoder and the decoder."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcfrnet_jax import layers, packing
from fcfrnet_jax.layers import ConvNormAct, Module, ResNetLayer, UpConvNormAct
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

    `full_conv` is the convolution at full resolution, `second_conv` that of the level that reads
    it. `block` is a `ConvNormAct`; `stem` is the one that leads from an input map to full
    resolution, `up` one that doubles the size, and `full_up` the one that leads back to full
    resolution.
    """

    conv: Module
    norm: Module | None
    block: Module
    full_conv: Module
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
        conv = partial(self.conv, **bound)
        again = nn.remat if self.remat else lambda module: module
        block = partial(again(ConvNormAct), norm=norm)
        if not self.packed:
            conv_transpose = partial(self.conv_transpose, **bound)
            up = partial(again(UpConvNormAct), conv_transpose=conv_transpose, norm=norm)
            return Parts(conv, norm, block, conv, conv, partial(block, conv=conv), up, up)
        full_conv = partial(packing.PackedConv, **bound)
        second_conv = partial(packing.conv_out_of_pairs, **bound)
        stem = partial(
            block, conv=partial(packing.PackingConv, **bound), arrange=packing.pairs_of_runs
        )
        up, full_up = (
            partial(
                UpConvNormAct, conv_transpose=partial(kind, **bound), norm=norm, arrange=arrange
            )
            for kind, arrange in (
                (packing.UnpackedDoublingConv, packing.pixels_of_double_rows),
                (packing.PackedDoublingConv, packing.pairs_of_double_rows),
            )
        )
        return Parts(conv, norm, block, full_conv, second_conv, stem, up, full_up)

    def encoder(self, parts: Parts, suffix: str = "") -> list[nn.Module]:
        """`conv2`..`conv6`: layer1..layer4 of the ResNet, then one more halving."""
        blocks, block = RESNETS[self.spec.layers]
        convs = (parts.full_conv, parts.second_conv, parts.conv, parts.conv)
        width = self.spec.width
        block = nn.remat(block) if self.remat else block
        resnet = [
            ResNetLayer(
                block,
                blocks[i],
                width * 2**i,
                convs[i],
                parts.norm,
                stride=1 if i == 0 else 2,
                name=f"conv{i + 2}{suffix}",
            )
            for i in range(4)
        ]
        last = parts.block(width * 8, parts.conv, stride=2, name=f"conv6{suffix}")
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
        x = parts.block(width, parts.full_conv, name="convt1")(x)
        dtype = jnp.promote_types(self.dtype, jnp.float32)
        head = packing.PackedHead if self.packed else layers.Head
        return head(dtype=dtype, name=HEAD)([x, *stems])
