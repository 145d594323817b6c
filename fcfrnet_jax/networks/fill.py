"""Classical fill of sparse LiDAR depth by morphology, without an image and without weights.

The algorithm is that of Ku, Harakeh and Waslander, "In Defense of Classical Image Processing: Fast
Depth Completion on the CPU" (CRV 2018, arXiv 1802.00036), with the settings of the paper: custom
kernel, extension to the top of the frame, Gaussian blur. All steps operate on the *inverted* depth
`max_depth - depth`, 0 = empty, so that the maximum over a window selects the nearest surface.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# The paper's threshold in metres: smaller depths count as missing, and it is the smallest inverted
# depth.
_THRESHOLD = 0.1

# Width in pixels of the last dilation, which is repeated until a frame is dense.
_LARGE = 31

# A measurement belongs to the surface of the dense depth if it is at most this share behind it.
_SEEN_THROUGH = 0.1

# Nine compare-exchanges sort five values (Knuth, TAOCP volume 3, section 5.3.4).
SORT_FIVE = ((0, 1), (3, 4), (2, 4), (2, 3), (1, 4), (0, 3), (0, 2), (1, 3), (1, 2))


def classical_fill(
    sparse_depth: jax.Array | np.ndarray,
    max_depth: float = 100.0,
    size: jax.Array | np.ndarray | None = None,
) -> jax.Array:
    """Fills sparse depth by dilation, closing, extension to the top and blur.

    For a frame with at least one measurement, the result is dense, and all values are between the
    smallest and the largest measurement. Where the paper's last dilation leaves pixels empty (more
    than 15 pixels beside or below all filled pixels), the dilation is repeated until none is left,
    before the blurs. These pixels take the smallest depth among the nearest filled pixels. A frame
    without measurements stays 0. Frames of a batch are independent.

    The function is pure and may be called within `jit`, `vmap` and `pmap`. It is not differentiable
    in reverse mode.

    Args:
      sparse_depth: float32 `[B, H, W, 1]` metres. Missing: 0, and all values that are not finite or
        not above 0.1 m.
      max_depth: origin of the inverted depth in metres, a Python number. Larger measurements than
        `max_depth - 0.1` count as that depth.
      size: int32 `[B, 2]`, the height and width of each frame, each at least 2, if frames are
        padded at the bottom and the right. The fill of a frame does not depend on the padding.

    Returns:
      Depth, float32 `[B, H, W, 1]` metres; 0 in the padding.

    Raises:
      ValueError: another rank, number of channels or dtype, an empty image, or a `max_depth` that
        is not finite or not above 0.2 m.
    """
    shape = sparse_depth.shape
    if len(shape) != 4 or shape[-1] != 1 or 0 in shape[1:]:
        raise ValueError(f"expected sparse depth [B, H, W, 1] with H, W >= 1, got shape {shape}")
    if sparse_depth.dtype != jnp.float32:
        raise ValueError(
            f"expected sparse depth in float32 metres, got {sparse_depth.dtype} of shape {shape}"
        )
    if not 2 * _THRESHOLD < max_depth < math.inf:
        raise ValueError(f"max_depth must be finite and above {2 * _THRESHOLD} m, got {max_depth}")
    return _fill(sparse_depth, size, float(max_depth))


def keep_measured(sparse_depth: jax.Array, dense_depth: jax.Array) -> jax.Array:
    """Puts measured depths back into a dense depth map, except points seen through the foreground.

    The LiDAR is mounted above the camera and measures surfaces that the camera does not see. Such
    points lie behind the surfaces around them, and the fill takes the nearest of these.

    Args:
      sparse_depth: float32 `[B, H, W, 1]` metres, 0 = missing.
      dense_depth: `[B, H, W, 1]` metres, of `classical_fill` or a network.

    Returns:
      `[B, H, W, 1]` metres: the sparse depth where it is at most a tenth behind the dense one,
      else the dense depth.
    """
    measured = sparse_depth > _THRESHOLD
    seen = measured & (sparse_depth < (1 + _SEEN_THROUGH) * dense_depth)
    return jnp.where(seen, sparse_depth, dense_depth)


@functools.partial(jax.jit, static_argnames="max_depth")
def _fill(sparse_depth: jax.Array, size: jax.Array | None, max_depth: float) -> jax.Array:
    depth = sparse_depth[..., 0]
    frame = _Frame(depth, size)
    measured = frame.masked((depth > _THRESHOLD) & (depth < jnp.inf), False)
    inverted = jnp.where(measured, jnp.maximum(max_depth - depth, _THRESHOLD), 0.0)  # [B, H, W]
    inverted = frame.masked(_dilate_diamond(inverted), 0)
    inverted = frame.masked(_dilate(inverted, 5), jnp.inf)
    inverted = frame.masked(-_dilate(-inverted, 5), 0)
    inverted = frame.masked(_fill_empty(inverted, 7), 0)
    inverted = _extend_to_top(inverted)
    inverted = _fill_until_dense(inverted, frame)
    inverted = _gaussian(_median(frame.repeat_edge(inverted)), frame)
    any_measured = measured.any(axis=(-2, -1), keepdims=True)
    return frame.masked(jnp.where(any_measured, max_depth - inverted, 0.0), 0)[..., None]


class _Frame:
    """The pixels of padded frames, `[B, H, W]`; without a size, all pixels."""

    def __init__(self, depth: jax.Array, size: jax.Array | None) -> None:
        self._counts: tuple[jax.Array, ...] | None = None
        if size is not None:
            self._counts = tuple(jnp.asarray(size)[:, axis, None, None] for axis in (0, 1))
            self._positions = [lax.broadcasted_iota(jnp.int32, depth.shape, i) for i in (1, 2)]

    def masked(self, x: jax.Array, value: float) -> jax.Array:
        """Sets the pixels outside the frame to `value`."""
        if self._counts is None:
            return x
        row, column = (p < n for p, n in zip(self._positions, self._counts, strict=True))
        return jnp.where(row & column, x, jnp.asarray(value, x.dtype))

    def repeat_edge(self, x: jax.Array) -> jax.Array:
        """Repeats the last row and the last column twice outside the frame."""
        for axis in (-2, -1):
            for i in (0, 1):
                x = self._copied(x, axis, to=i, back=1)
        return x

    def reflect_edge(self, x: jax.Array, axis: int) -> jax.Array:
        """Copies the last row or column but one to the first outside the frame."""
        return self._copied(x, axis, to=0, back=2)

    def _copied(self, x: jax.Array, axis: int, to: int, back: int) -> jax.Array:
        """Copies to position `count + to` of an axis from the one that is `back` before it."""
        if self._counts is None:
            return x
        before = jnp.roll(x, back, axis)
        return jnp.where(self._positions[axis] == self._counts[axis] + to, before, x)


def _window_max(x: jax.Array, size: int, axis: int) -> jax.Array:
    """Running maximum over an odd window along one axis; outside the frame there is nothing."""
    x = jnp.pad(x, _margins(x, size // 2, axis), constant_values=-jnp.inf)
    # Two overlapping windows make a wider one, so 31 pixels take five maxima.
    width = 1
    while width < size:
        step = min(width, size - width)
        x = jnp.maximum(*_shifted(x, step, axis))
        width += step
    return x


def _margins(x: jax.Array, margin: int, axis: int) -> list[tuple[int, int]]:
    """Widths for `jnp.pad` that add `margin` entries at both ends of one axis."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (margin, margin)
    return widths


