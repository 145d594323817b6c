"""Building blocks that both networks share. Activations are `[B, H, W, C]`.

Blocks receive `conv`, `conv_transpose` and `norm` as partials that bind dtype, train mode and axis
once. With `norm=None` the same blocks run without normalisation and their convolutions carry a bias
instead.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen import dtypes
from jax import lax

Module = Callable[..., Any]
Arrange = Callable[[jax.Array], jax.Array]
leaky_relu = partial(nn.leaky_relu, negative_slope=0.2)
CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")


class ConvNormAct(nn.Module):
    """3x3 convolution, normalisation and LeakyReLU 0.2; `stride` 2 halves the size.

    `arrange` brings the result into its shape, where `conv` leaves it in another one.
    """

    features: int
    conv: Module
    norm: Module | None
    stride: int = 1
    arrange: Arrange | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        x = self.conv(self.features, (3, 3), strides=strides, padding=1, name="conv")(x)
        x = leaky_relu(_normalise(x, self.norm, "norm"))
        return x if self.arrange is None else self.arrange(x)


class UpConvNormAct(nn.Module):
    """Transposed 3x3 convolution that doubles the size, normalisation and LeakyReLU 0.2.

    `arrange` brings the result into its shape, where `conv_transpose` leaves it in another one.
    """

    features: int
    conv_transpose: Module
    norm: Module | None
    arrange: Arrange | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv_transpose(self.features, name="conv")(x)
        x = leaky_relu(_normalise(x, self.norm, "norm"))
        return x if self.arrange is None else self.arrange(x)


class DoublingConv(nn.Module):
    """Transposed 3x3 convolution of stride 2: `[B, H, W, C]` to `[B, 2H, 2W, features]`.

    The variables and the result are those of `nn.ConvTranspose`; only the gradient is computed in
    another way.
    """

    features: int
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x, kernel, bias = dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        x = double_convolve(x, kernel)
        return x if bias is None else x + bias


class Head(nn.Module):
    """A 1x1 convolution to one channel, of arrays `[B, H, W, C]` that would be concatenated.

    The variables are those of `nn.Conv` for the concatenation, which at full resolution would take
    longer to write than all the rest takes.
    """

    dtype: Any = None

    @nn.compact
    def __call__(self, parts: Sequence[jax.Array]) -> jax.Array:
        channels = [part.shape[-1] for part in parts]
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (1, 1, sum(channels), 1))
        bias = self.param("bias", nn.initializers.zeros_init(), (1,))
        *parts, kernel, bias = dtypes.promote_dtype(*parts, kernel, bias, dtype=self.dtype)
        kernels = jnp.split(kernel[0, 0], np.cumsum(channels)[:-1])
        return sum((part @ of_it for part, of_it in zip(parts, kernels, strict=True)), start=bias)


@jax.custom_vjp
def double_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 with PyTorch's padding 1 and output_padding 1.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, D]`, turned around by 180 degrees against PyTorch's.

    Returns:
      `[B, 2H, 2W, D]`.
    """
    padding = ((1, 2), (1, 2))
    return lax.conv_general_dilated(
        x, kernel, (1, 1), padding, lhs_dilation=(2, 2), dimension_numbers=CHANNELS_LAST
    )


