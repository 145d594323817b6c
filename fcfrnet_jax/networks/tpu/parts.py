"""The layers of a network whose full-resolution features are packed; see `packing.py`."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcfrnet_jax.networks.layers import HEAD, ConvNormAct, Module, ResNetLayer, leaky_relu
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.tpu import packing
from fcfrnet_jax.networks.tpu.norm import STATISTICS, PackedNorm
from fcfrnet_jax.networks.tpu.operations import shuffle_branches


class ArrangedConvNormAct(nn.Module):
    """`ConvNormAct` or `UpConvNormAct` with a convolution whose output `arrange` reshapes."""

    features: int
    conv: Module
    norm: Module | None
    arrange: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv(self.features, name="conv")(x)
        if self.norm is not None:
            x = self.norm(name="norm")(x)
        return self.arrange(leaky_relu(x))


class PackedShuffle(nn.Module):
    """`ChannelShuffle` of branches that hold `pixels` pixels side by side in every channel."""

    pixels: int

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
        return shuffle_branches(first, second, self.pixels)


class PackedParts(Parts):
    """Layers that pack pairs of pixels at full resolution, with the variables of `Parts`."""

    def stem(self, features: int, name: str) -> nn.Module:
        norm = self.packed_norm(packing.RUN // 2, 2)
        block = self.checkpointed(ArrangedConvNormAct)
        return block(
            features, self._bound(packing.PackingConv), norm, packing.pairs_of_runs, name=name
        )

    def resnet_layer(
        self, block: Module, blocks: int, features: int, level: int, name: str
    ) -> nn.Module:
        conv, norm = self.bound_conv, self.norm()
        if level == 0:
            conv, norm = self._bound(packing.PackedConv), self.packed_norm(1, 2)
        elif level == 1:
            conv = self._conv_from_pairs
        stride = 1 if level == 0 else 2
        return ResNetLayer(
            self.checkpointed(block), blocks, features, conv, norm, stride, name=name
        )

    def double(self, features: int, level: int, name: str) -> nn.Module:
        conv: Module
        if level == 0:
            conv, norm = packing.PackedDoublingConv, self.packed_norm(1, 2)
            arrange = packing.pairs_of_double_rows
        else:
            conv, norm = packing.UnpackedDoublingConv, self.packed_norm(2, 1)
            arrange = packing.pixels_of_double_rows
        block = self.checkpointed(ArrangedConvNormAct)
        return block(features, self._bound(conv), norm, arrange, name=name)

    def smooth(self, features: int, name: str) -> nn.Module:
        block = self.checkpointed(ConvNormAct)
        return block(features, self._bound(packing.PackedConv), self.packed_norm(1, 2), name=name)

    def head(self) -> nn.Module:
        return packing.PackedHead(dtype=jnp.promote_types(self.dtype, jnp.float32), name=HEAD)

    def shuffle(self, level: int, fused: bool, name: str) -> nn.Module:
        if self.folded:
            return super().shuffle(level, fused, name)
        return PackedShuffle(pixels=2 if level == 0 else 1, name=name)

    def norm(self) -> Module | None:
        return self.packed_norm(1, 1)

    def packed_norm(self, before: int, after: int) -> Module | None:
        """Normalises channels that hold `before` and `after` pixels, see `PackedNorm`."""
        if self.folded:
            return None
        return partial(PackedNorm, **self.norm_settings, before=before, after=after)

    def checkpointed(self, module: Module) -> Module:
        if not self.remat:
            return module
        # The moments are kept as well: they are small, but take a pass over the image each.
        policy = jax.checkpoint_policies.save_only_these_names(STATISTICS)
        return nn.remat(module, policy=policy)

    def _bound(self, conv: Module) -> Module:
        return partial(conv, use_bias=self.folded, dtype=self.dtype)

    def _conv_from_pairs(
        self, features: int, kernel_size: tuple[int, int], **settings: Any
    ) -> nn.Module:
        """A convolution at level 1, where only those of stride 2 read packed features."""
        reads_pairs = settings.get("strides") == (2, 2)
        conv = packing.PackedConv if reads_pairs else self.conv
        return self._bound(conv)(features, kernel_size, **settings)