def _shifted(x: jax.Array, step: int, axis: int) -> tuple[jax.Array, jax.Array]:
    """`x` without its last and without its first `step` entries along `axis`."""
    size = x.shape[axis]
    return (
        lax.slice_in_dim(x, 0, size - step, axis=axis),
        lax.slice_in_dim(x, step, size, axis=axis),
    )


def _dilate(x: jax.Array, size: int) -> jax.Array:
    return _window_max(_window_max(x, size, -1), size, -2)


def _dilate_diamond(x: jax.Array) -> jax.Array:
    """Maximum over the 13 pixels at most two steps away: a cross of five pixels, twice."""
    for _ in range(2):
        x = jnp.maximum(_window_max(x, 3, -1), _window_max(x, 3, -2))
    return x


def _fill_empty(x: jax.Array, size: int) -> jax.Array:
    return jnp.where(x == 0, _dilate(x, size), x)


def _extend_to_top(x: jax.Array) -> jax.Array:
    """Repeats the topmost filled pixel of every column up to the frame's upper edge."""
    row = lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 2)
    top = jnp.where(x > 0, row, x.shape[-2]).min(axis=-2, keepdims=True)
    value = jnp.where(row == top, x, 0).max(axis=-2, keepdims=True)
    return jnp.where(row < top, value, x)


