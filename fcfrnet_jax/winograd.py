"""3x3 convolutions with a quarter of the multiplications, for CPUs: Winograd's F(4x4, 3x3).

A tile of 4x4 outputs needs 6x6 inputs. Evaluating both the tile and the kernel, as polynomials, at
six points on each axis turns their convolution into 36 products, which over all tiles and channels
are 36 matrix products (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR
2016; Cook and Toom's construction). The points 0, +-sqrt(1/2), +-sqrt(2) and infinity lose half as
many digits as the usual 0, +-1, +-2 and infinity (Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution", ACM TOMS 2020, on the choice of points).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen import dtypes
from jax import lax

# Outputs and inputs of a tile on each axis.
OUT, IN = 4, 6
# With fewer channels the transforms cost more than the products save.
MIN_CHANNELS = 128
# Tiles whose transforms stay in the cache.
STRIP_TILES = 640


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
    batch, height, width, channels = x.shape
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    down, across = -(-height // OUT), -(-width // OUT)
    strips = -(-down // max(1, STRIP_TILES // across))
    rows = -(-down // strips)
    # The border, and what is missing to whole strips of tiles.
    shape = (batch, OUT * rows * strips + IN - OUT, OUT * across + IN - OUT, channels)
    padded = lax.dynamic_update_slice(jnp.zeros(shape, x.dtype), x, (0, 1, 1, 0))
    outputs = (batch, OUT * rows * strips, OUT * across, kernel.shape[-1])

    def fill_strip(index: jax.Array, filled: jax.Array) -> jax.Array:
        place = (index // strips, OUT * rows * (index % strips), 0, 0)
        size = (1, OUT * rows + IN - OUT, *shape[2:])
        strip = lax.dynamic_slice(padded, place, size)[0].astype(dtype)
        done = _convolve_strip(strip, kernel, rows, across, x.dtype)
        return lax.dynamic_update_slice(filled, done[None], place)

    y = lax.fori_loop(0, batch * strips, fill_strip, jnp.zeros(outputs, dtype))
    return y[:, :height, :width]


def _convolve_strip(
    strip: jax.Array, kernel: jax.Array, rows: int, across: int, dtype: Any
) -> jax.Array:
    """`[4 rows + 2, 4 across + 2, C]` to `[4 rows, 4 across, D]`."""
    channels = strip.shape[-1]
    tall, wide = OUT * (rows - 1) + 1, OUT * (across - 1) + 1
    lines = [strip[i : i + tall : OUT] for i in range(IN)]
    products = []
    for a in range(IN):
        mixed = _combine(INPUTS[a], lines)
        columns = [mixed[:, j : j + wide : OUT] for j in range(IN)]
        for b in range(IN):
            tiles = _combine(INPUTS[b], columns).reshape(rows * across, channels).astype(dtype)
            # One product at a time: as a batch, it would first be gathered into one array.
            products.append(
                lax.dot(
                    tiles,
                    kernel[IN * a + b],
                    precision=lax.Precision.HIGHEST,
                    preferred_element_type=strip.dtype,
                )
            )
    halfway = [[_combine(row, products[b::IN]) for b in range(IN)] for row in OUTPUTS]
    pieces = [[_combine(row, line) for row in OUTPUTS] for line in halfway]
    shape = (rows, across, kernel.shape[-1])
    joined = [jnp.stack([piece.reshape(shape) for piece in line], axis=2) for line in pieces]
    return jnp.stack(joined, axis=1).reshape(OUT * rows, OUT * across, -1)


def _combine(factors: np.ndarray, arrays: list[jax.Array]) -> jax.Array:
    """The sum of the arrays by their factors, none of which is computed where it is 0 or 1."""
    total = None
    for factor, array in zip(factors, arrays, strict=True):
        if abs(factor) < 1e-12:
            continue
        term = array if abs(factor - 1) < 1e-12 else array * jnp.asarray(factor, array.dtype)
        total = term if total is None else total + term
    assert total is not None
    return total
