"""3x3 convolutions by Winograd F(4x4, 3x3), for CPUs: a quarter of the multiplications.

A tile of 4x4 outputs depends on 6x6 inputs. The input tile and the kernel are regarded as
polynomials and evaluated at six points on each axis, which turns their convolution into 36
products. Over all tiles and channels these are 36 matrix products (Lavin and Gray, "Fast algorithms
for convolutional neural networks", CVPR 2016; the Toom-Cook construction). With the points 0,
+-sqrt(1/2), +-sqrt(2) and infinity, the rounding error is half of that with the usual points 0,
+-1, +-2 and infinity. On the choice of points, see Barabasz et al., "Error analysis and improving
the accuracy of Winograd convolution", ACM TOMS 2020.
"""

import functools
import operator
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from fcfrnet_jax.networks.cpu.bfloat16 import by_bits, narrow, widen

# Outputs and inputs of a tile on each axis.
OUT, IN = 4, 6
# Size of the transformed inputs and outputs of a strip, chosen for a cache of about ten megabytes.
STRIP_BYTES = 12 * 2**20
# Largest product of input and output channels for strips: each strip packs the kernel again.
STRIP_KERNEL = 128 * 128


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transforms of inputs `[6, 6]`, kernels `[6, 3]` and outputs `[4, 6]` on one axis."""
    root = np.sqrt(0.5)
    points = np.array([0.0, root, -root, 2 * root, -2 * root])

    def evaluate(terms: int) -> np.ndarray:
        at_infinity = np.eye(terms)[-1:]
        return np.concatenate([points[:, None] ** np.arange(terms), at_infinity])

    inputs = np.linalg.inv(evaluate(IN)).T
    # Scaling by powers of two, which cancel in the products, is exact.
    scale = 2.0 ** np.round(np.log2(np.abs(inputs).max(axis=1)))[:, None]
    return inputs / scale, evaluate(IN - OUT + 1) * scale, evaluate(OUT).T


INPUTS, KERNELS, OUTPUTS = _matrices()
# The transform of kernels on both axes.
KERNELS_2D = np.kron(KERNELS, KERNELS)


def transform_kernel(kernel: np.ndarray) -> np.ndarray:
    """Transforms `[3, 3, C, D]` to `[36, C, D]` of the same dtype, computing in float64."""
    exact = np.asarray(kernel, np.float64)
    transformed = KERNELS_2D @ exact.reshape(9, -1)
    return transformed.reshape(-1, *exact.shape[2:]).astype(np.asarray(kernel).dtype)


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution of stride 1 with a border of zeros.

    Args:
      x: `[B, H, W, C]`; the operands of the products have its dtype.
      kernel: `[36, C, D]`, the result of `transform_kernel`.

    Returns:
      `[B, H, W, D]`, accumulated in at least float32.
    """

    def convolve_frame(frame: jax.Array) -> jax.Array:
        return _sum_tiles(_multiply(_input_tiles(frame), kernel, (2, 1)), *frame.shape[:2])

    # One frame at a time: intermediate results are several times as large as a frame.
    return lax.map(convolve_frame, x)


