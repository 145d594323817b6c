"""Layers of a network whose full-resolution features are packed; see `packing.py`."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn

from fcfrnet_jax.networks.layers import HEAD, Block, ConvNormAct, Module, ResNetLayer, leaky_relu
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.tpu import packing
from fcfrnet_jax.networks.tpu.norm import STATISTICS, PackedNorm
from fcfrnet_jax.networks.tpu.operations import shuffle_branches


class ArrangedConvNormAct(nn.Module):
    """`ConvNormAct` or `UpConvNormAct`, followed by `arrange`, which reshapes the output."""

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
    """`ChannelShuffle` of branches in which each channel holds `pixels` adjacent pixels."""

    pixels: int

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
        return shuffle_branches(first, second, self.pixels)


class PackedParts(Parts):
    """Layers that pack pairs of pixels at full resolution, with the variables of `Parts`."""

    def stem(self, features: int, name: str) -> nn.Module:
        block, conv = self.checkpointed(ArrangedConvNormAct), self._bound(packing.PackingConv)
        norm = self.packed_norm(packing.RUN // 2, 2)
        return block(features, conv, norm, packing.pairs_of_runs, name=name)

    def resnet_layer(
        self, block: Block, blocks: int, features: int, level: int, name: str
    ) -> nn.Module:
        conv, norm, stride = self.bound_conv, self.norm, 2
        if level == 0:
            conv, norm, stride = self._bound(packing.PackedConv), self.packed_norm(1, 2), 1
        elif level == 1:
            conv = self._conv_at_level_1
        made = self.checkpointed(block)
        return ResNetLayer(made, blocks, features, conv, norm, stride, name=name)

    def double(self, features: int, level: int, name: str) -> nn.Module:
        block = self.checkpointed(ArrangedConvNormAct)
        conv = self._bound(packing.ArrangedDoublingConv)
        if level == 0:
            conv, norm = partial(conv, packed=True), self.packed_norm(1, 2)
            return block(features, conv, norm, packing.pairs_of_double_rows, name=name)
        conv, norm = partial(conv, packed=False), self.packed_norm(2, 1)
        return block(features, conv, norm, packing.pixels_of_double_rows, name=name)

    def smooth(self, features: int, name: str) -> nn.Module:
        block, conv = self.checkpointed(ConvNormAct), self._bound(packing.PackedConv)
        return block(features, conv, self.packed_norm(1, 2), name=name)

    def head(self, features: int = 1) -> nn.Module:
        assert features == 1  # networks of patches are not packed
        return packing.PackedHead(dtype=jnp.promote_types(self.dtype, jnp.float32), name=HEAD)

    def shuffle(self, level: int, fused: bool, name: str) -> nn.Module:
        if self.folded:
            return super().shuffle(level, fused, name)
        return PackedShuffle(pixels=2 if level == 0 else 1, name=name)

    @property
    def norm(self) -> Module | None:
        return self.packed_norm(1, 1)

    def packed_norm(self, before: int, after: int) -> Module | None:
        """`PackedNorm` for channels that hold `before` * `after` pixels."""
        if self.folded:
            return None
        return partial(PackedNorm, **self.norm_settings, before=before, after=after)

    def checkpointed(self, module: type[nn.Module]) -> Module:
        if not self.remat:
            return module
        # The moments are small, but computing them takes a pass over the features.
        policy = jax.checkpoint_policies.save_only_these_names(STATISTICS)
        return nn.remat(module, policy=policy)

    def _bound(self, conv: Module) -> Module:
        return partial(conv, use_bias=self.folded, dtype=self.dtype)

    def _conv_at_level_1(
        self,
        features: int,
        kernel_size: tuple[int, int],
        strides: tuple[int, int] = (1, 1),
        padding: int = 0,
        name: str | None = None,
    ) -> nn.Module:
        """Those of stride 2 read the packed features of level 0, the others read pixels."""
        conv = packing.PackedConv if strides == (2, 2) else self.conv
        return self._bound(conv)(features, kernel_size, strides, padding, name=name)
