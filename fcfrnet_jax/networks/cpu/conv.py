"""The convolution module that networks use on CPUs: `nn.Conv` with faster algorithms."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from fcfrnet_jax.networks.cpu import winograd
from fcfrnet_jax.networks.cpu.bfloat16 import by_bits, narrow
from fcfrnet_jax.networks.layers import with_kernel

# With fewer channels, Winograd's transforms cost more than the products that they save.
MIN_CHANNELS = 64

CompilerOptions = dict[str, str | bool]


class CpuConv(nn.Conv):
    """A convolution that uses Winograd F(4x4, 3x3) where that is faster, and else `nn.Conv`.

    The variables are those of `nn.Conv`. With `predicts`, there are no gradients, convolutions of
    stride 2 in bfloat16 are matrix products, and kernels for Winograd have to be transformed by
    `winograd.transform_kernel` beforehand.

    Attributes:
      min_channels: smallest number of input and output channels for which Winograd is used.
      predicts: see above.
    """

    min_channels: int = MIN_CHANNELS
    predicts: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size: Any = self.kernel_size
        shape = (*size, x.shape[-1], self.features)
        strides = (self.strides,) * 2 if isinstance(self.strides, int) else self.strides
        same = shape[:2] == (1, 1) or (shape[:2] == (3, 3) and self.padding == 1)
        wide = min(shape[2:]) >= self.min_channels
        if same and wide and shape[0] == 3 and strides in (None, (1, 1)):
            convolve: Any = winograd.convolve_plain
            if self.predicts:
                shape = (winograd.IN**2, *shape[2:])
                in_strips = self.dtype != jnp.bfloat16
                convolve = winograd.convolve_strips if in_strips else winograd.convolve
        elif same and self.predicts and self.dtype == jnp.bfloat16 and strides == (2, 2):
            convolve = convolve_halving
        else:
            return super().__call__(x)
        x, kernel, bias = with_kernel(self, shape, x, use_bias=self.use_bias)
        y = convolve(x, kernel).astype(x.dtype)
        return y if bias is None else y + bias


@functools.cache
def compiler_options(dtype: np.dtype, patches: bool = False) -> CompilerOptions:
    """Compiler options for programs that predict on CPUs.

    With Winograd in float32, they select Eigen for matrix products instead of YNNPACK, which is
    slower, most of all for strips. In bfloat16, YNNPACK is the only choice. Networks of patches use
    YNNPACK for convolutions and matrix products: with few channels, it is faster than Eigen, which
    computes such convolutions in one thread.

    Args:
      dtype: dtype of the convolutions.
      patches: whether the network is one of patches.

    Returns:
      Options for `jax.jit` or `compile`. Empty on backends other than CPU, and with versions of jax
      that do not know the option.
    """
    kinds = "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION" if patches else ""
    options: CompilerOptions = {"xla_cpu_experimental_ynn_fusion_type": kinds}
    if jax.default_backend() != "cpu" or dtype == jnp.bfloat16:
        return {}
    try:
        jax.jit(lambda: 0).lower().compile(options)
    except jax.errors.JaxRuntimeError:
        return {}
    return options


def convolve_halving(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of stride 2: 1x1, or 3x3 with a border of zeros.

    One matrix product for each row of the kernel. In bfloat16 this takes half the time of XLA's
    convolutions, which compute in float32.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[3, 3, C, D]` or `[1, 1, C, D]`.

    Returns:
      `[B, ceil(H / 2), ceil(W / 2), D]` in the dtype of `x`, accumulated in at least float32.
    """
    size = len(kernel)
    _, height, width, _ = x.shape
    border = (size // 2, size // 2)

    def columns(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, ((0, 0), border, border, (0, 0)))
        return jnp.concatenate([padded[:, :, j : j + width : 2] for j in range(size)], axis=-1)

    def rows(first: int) -> jax.Array:
        return by_bits(lambda x: x[:, first : first + height : 2], beside)

    beside = by_bits(columns, x)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    products = [
        lax.dot_general(
            rows(i),
            kernel[i].reshape(beside.shape[-1], -1),
            (((3,), (0,)), ((), ())),
            precision=lax.Precision.HIGHEST,
            preferred_element_type=dtype,
        )
        for i in range(size)
    ]
    return narrow(sum(products[1:], start=products[0]), x.dtype)
