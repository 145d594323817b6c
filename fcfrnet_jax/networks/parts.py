"""Makes the layers of a network by their place in it."""

import dataclasses
from functools import partial
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from fcfrnet_jax.networks.branches import ChannelShuffle, ExchangeHalves, GatherHalves
from fcfrnet_jax.networks.layers import (
    HEAD,
    NORM_EPSILON,
    ConvNormAct,
    DoublingConv,
    Head,
    Module,
    ResNetLayer,
    UpConvNormAct,
)


@dataclasses.dataclass(frozen=True)
class Parts:
    """Makes the layers of a network, with dtype, train mode and axis bound once.

    A network asks for each layer by its place, so that another form, such as
    `tpu.parts.PackedParts`, can compute layers in its own way with the same variables. Level 0 is
    full resolution, level i is 1 / 2^i of it.

    Attributes:
      dtype: of the convolutions.
      train: whether BatchNorm uses the statistics of the batch.
      conv: the module for convolutions, `nn.Conv` or one that computes the same.
      folded: build for variables of `fold.fold`: no normalisation, reordered branches.
      axis_name: pmap axis over which train mode averages the BatchNorm statistics.
      remat: recompute activations in the backward pass.
    """

    dtype: DTypeLike
    train: bool
    conv: Module = nn.Conv
    folded: bool = False
    axis_name: str | None = None
    remat: bool = False

    def stem(self, features: int, name: str) -> nn.Module:
        """The 3x3 block that reads an input map."""
        return self.checkpointed(ConvNormAct)(features, self.bound_conv, self.norm(), name=name)

    def resnet_layer(
        self, block: Module, blocks: int, features: int, level: int, name: str
    ) -> nn.Module:
        """`layer1` to `layer4` of a ResNet, whose output is at `level`."""
        block = self.checkpointed(block)
        stride = 1 if level == 0 else 2
        return ResNetLayer(block, blocks, features, self.bound_conv, self.norm(), stride, name=name)

    def halve(self, features: int, name: str) -> nn.Module:
        """The 3x3 block of stride 2 below the ResNet."""
        block = self.checkpointed(ConvNormAct)
        return block(features, self.bound_conv, self.norm(), stride=2, name=name)

    def double(self, features: int, level: int, name: str) -> nn.Module:
        """The transposed 3x3 block of stride 2, whose output is at `level`."""
        del level  # for other forms
        conv_transpose = partial(DoublingConv, use_bias=self.folded, dtype=self.dtype)
        return self.checkpointed(UpConvNormAct)(features, conv_transpose, self.norm(), name=name)

    def smooth(self, features: int, name: str) -> nn.Module:
        """The last 3x3 block, at full resolution.

        The reference's transposed convolution of stride 1 is a convolution with a rotated kernel.
        """
        return self.checkpointed(ConvNormAct)(features, self.bound_conv, self.norm(), name=name)

    def head(self) -> nn.Module:
        return Head(dtype=jnp.promote_types(self.dtype, jnp.float32), name=HEAD)

    def shuffle(self, level: int, fused: bool, name: str) -> nn.Module:
        """Mixes two branches at `level`; `fused` tells whether `EnergyFusion` reads them."""
        del level  # for other forms
        if not self.folded:
            return ChannelShuffle(name=name)
        return GatherHalves(name=name) if fused else ExchangeHalves(name=name)

    @property
    def bound_conv(self) -> Module:
        return partial(self.conv, use_bias=self.folded, dtype=self.dtype)

    def norm(self) -> Module | None:
        # E[x^2] - E[x]^2 would lose half of float32's digits.
        settings = self.norm_settings | {"use_fast_variance": False}
        return None if self.folded else partial(nn.BatchNorm, **settings)

    @property
    def norm_settings(self) -> dict[str, Any]:
        return {
            "use_running_average": not self.train,
            "momentum": 0.9,
            "epsilon": NORM_EPSILON,
            "dtype": self.dtype,
            "axis_name": self.axis_name,
        }

    def checkpointed(self, module: Module) -> Module:
        """The module that in training keeps only its input, if `remat` asks for it."""
        return nn.remat(module) if self.remat else module
