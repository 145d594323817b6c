"""Convolutions for which XLA's GPU backend has no fast form.

Profiles of the networks on an H200 show two of them. XLA computes a transposed convolution of
stride 2 by inserting zeros between the pixels and convolving them, which is four times the work and
one more pass over the memory. And it convolves the one or three channels of an input map with a
kernel for many channels, between two changes of the layout.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from fcfrnet_jax.networks.layers import (
    CHANNELS_LAST,
    double_convolve_gradient,
    with_kernel,
)

# With more input channels, a convolution is faster than a product with its patches.
FEW = 4
# Matrix products need rows of a multiple of this many numbers.
ALIGNMENT = 8


class PatchConv(nn.Conv):
    """`nn.Conv`, but a 3x3 convolution of few channels is a product with the 3x3 patches."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        plain = self.strides in (1, (1, 1)) and self.padding == 1
        if channels > FEW or self.kernel_size != (3, 3) or not plain:
            return super().__call__(x)
        shape = (3, 3, channels, self.features)
        x, kernel, bias = with_kernel(self, shape, x, use_bias=self.use_bias)
        x = convolve_patches(x, kernel)
        return x if bias is None else x + bias


@jax.custom_vjp
def double_convolve_by_phases(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Computes `layers.double_convolve` without inserting zeros.

    A pixel of the result has an even or odd row and an even or odd column. For each of these four
    phases, the convolution reads at most 2x2 pixels. One 2x2 convolution computes all four, each in
    its own channels.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, D]`.

    Returns:
      `[B, 2H, 2W, D]`.
    """
    batch, height, width, _ = x.shape
    features = kernel.shape[-1]
    # An explicit padding can be fused with the concatenation that usually precedes it, and cuDNN
    # has no padding at one side only.
    x = jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    phases = lax.conv_general_dilated(
        x, phase_kernel(kernel), (1, 1), "VALID", dimension_numbers=CHANNELS_LAST
    )
    phases = phases.reshape(batch, height, width, 2, 2, features)
    return phases.swapaxes(2, 3).reshape(batch, 2 * height, 2 * width, features)


def _forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return double_convolve_by_phases(x, kernel), (x, kernel)


double_convolve_by_phases.defvjp(_forward, double_convolve_gradient)


def phase_kernel(kernel: jax.Array) -> jax.Array:
    """Arranges a kernel `[3, 3, C, D]` as `[2, 2, C, 4 D]`: the phases of `double_convolve`.

    An even row of the result reads its pixel with the middle row of the kernel. An odd row reads
    this pixel with the first, and the next pixel with the last row. Columns are alike.
    """

    def split(kernel: jax.Array) -> jax.Array:
        """The pixel and the phase, `[2, 2, ...]`, instead of the first axis."""
        first, middle, last = kernel
        return jnp.stack([jnp.stack([middle, first]), jnp.stack([jnp.zeros_like(last), last])])

    rows = split(kernel)  # [row, phase of the row, 3, C, D]
    both = split(jnp.moveaxis(rows, 2, 0))  # [column, phase of the column, row, phase, C, D]
    arranged = both.transpose(2, 0, 4, 3, 1, 5)
    return arranged.reshape(2, 2, kernel.shape[2], -1)


def convolve_patches(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """3x3 convolution with a border of zeros, as one matrix product.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, D]`.

    Returns:
      `[B, H, W, D]`.
    """
    _, height, width, channels = x.shape
    count = 9 * channels
    missing = -count % ALIGNMENT
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    parts = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    parts.append(jnp.zeros((*x.shape[:3], missing), x.dtype))
    weights = jnp.pad(kernel.reshape(count, -1), ((0, missing), (0, 0)))
    return jnp.concatenate(parts, axis=-1) @ weights
