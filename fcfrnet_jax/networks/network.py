"""Encoder and decoder, which both networks share."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import DTypeLike

from fcfrnet_jax.networks.layers import BasicBlock, Block, BottleneckBlock, Module
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.specs import StageSpec

# ResNet depth: number of blocks in layer1..layer4, and the type of block.
RESNETS: dict[int, tuple[tuple[int, ...], Block]] = {
    10: ((1, 1, 1, 1), BasicBlock),
    18: ((2, 2, 2, 2), BasicBlock),
    34: ((3, 4, 6, 3), BasicBlock),
    50: ((3, 4, 6, 3), BottleneckBlock),
}


class Backbone(nn.Module):
    """Encoder and decoder of both networks.

    Attributes:
      spec: the settings that the variables depend on.
      dtype: dtype of the convolutions. Parameters, BatchNorm statistics, energies and outputs are
        float32 regardless.
      folded: expect the variables of `fold.fold`, which have no BatchNorm.
      remat: keep only the inputs of ResNet blocks and of the other layers in training, and
        recompute their activations in the backward pass.
      conv: the convolution module, `nn.Conv` or one that computes the same.
      parts: the class that makes the layers, `Parts` or one that computes the same.
      axis_name: pmap axis over which train mode averages the BatchNorm statistics.
      freeze_norm: in train mode, too, BatchNorm uses its running statistics and keeps them.
    """

    spec: StageSpec
    dtype: DTypeLike = jnp.float32
    folded: bool = False
    remat: bool = False
    conv: Module = nn.Conv
    parts: type[Parts] = Parts
    axis_name: str | None = None
    freeze_norm: bool = False

    def bound_parts(self, train: bool) -> Parts:
        """Binds everything that the layers have in common."""
        return self.parts(
            train,
            self.dtype,
            self.folded,
            self.remat,
            self.conv,
            self.axis_name,
            self.freeze_norm,
        )

    def encoder(self, parts: Parts, suffix: str = "") -> list[nn.Module]:
        """Returns `conv2`..`conv6`: layer1..layer4 of the ResNet, then a block of stride 2."""
        blocks, block = RESNETS[self.spec.layers]
        width = self.spec.width
        # Patches are of few positions already, so fewer channels hold what is in them.
        widest = 8 if self.spec.patch == 1 else 4
        resnet = [
            parts.resnet_layer(
                block, blocks[i], width * min(2**i, widest), i, f"conv{i + 2}{suffix}"
            )
            for i in range(4)
        ]
        return [*resnet, parts.halve(width * widest, f"conv6{suffix}")]

    def decode(
        self,
        x: jax.Array,
        skips: Sequence[Sequence[jax.Array]],
        stems: Sequence[jax.Array],
        parts: Parts,
        outputs: int = 1,
    ) -> jax.Array:
        """Decodes features from 1/16 of the size to full size.

        Args:
          x: `[B, H / 16, W / 16, C]`.
          skips: encoder features to concatenate at 1, 1/2, 1/4 and 1/8 of the size.
          stems: full-size features that the last layer reads together with its input.
          parts: makes the layers.
          outputs: number of channels of the result.

        Returns:
          Float32 `[B, H, W, outputs]`.
        """
        width = self.spec.width
        x = parts.double(width * 4, 3, "convt5")(x)  # 1/8 of the size
        x = parts.double(width * 2, 2, "convt4")(_concatenate(x, *skips[3]))  # 1/4
        x = parts.double(width, 1, "convt3")(_concatenate(x, *skips[2]))  # 1/2
        x = parts.double(width, 0, "convt2")(_concatenate(x, *skips[1]))  # 1
        # What the last layer returns for patches depends on more than their mean depth.
        last = width if self.spec.patch == 1 else 2 * width
        x = parts.smooth(last, "convt1")(_concatenate(x, *skips[0]))
        head = parts.head() if outputs == 1 else parts.head(outputs)
        return head([x, *stems])


def _concatenate(x: jax.Array, *skips: jax.Array) -> jax.Array:
    # Doubling an odd size that was halved gives one row or column too many.
    height, width = skips[0].shape[1:3]
    return jnp.concatenate([x[:, :height, :width], *skips], axis=-1)