def _double_convolve(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return double_convolve(x, kernel), (x, kernel)


def _double_convolve_gradient(saved: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradients by `x` and `kernel`.

    That by `x` is a convolution of stride 2 of the gradient that comes in, linear in the kernel, so
    that its transpose applied to `x` is the one by the kernel. The derivative of the dilated form
    is a convolution with a dilated kernel of the picture's size, for which XLA's CPU backend has no
    fast code.
    """
    x, kernel = saved

    def halve(kernel: jax.Array) -> jax.Array:
        turned = kernel[::-1, ::-1].swapaxes(2, 3)
        padding = ((1, 0), (1, 0))
        return lax.conv_general_dilated(
            gradient, turned, (2, 2), padding, dimension_numbers=CHANNELS_LAST
        )

    by_x, transpose = jax.vjp(halve, kernel)
    return by_x, *transpose(x)


double_convolve.defvjp(_double_convolve, _double_convolve_gradient)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection (He et al. 2016, figure 5 left)."""

    features: int
    conv: Module
    norm: Module | None
    stride: int = 1
    expansion = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        y = self.conv(self.features, (3, 3), strides=strides, padding=1, name="conv1")(x)
        y = nn.relu(_normalise(y, self.norm, "norm1"))
        y = self.conv(self.features, (3, 3), padding=1, name="conv2")(y)
        y = _normalise(y, self.norm, "norm2")
        return nn.relu(y + _shortcut(x, y, strides, self.conv, self.norm))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and 1x1 convolution around a skip connection; the stride is on the 3x3 one."""

    features: int
    conv: Module
    norm: Module | None
    stride: int = 1
    expansion = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        y = self.conv(self.features, (1, 1), name="conv1")(x)
        y = nn.relu(_normalise(y, self.norm, "norm1"))
        y = self.conv(self.features, (3, 3), strides=strides, padding=1, name="conv2")(y)
        y = nn.relu(_normalise(y, self.norm, "norm2"))
        y = self.conv(self.features * self.expansion, (1, 1), name="conv3")(y)
        y = _normalise(y, self.norm, "norm3")
        return nn.relu(y + _shortcut(x, y, strides, self.conv, self.norm))


class ResNetLayer(nn.Module):
    """`blocks` residual blocks, the first with `stride`: a ResNet's `layer1` to `layer4`."""

    block: Module
    blocks: int
    features: int
    conv: Module
    norm: Module | None
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for index in range(self.blocks):
            x = self.block(
                self.features,
                self.conv,
                self.norm,
                stride=self.stride if index == 0 else 1,
                name=f"block{index}",
            )(x)
        return x


@jax.jit
def channel_shuffle(x: jax.Array) -> jax.Array:
    """Interleaves the halves of the channels: `[a1 a2 .., b1 b2 ..]` becomes `[a1 b1 a2 b2 ..]`.

    Args:
      x: `[..., 2C]`.

    Returns:
      `[..., 2C]`: the channels viewed as (2, C), transposed to (C, 2) and flattened.

    Raises:
      ValueError: an odd number of channels.
    """
    *lead, channels = x.shape
    if channels % 2:
        raise ValueError(f"channel_shuffle needs an even number of channels, got shape {x.shape}")
    return x.reshape(*lead, 2, channels // 2).swapaxes(-1, -2).reshape(*lead, channels)


def shuffle_branches(
    first: jax.Array, second: jax.Array, interleave: bool = True
) -> tuple[jax.Array, jax.Array]:
    """Mixes two branches `[B, H, W, C]`: each gets half of the interleaved channels of both.

    With `interleave=False` each gets the same channels in another order: half of the first branch,
    then half of the second.
    """
    channels = first.shape[-1]
    if interleave:
        mixed = channel_shuffle(jnp.concatenate([first, second], axis=-1))
        return mixed[..., :channels], mixed[..., channels:]
    half = channels // 2
    return (
        jnp.concatenate([first[..., :half], second[..., :half]], axis=-1),
        jnp.concatenate([first[..., half:], second[..., half:]], axis=-1),
    )


def exchange_halves(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Swaps the last halves of the channels of two branches `[B, H, W, C]`.

    No channel changes its place, which spares accelerators a copy of everything.
    """
    channels = first.shape[-1]
    kept = np.arange(channels) < channels // 2
    return jnp.where(kept, first, second), jnp.where(kept, second, first)


def energy_fusion(first: jax.Array, second: jax.Array, window: int = 5) -> jax.Array:
    """Keeps, at every pixel and channel, the branch with the larger local energy, times two.

    The energy is the sum of squares over a `window` x `window` box with zeros beyond the border, in
    float32 at least; `first` wins a tie (FCFR-Net, section "energy-based fusion").

    Args:
      first, second: `[B, H, W, C]` of one shape.
      window: odd side of the box, in pixels.

    Raises:
      ValueError: an even window, or shapes that differ.
    """
    if window % 2 == 0 or window < 1:
        raise ValueError(f"the fusion window must be odd and positive, got {window}")
    if first.shape != second.shape:
        raise ValueError(f"energy_fusion needs one shape, got {first.shape} and {second.shape}")
    # The comparison has no gradient; saying so spares the backward pass the box sums.
    stronger = _energy(lax.stop_gradient(first), window) >= _energy(
        lax.stop_gradient(second), window
    )
    return 2 * jnp.where(stronger, first, second)


def _energy(x: jax.Array, window: int) -> jax.Array:
    squares = jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    box = (1, window, window, 1)
    zero = np.zeros((), squares.dtype)
    return lax.reduce_window(squares, zero, lax.add, box, (1, 1, 1, 1), "SAME")


def _normalise(x: jax.Array, norm: Module | None, name: str) -> jax.Array:
    return x if norm is None else norm(name=name)(x)


def _shortcut(
    x: jax.Array, y: jax.Array, strides: tuple[int, int], conv: Module, norm: Module | None
) -> jax.Array:
    if x.shape == y.shape:
        return x
    x = conv(y.shape[-1], (1, 1), strides=strides, name="proj_conv")(x)
    return _normalise(x, norm, "proj_norm")
