"""Stores depth maps as the distances between their points, which decodes faster than PNG or masks.

The points are listed row by row. Each has its distance in pixels to the one before, a byte, and
its depth, 256 times the metres as in KITTI's PNG. Where a distance exceeds a byte, points of depth
0, which means missing, lie between.
"""

import numpy as np

from fcfrnet_jax.data.images import DEPTH_SCALE
from fcfrnet_jax.geometry import Size

_LONGEST = 255


def pack(depth: np.ndarray) -> tuple[bytes, bytes]:
    """Lists the points of a depth map.

    Args:
      depth: uint16 `[H, W]`, 256 times the metres, 0 = missing.

    Returns:
      The distances, uint8 `[N]`, and the depths, uint16 `[N]` little-endian. The first distance is
      from the first pixel.
    """
    flat = depth.ravel()
    pixels = np.flatnonzero(flat)
    distances = np.diff(pixels, prepend=0)
    # How many points of depth 0 come before each point.
    bridges = np.maximum(distances - 1, 0) // _LONGEST
    gaps = np.full(len(pixels) + bridges.sum(), _LONGEST, np.uint8)
    values = np.zeros(len(gaps), "<u2")
    places = np.cumsum(bridges + 1) - 1
    gaps[places] = distances - _LONGEST * bridges
    values[places] = flat[pixels]
    return gaps.tobytes(), values.tobytes()


def unpack(gaps: memoryview | bytes, values: memoryview | bytes, size: Size) -> np.ndarray:
    """Restores a depth map, float32 `[H, W]` metres, 0 = missing.

    Args:
      gaps, values: as returned by `pack`.
      size: (height, width).

    Raises:
      ValueError: the lists have different lengths, or points lie outside the map.
    """
    distances, pixels = np.frombuffer(gaps, np.uint8), np.frombuffer(values, "<u2")
    if len(distances) != len(pixels):
        raise ValueError(f"has {len(distances)} distances of points, but {len(pixels)} depths")
    depth = np.zeros(size[0] * size[1], np.float32)
    places = np.cumsum(distances, dtype=np.int64)
    if len(places) and places[-1] >= len(depth):
        raise ValueError(f"has a point {places[-1]} of {len(depth)} pixels")
    depth[places] = pixels * np.float32(1 / DEPTH_SCALE)
    return depth.reshape(size)
