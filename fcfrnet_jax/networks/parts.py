"""Makes the layers of a network by their position."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TypedDict

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from fcfrnet_jax.networks.branches import ChannelShuffle, ExchangeHalves, GatherHalves
from fcfrnet_jax.networks.layers import (
    HEAD,
    NORM_EPSILON,
    Block,
    ConvNormAct,
    DoublingConv,
    Head,
    Module,
    ResNetLayer,
    UpConvNormAct,
)


class NormSettings(TypedDict):
    """Arguments that `nn.BatchNorm` and its replacements have in common."""

    use_running_average: bool
    momentum: float
    epsilon: float
    dtype: DTypeLike
    axis_name: str | None


@dataclasses.dataclass(frozen=True)
class Parts:
    """Makes layers with dtype, train mode and axis bound once.

    A network requests each layer by its position. A subclass, such as `tpu.parts.PackedParts`, can
    therefore compute some layers differently with the same variables. Level 0 is full resolution,
    level i is 1 / 2^i of it.

    The attributes are those of `network.Backbone`, and `train`: normalise with the statistics of
    the batch unless `freeze_norm` is set.
    """

    train: bool
    dtype: DTypeLike
    folded: bool
    remat: bool
    conv: Module
    axis_name: str | None
    freeze_norm: bool = False

    def stem(self, features: int, name: str) -> nn.Module:
        """The 3x3 block that reads an input map."""
        return self.checkpointed(ConvNormAct)(features, self.bound_conv, self.norm, name=name)

    def resnet_layer(
        self, block: Block, blocks: int, features: int, level: int, name: str
    ) -> nn.Module:
        """One of `layer1` to `layer4` of a ResNet, with its output at `level`."""
        stride = 1 if level == 0 else 2
        made = self.checkpointed(block)
        return ResNetLayer(made, blocks, features, self.bound_conv, self.norm, stride, name=name)

    def halve(self, features: int, name: str) -> nn.Module:
        """The 3x3 block of stride 2 that follows the ResNet."""
        block = self.checkpointed(ConvNormAct)
        return block(features, self.bound_conv, self.norm, stride=2, name=name)

    def double(self, features: int, level: int, name: str) -> nn.Module:
        """A transposed 3x3 block of stride 2, with its output at `level`."""
        del level  # for subclasses
        conv_transpose = partial(DoublingConv, use_bias=self.folded, dtype=self.dtype)
        return self.checkpointed(UpConvNormAct)(features, conv_transpose, self.norm, name=name)

    def smooth(self, features: int, name: str) -> nn.Module:
        """The last 3x3 block, at full resolution.

        The transposed convolution of stride 1 in the reference is a convolution with the kernel
        rotated by 180 degrees.
        """
        return self.checkpointed(ConvNormAct)(features, self.bound_conv, self.norm, name=name)

    def head(self, features: int = 1) -> nn.Module:
        """The 1x1 convolution that returns the depth, or what the depth is computed from."""
        return Head(features, dtype=jnp.promote_types(self.dtype, jnp.float32), name=HEAD)

    def shuffle(self, level: int, fused: bool, name: str) -> nn.Module:
        """Mixes two branches at `level`; `fused`: `EnergyFusion` reads the result."""
        del level  # for subclasses
        if not self.folded:
            return ChannelShuffle(name=name)
        return GatherHalves(name=name) if fused else ExchangeHalves(name=name)

    def apart(self, function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        """Returns a function that computes the same; a subclass may compile it separately."""
        return function

    @property
    def bound_conv(self) -> Module:
        return partial(self.conv, use_bias=self.folded, dtype=self.dtype)

    @property
    def norm(self) -> Module | None:
        if self.folded:
            return None
        # The fast variance E[x^2] - E[x]^2 loses half of the digits of float32.
        return partial(nn.BatchNorm, **self.norm_settings, use_fast_variance=False)

    @property
    def norm_settings(self) -> NormSettings:
        return {
            "use_running_average": not self.train or self.freeze_norm,
            "momentum": 0.9,
            "epsilon": NORM_EPSILON,
            "dtype": self.dtype,
            "axis_name": self.axis_name,
        }

    def checkpointed(self, module: type[nn.Module]) -> Module:
        """Recomputes the module's activations in the backward pass if `remat` is set."""
        return nn.remat(module) if self.remat else module