def _fill_until_dense(x: jax.Array, frame: _Frame) -> jax.Array:
    def is_incomplete(x: jax.Array) -> jax.Array:
        filled = x > 0
        complete = frame.masked(filled, True).all(axis=(-2, -1))
        # A frame without measurements never becomes dense and must not prolong the loop.
        return (filled.any(axis=(-2, -1)) & ~complete).any()

    return lax.while_loop(is_incomplete, lambda x: frame.masked(_fill_empty(x, _LARGE), 0), x)


def _sort_five(values: list[jax.Array]) -> list[jax.Array]:
    values = list(values)
    for low, high in SORT_FIVE:
        _compare_exchange(values, low, high)
    return values


def _compare_exchange(values: list[jax.Array], low: int, high: int) -> None:
    a, b = values[low], values[high]
    values[low], values[high] = jnp.minimum(a, b), jnp.maximum(a, b)


def _median(x: jax.Array) -> jax.Array:
    """Median over 5x5 pixels with a replicated border, by compare-exchanges of whole images.

    First the columns of each window are sorted (once for all windows that share a column), then the
    rows; afterwards both are sorted. The entry at ranks i and j, counted from 0, is then at least
    as large as (i + 1)(j + 1) - 1 others, and at most as large as (5 - i)(5 - j) - 1 others. If
    either number is 13 or more, the entry is not needed to find the median. Equally many entries
    are removed at both ends, so the median of the remaining 13 is that of all 25.
    """
    height, width = x.shape[-2:]
    for axis in (-2, -1):
        x = jnp.pad(x, _margins(x, 2, axis), "edge")
    columns = _sort_five([lax.slice_in_dim(x, i, i + height, axis=-2) for i in range(5)])
    windows = [
        _sort_five([lax.slice_in_dim(column, j, j + width, axis=-1) for j in range(5)])
        for column in columns
    ]
    left = [
        windows[i][j]
        for i in range(5)
        for j in range(5)
        if (i + 1) * (j + 1) <= 13 and (5 - i) * (5 - j) <= 13
    ]
    return _median_by_forgetting(left)


def _median_by_forgetting(values: list[jax.Array]) -> jax.Array:
    """Median of an odd number of values.

    The smallest and the largest of just over half of the values cannot be the median.
    """
    kept = len(values) // 2 + 2
    active, waiting = values[:kept], values[kept:]
    while len(active) > 1:
        for k in range(len(active) - 1):
            _compare_exchange(active, k, k + 1)
        for k in range(len(active) - 2, 0, -1):
            _compare_exchange(active, k - 1, k)
        active = active[1:-1] + waiting[:1]
        waiting = waiting[1:]
    return active[0]


def _gaussian(x: jax.Array, frame: _Frame) -> jax.Array:
    """Blurs with the outer product of (1, 4, 6, 4, 1) / 16; the border is reflected, edge excluded.

    OpenCV uses these binomial weights for a 5x5 kernel without a given sigma. They are equivalent
    to (1, 2, 1) / 4 applied twice, and that to adding neighbours twice. No product is rounded, so
    the result depends neither on the batch size nor on fused multiply-adds.
    """

    def blur(_: int, x: jax.Array) -> jax.Array:
        for axis in (-2, -1):
            x = jnp.pad(frame.reflect_edge(x, axis), _margins(x, 1, axis), "reflect")
            for _ in range(2):
                x = jnp.add(*_shifted(x, 1, axis))
        return x / 16

    # Without the loop, XLA's CPU backend fuses the blur with the median and recomputes the median
    # for every neighbour, which takes ten times as long as the whole fill.
    return lax.fori_loop(0, 2, blur, x)
