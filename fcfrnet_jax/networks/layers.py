"""Building blocks that both networks share. Features are `[B, H, W, C]`.

Blocks receive `conv`, `conv_transpose` and `norm` as partials, in which dtype, train mode and axis
are bound once. With `norm=None` they do not normalise; their convolutions then need a bias.
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
from jax.typing import DTypeLike

Module = Callable[..., Any]
leaky_relu = partial(nn.leaky_relu, negative_slope=0.2)
CHANNELS_LAST = ("NHWC", "HWIO", "NHWC")
# The last layer. It computes in at least float32: bfloat16 has steps of 0.25 m at 50 m.
HEAD = "convtf"
# BatchNorm's epsilon in the released code.
NORM_EPSILON = 1e-5


class ConvNormAct(nn.Module):
    """3x3 convolution, normalisation and LeakyReLU 0.2; `stride` 2 halves the size."""

    features: int
    conv: Module
    norm: Module | None
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        strides = (self.stride, self.stride)
        x = self.conv(self.features, (3, 3), strides=strides, padding=1, name="conv")(x)
        return leaky_relu(_normalise(x, self.norm, "norm"))


class UpConvNormAct(nn.Module):
    """Transposed 3x3 convolution that doubles the size, normalisation and LeakyReLU 0.2."""

    features: int
    conv_transpose: Module
    norm: Module | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.conv_transpose(self.features, name="conv")(x)
        return leaky_relu(_normalise(x, self.norm, "norm"))


@jax.custom_vjp
def double_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Transposed convolution of stride 2 with PyTorch's padding 1 and output_padding 1.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, D]`, rotated by 180 degrees from PyTorch's.

    Returns:
      `[B, 2H, 2W, D]`.
    """
    padding = ((1, 2), (1, 2))
    return lax.conv_general_dilated(
        x, kernel, (1, 1), padding, lhs_dilation=(2, 2), dimension_numbers=CHANNELS_LAST
    )


def _double_convolve(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return double_convolve(x, kernel), (x, kernel)


def double_convolve_gradient(saved: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradients with respect to `x` and `kernel`.

    The gradient of `x` is a convolution of stride 2 of the incoming gradient. It is linear in the
    kernel, so its transpose applied to `x` is the gradient of the kernel. Differentiating the
    dilated form instead gives a convolution with a dilated kernel of the image's size, for which
    XLA's CPU backend has no fast code.
    """
    x, kernel = saved

    def halve(kernel: jax.Array) -> jax.Array:
        rotated = kernel[::-1, ::-1].swapaxes(2, 3)
        padding = ((1, 0), (1, 0))
        return lax.conv_general_dilated(
            gradient, rotated, (2, 2), padding, dimension_numbers=CHANNELS_LAST
        )

    x_gradient, transpose = jax.vjp(halve, kernel)
    return x_gradient, *transpose(x)


double_convolve.defvjp(_double_convolve, double_convolve_gradient)


class DoublingConv(nn.Module):
    """Transposed 3x3 convolution of stride 2: `[B, H, W, C]` to `[B, 2H, 2W, features]`.

    The variables and the result are those of `nn.ConvTranspose`; only the gradient is computed
    differently.

    Attributes:
      features, use_bias, dtype: as for `nn.ConvTranspose`.
      convolve: `double_convolve`, or a function that computes the same.
    """

    features: int
    use_bias: bool = True
    dtype: DTypeLike | None = None
    convolve: Callable[[jax.Array, jax.Array], jax.Array] = double_convolve

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.features)
        x, kernel, bias = with_kernel(self, shape, x, use_bias=self.use_bias)
        x = self.convolve(x, kernel)
        return x if bias is None else x + bias


class Head(nn.Module):
    """1x1 convolution of several arrays `[B, H, W, C]`, by default to one channel.

    The variables and the result are those of `nn.Conv` applied to the concatenated arrays. The
    arrays are not concatenated for one channel, because at full resolution that takes longer than
    the convolution.
    """

    features: int = 1
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, parts: Sequence[jax.Array]) -> jax.Array:
        channels = [part.shape[-1] for part in parts]
        *parts, kernel, bias = with_kernel(self, (1, 1, sum(channels), self.features), *parts)
        if self.features > 1:
            return jnp.concatenate(parts, axis=-1) @ kernel[0, 0] + bias
        kernels = jnp.split(kernel[0, 0], np.cumsum(channels)[:-1])
        products = (part @ share for part, share in zip(parts, kernels, strict=True))
        return sum(products, start=bias)


def with_kernel(
    module: Any, shape: tuple[int, ...], *arrays: jax.Array, use_bias: bool = True
) -> list[Any]:
    """Returns `arrays`, the kernel and the bias (or None) of a module, all in one dtype.

    Args:
      module: a Flax module with a `dtype`, as in `nn.Conv`; it gets the parameters of `nn.Conv`.
      shape: of the kernel; its last axis has the length of the bias.
      arrays: the inputs of the module.
      use_bias: whether the module has a bias.
    """
    kernel = module.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = module.param("bias", nn.initializers.zeros_init(), shape[-1:]) if use_bias else None
    return dtypes.promote_dtype(*arrays, kernel, bias, dtype=module.dtype)


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


Block = type[BasicBlock] | type[BottleneckBlock]


class ResNetLayer(nn.Module):
    """`blocks` residual blocks, the first with `stride`; `layer1` to `layer4` of a ResNet."""

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


def _normalise(x: jax.Array, norm: Module | None, name: str) -> jax.Array:
    return x if norm is None else norm(name=name)(x)


def _shortcut(
    x: jax.Array, y: jax.Array, strides: tuple[int, int], conv: Module, norm: Module | None
) -> jax.Array:
    if x.shape[-1] == y.shape[-1] and strides == (1, 1):
        return x
    x = conv(y.shape[-1], (1, 1), strides=strides, name="proj_conv")(x)
    return _normalise(x, norm, "proj_norm")
