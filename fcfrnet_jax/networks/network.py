"""What the two networks share: the encoder and the decoder."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from fcfrnet_jax.networks.layers import BasicBlock, BottleneckBlock, Module
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.specs import StageSpec

# Blocks of layer1..layer4 and their kind, by ResNet depth.
RESNETS: dict[int, tuple[tuple[int, ...], Any]] = {
    18: ((2, 2, 2, 2), BasicBlock),
    34: ((3, 4, 6, 3), BasicBlock),
    50: ((3, 4, 6, 3), BottleneckBlock),
}


class Backbone(nn.Module):
    """The encoder and the decoder of either network.

    Attributes:
      spec: what the variables depend on.
      dtype: of the convolutions; parameters, statistics, energies and outputs stay float32.
      conv: the module for convolutions.
      folded: run variables of `fold.fold`, which have no BatchNorm.
      axis_name: pmap axis over which train mode averages the BatchNorm statistics.
      remat: recompute activations in the backward pass.
      parts: what makes the layers; another class computes the same with the same variables.
    """

    spec: StageSpec
    dtype: DTypeLike = jnp.float32
    conv: Module = nn.Conv
    folded: bool = False
    axis_name: str | None = None
    remat: bool = False
    parts: type[Parts] = Parts

    def bound_parts(self, train: bool) -> Parts:
        return self.parts(
            self.dtype, train, self.conv, self.folded, axis_name=self.axis_name, remat=self.remat
        )

    def encoder(self, parts: Parts, suffix: str = "") -> list[nn.Module]:
        """`conv2`..`conv6`: layer1..layer4 of the ResNet, then one more halving."""
        blocks, block = RESNETS[self.spec.layers]
        width = self.spec.width
        resnet = [
            parts.resnet_layer(block, blocks[i], width * 2**i, i, f"conv{i + 2}{suffix}")
            for i in range(4)
        ]
        return [*resnet, parts.halve(width * 8, f"conv6{suffix}")]

    def decode(
        self,
        x: jax.Array,
        skips: Sequence[Sequence[jax.Array]],
        stems: Sequence[jax.Array],
        parts: Parts,
    ) -> jax.Array:
        """Decodes features at 1/16 of the size.

        Args:
          x: `[B, H / 16, W / 16, C]`.
          skips: the features to concatenate at 1, 1/2, 1/4 and 1/8 of the size.
          stems: the features at full size that the last layer reads beside its input.
          parts: makes the layers.

        Returns:
          Float32 `[B, H, W, 1]`.
        """
        width = self.spec.width
        x = parts.double(width * 4, 3, "convt5")(x)  # 1/8
        x = parts.double(width * 2, 2, "convt4")(_joined(x, skips[3]))  # 1/4
        x = parts.double(width, 1, "convt3")(_joined(x, skips[2]))  # 1/2
        x = parts.double(width, 0, "convt2")(_joined(x, skips[1]))  # 1
        x = parts.smooth(width, "convt1")(_joined(x, skips[0]))
        return parts.head()([x, *stems])


def _joined(x: jax.Array, skips: Sequence[jax.Array]) -> jax.Array:
    return jnp.concatenate([x, *skips], axis=-1)
