"""3x3 convolutions with a quarter of the multiplications, for CPUs: Winograd's F(4x4, 3x3).

A tile of 4x4 outputs needs 6x6 inputs. Evaluating both the tile and the kernel, as polynomials, at
six points on each axis turns their convolution into 36 products, which over all tiles and channels
are 36 matrix products (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR
2016; Cook and Toom's construction). The points 0, +-sqrt(1/2), +-sqrt(2) and infinity lose half as
many digits as the usual 0, +-1, +-2 and infinity (Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution", ACM TOMS 2020, on the choice of points).
"""

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen import dtypes
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

# Outputs and inputs of a tile on each axis.
OUT, IN = 4, 6
# With fewer channels the transforms cost more than the products save.
MIN_CHANNELS = 64


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transforms of inputs `[6, 6]`, kernels `[6, 3]` and outputs `[4, 6]`, on one axis."""
    root = np.sqrt(0.5)
    points = np.array([0.0, root, -root, 2 * root, -2 * root])

    def evaluate(terms: int) -> np.ndarray:
        at_infinity = np.eye(terms)[-1:]
        return np.concatenate([points[:, None] ** np.arange(terms), at_infinity])

    inputs = np.linalg.inv(evaluate(IN)).T
    # Powers of two between the two sides leave the product as it is, to the bit.
    scale = 2.0 ** np.round(np.log2(np.abs(inputs).max(axis=1)))[:, None]
    return inputs / scale, evaluate(IN - OUT + 1) * scale, evaluate(OUT).T


INPUTS, KERNELS, OUTPUTS = _matrices()


class WinogradConv(nn.Conv):
    """A convolution that takes this way where it is quicker, and else is `nn.Conv`.

    Where it does, its `kernel` is that of `transform_kernel`; `fold` makes it.
    """

    min_channels: int = MIN_CHANNELS

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = (x.shape[-1], self.features)
        plain = self.kernel_size != (3, 3) or self.padding != 1 or self.strides not in (1, (1, 1))
        if plain or min(channels) < self.min_channels:
            return super().__call__(x)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (IN * IN, *channels))
        bias = None
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,))
        x, kernel, bias = dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = convolve(x, kernel).astype(x.dtype)
        return y if bias is None else y + bias


def transform_kernel(kernel: Any) -> np.ndarray:
    """Turns `[3, 3, C, D]` into `[36, C, D]` of the same dtype; float64 within."""
    exact = np.asarray(kernel, np.float64)
    transformed = np.einsum("ai,bj,ijcd->abcd", KERNELS, KERNELS, exact, optimize=True)
    return transformed.reshape(-1, *exact.shape[2:]).astype(np.asarray(kernel).dtype)


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution of stride 1 with zeros around the picture.

    Args:
      x: `[B, H, W, C]`; products are of its dtype.
      kernel: `[36, C, D]` of `transform_kernel`.

    Returns:
      `[B, H, W, D]`, float32 at least, in which products are added up.
    """
    # One frame at a time, as what lies between is several times as large as a frame.
    return lax.map(functools.partial(_convolve_frame, kernel=kernel), x)


def _convolve_frame(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[H, W, C]` to `[H, W, D]`."""
    height, width, channels = x.shape
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    down, across = -(-height // OUT), -(-width // OUT)
    # The border, and what is missing to whole tiles.
    padding = ((1, OUT * down - height + 1), (1, OUT * across - width + 1), (0, 0))
    padded = jnp.pad(x, padding)
    inputs, outputs = jnp.asarray(INPUTS, dtype), jnp.asarray(OUTPUTS, dtype)

    @_apart
    def transform_rows(padded: jax.Array) -> jax.Array:
        lines = [padded[i : i + OUT * (down - 1) + 1 : OUT] for i in range(IN)]
        return _total(inputs[:, i, None, None, None] * line for i, line in enumerate(lines))

    @_apart
    def transform_columns(rows: jax.Array) -> jax.Array:
        lines = [rows[:, :, j : j + OUT * (across - 1) + 1 : OUT] for j in range(IN)]
        tiles = _total(
            inputs[:, j, None, None, None] * line[:, None] for j, line in enumerate(lines)
        )
        return tiles.reshape(IN * IN, down * across, channels).astype(x.dtype)

    @_apart
    def sum_rows(products: jax.Array) -> jax.Array:
        planes = products.reshape(IN, IN, down, across, -1)
        return _total(outputs[:, a, None, None, None, None] * planes[a] for a in range(IN))

    @_apart
    def sum_columns(rows: jax.Array) -> jax.Array:
        rows = rows.swapaxes(0, 1)
        tiles = _total(
            outputs[:, b, None] * jnp.moveaxis(rows[b], 0, 1)[:, :, :, None] for b in range(IN)
        )
        return tiles.reshape(OUT * down, OUT * across, -1)[:height, :width]

    tiles = transform_columns(transform_rows(padded))
    products = lax.dot_general(
        tiles,
        kernel,
        (((2,), (1,)), ((0,), (0,))),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=dtype,
    )
    return sum_columns(sum_rows(products))


def _total(terms: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, terms)


def _apart(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Keeps XLA from fusing a function with others, where it would compute every sum anew for each
    of those that read it.
    """

    def call(x: jax.Array) -> jax.Array:
        with set_xla_metadata(inlineable="false"):
            return jax.jit(function)(x)

    return call