def convolve_strips(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve` in strips of tiles, so that intermediate results of a strip stay in the cache.

    This is faster if matrix products are as fast on a strip as on the whole image (see
    `conv.compiler_options`) and if the kernel is small, because each strip packs it again.
    """
    _, height, width, channels = x.shape
    features = kernel.shape[2]
    down, across = -(-height // OUT), -(-width // OUT)
    tile = IN * IN * (channels + features) * x.dtype.itemsize
    strips = -(-down // max(1, STRIP_BYTES // (across * tile)))
    if strips == 1 or channels * features > STRIP_KERNEL:
        return convolve(x, kernel)
    lines = OUT * -(-down // strips)

    def convolve_frame(frame: jax.Array) -> jax.Array:
        below = strips * lines - height
        bordered = _bordered(frame, below)

        def convolve_strip(i: jax.Array, total: jax.Array) -> jax.Array:
            strip = lax.dynamic_slice_in_dim(bordered, i * lines, lines + IN - OUT)
            products = _multiply(_tiles_of(strip), kernel, (2, 1))
            sums = _sum_rows(_planes(products, lines, width))
            return _put_strip(sums, total, i * lines)

        start = jnp.zeros((height + below, OUT * across, features), _sum_dtype(frame))
        return lax.fori_loop(0, strips, convolve_strip, start)[:height, :width]

    return lax.map(convolve_frame, x)


@jax.custom_vjp
def convolve_plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`convolve` with a kernel `[3, 3, C, D]`, differentiable; returns the dtype of `x`."""
    dtype = _sum_dtype(kernel)
    transformed = jnp.asarray(KERNELS_2D, dtype) @ kernel.reshape(9, -1).astype(dtype)
    transformed = transformed.reshape(IN * IN, *kernel.shape[2:])
    return convolve(x, transformed.astype(kernel.dtype)).astype(x.dtype)


def _convolve_plain(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple]:
    return convolve_plain(x, kernel), (x, kernel)


def _convolve_plain_gradient(saved: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradients with respect to `x` and `kernel`.

    The gradient with respect to `x` is a convolution. The output is linear in the 36 products, so
    the transpose of this map gives the gradient with respect to the products. Multiplied by the
    tiles of `x`, it gives the gradient with respect to the transformed kernel.
    """
    x, kernel = saved
    by_x = convolve_plain(gradient, kernel[::-1, ::-1].swapaxes(2, 3))

    def add_frame(total: jax.Array, frame: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        inputs, outputs = frame
        return total + _multiply(_input_tiles(inputs), _gradient_tiles(outputs), (1, 1)), None

    start = jnp.zeros((IN * IN, *kernel.shape[2:]), _sum_dtype(x))
    by_transformed, _ = lax.scan(add_frame, start, (x, gradient))
    transpose = jnp.asarray(KERNELS_2D.T, start.dtype)
    by_kernel = transpose @ by_transformed.reshape(IN * IN, -1)
    return by_x, by_kernel.reshape(kernel.shape).astype(kernel.dtype)


convolve_plain.defvjp(_convolve_plain, _convolve_plain_gradient)


def _multiply(left: jax.Array, right: jax.Array, summed: tuple[int, int]) -> jax.Array:
    """36 matrix products, summed over one axis of `left` and one of `right`."""
    return lax.dot_general(
        left,
        right,
        (((summed[0],), (summed[1],)), ((0,), (0,))),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=_sum_dtype(left),
    )


def _input_tiles(x: jax.Array) -> jax.Array:
    """Transforms `[H, W, C]` to `[36, tiles, C]`."""
    return _tiles_of(_bordered(x, below=-len(x) % OUT))


def _bordered(x: jax.Array, below: int) -> jax.Array:
    """Pads by one pixel on each side, on the right to whole tiles, and by `below` more rows."""
    padding = ((1, 1 + below), (1, 1 + -x.shape[1] % OUT), (0, 0))
    return by_bits(lambda x: jnp.pad(x, padding), x)


def _tiles_of(bordered: jax.Array) -> jax.Array:
    tiles = _transform_columns(_transform_rows(bordered))
    return tiles.reshape(IN * IN, -1, bordered.shape[-1])


def _planes(products: jax.Array, height: int, width: int) -> jax.Array:
    """Reshapes `[36, tiles, D]` to `[6, 6, down, across, D]`."""
    return products.reshape(IN, IN, -(-height // OUT), -(-width // OUT), -1)


def _sum_tiles(products: jax.Array, height: int, width: int) -> jax.Array:
    """Transforms `[36, tiles, D]` to `[H, W, D]`."""
    return _sum_columns(_sum_rows(_planes(products, height, width)))[:height, :width]


def _gradient_tiles(gradient: jax.Array) -> jax.Array:
    """The transpose of `_sum_tiles`: `[H, W, D]` to `[36, tiles, D]`."""
    height, width, channels = gradient.shape
    padding = ((0, -height % OUT), (0, -width % OUT), (0, 0))
    padded = by_bits(lambda x: jnp.pad(x, padding), gradient)
    return _spread_columns(_spread_rows(padded)).reshape(IN * IN, -1, channels)


def _not_fused(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Compiles a function separately from its consumers.

    XLA would fuse each transform into its consumers and recompute it for each of them. The function
    computes in at least float32 and returns the dtype of its first argument.
    """

    @jax.jit
    def compiled(x: jax.Array, *others: jax.Array) -> jax.Array:
        return narrow(function(widen(x), *others), x.dtype)

    def call(x: jax.Array, *others: jax.Array) -> jax.Array:
        with set_xla_metadata(inlineable="false"):
            return compiled(x, *others)

    return call


@_not_fused
def _transform_rows(x: jax.Array) -> jax.Array:
    """Transforms `[4 down + 2, W, C]` to `[6, down, W, C]`."""
    matrix = jnp.asarray(INPUTS, x.dtype)
    lines = [x[i : i + len(x) - IN + 1 : OUT] for i in range(IN)]
    return _total(matrix[:, i, None, None, None] * line for i, line in enumerate(lines))


@_not_fused
def _transform_columns(x: jax.Array) -> jax.Array:
    """Transforms `[6, down, 4 across + 2, C]` to `[6, 6, down, across, C]`."""
    matrix = jnp.asarray(INPUTS, x.dtype)
    lines = [x[:, :, j : j + x.shape[2] - IN + 1 : OUT] for j in range(IN)]
    return _total(matrix[:, j, None, None, None] * line[:, None] for j, line in enumerate(lines))


@_not_fused
def _sum_rows(x: jax.Array) -> jax.Array:
    """Transforms `[6, 6, down, across, D]` to `[4, 6, down, across, D]`."""
    matrix = jnp.asarray(OUTPUTS, x.dtype)
    return _total(matrix[:, i, None, None, None, None] * x[i] for i in range(IN))


def _column_sums(x: jax.Array) -> jax.Array:
    matrix = jnp.asarray(OUTPUTS, x.dtype)
    _, _, down, across, features = x.shape
    columns = [jnp.moveaxis(x[:, j], 0, 1)[:, :, :, None] for j in range(IN)]
    tiles = _total(matrix[:, j, None] * column for j, column in enumerate(columns))
    return tiles.reshape(OUT * down, OUT * across, features)


@_not_fused
def _sum_columns(x: jax.Array) -> jax.Array:
    """Transforms `[4, 6, down, across, D]` to `[4 down, 4 across, D]`."""
    return _column_sums(x)


@_not_fused
def _put_strip(x: jax.Array, total: jax.Array, line: jax.Array) -> jax.Array:
    """Writes the result of `_sum_columns` to `total`, from row `line` on."""
    return lax.dynamic_update_slice_in_dim(total, _column_sums(x), line, axis=0)


@_not_fused
def _spread_rows(x: jax.Array) -> jax.Array:
    """Transforms `[4 down, W, D]` to `[6, down, W, D]`."""
    matrix = jnp.asarray(OUTPUTS, x.dtype)
    lines = x.reshape(-1, OUT, *x.shape[1:])
    return _total(matrix[i, :, None, None, None] * lines[:, i] for i in range(OUT))


@_not_fused
def _spread_columns(x: jax.Array) -> jax.Array:
    """`[6, down, 4 across, D]` to `[6, 6, down, across, D]`."""
    matrix = jnp.asarray(OUTPUTS, x.dtype)
    lines = x.reshape(*x.shape[:2], -1, OUT, x.shape[3])
    return _total(matrix[j, :, None, None, None] * lines[:, None, :, :, j] for j in range(OUT))


def _total(terms: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(operator.add, terms)


def _sum_dtype(x: jax.Array) -> np.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)
