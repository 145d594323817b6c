"""Scans projected in NumPy, in float64, with the beam of every pixel."""

from typing import NamedTuple

import numpy as np

from fcfrnet_jax.sensors.lidar import HDL64, Lidar


class Scan(NamedTuple):
    """Sparse depth, float32 `[H, W, 1]` metres, the beam of each pixel (-1 = none), intrinsics."""

    depth: np.ndarray
    beams: np.ndarray
    intrinsics: np.ndarray


def scanned(
    size: tuple[int, int],
    intrinsics: tuple[float, float, float, float],
    lidar: Lidar = HDL64,
    seed: int = 0,
    count: int = 20_000,
) -> Scan:
    """Projects `count` returns of random beams, azimuths and distances into an image."""
    random = np.random.default_rng(seed)
    fx, fy, cx, cy = intrinsics
    beams, ranges = random.integers(0, len(lidar.elevations), count), random.uniform(4, 70, count)
    elevation = np.radians(lidar.elevations)[beams]
    height = np.array(lidar.heights)[beams]
    azimuth = random.uniform(-1.1, 1.1, count) * np.arctan(size[1] / 2 / fx)
    level = np.cos(elevation)
    direction = np.stack([level * np.sin(azimuth), -np.sin(elevation), level * np.cos(azimuth)])
    point = ranges * direction + np.stack([0 * height, -height, 0 * height])
    x, y, z = lidar.rotation() @ point + np.array(lidar.position)[:, None]
    column, row = np.rint(fx * x / z + cx), np.rint(fy * y / z + cy)
    seen = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    depth, found = np.zeros(size, np.float32), np.full(size, -1)
    pixel = row[seen].astype(int), column[seen].astype(int)
    depth[pixel], found[pixel] = z[seen], beams[seen]
    return Scan(depth[..., None], found[..., None], np.array(intrinsics, np.float32))


def through_long_lens(seed: int = 0) -> Scan:
    """All 64 beams, at a focal length at which rounding to pixels hides no beam."""
    return scanned((760, 61), (1200.0, 1200.0, 30.0, 100.0), seed=seed, count=8_000)
