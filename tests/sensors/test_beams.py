"""Beams recognised in sparse depth, against a scan that is projected in NumPy in float64."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.beams import lidar_beam
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, Lidar

beam_of = jax.jit(lidar_beam, static_argnums=2)


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


def test_beams_of_a_kitti_frame_are_recognised() -> None:
    depth, beams, intrinsics = scanned((375, 1242), KITTI.intrinsics)
    measured = beams >= 0
    assert measured.sum() > 8000
    assert len(set(beams[measured])) > 45
    found = np.asarray(beam_of(depth, intrinsics, HDL64))
    assert found.dtype == np.int32
    assert (found == beams)[measured].mean() > 0.999


def test_every_beam_is_recognised() -> None:
    depth, beams, intrinsics = through_long_lens()
    measured = beams >= 0
    assert len(set(beams[measured])) == 64
    found = np.asarray(beam_of(depth, intrinsics, HDL64))
    np.testing.assert_array_equal(found[measured], beams[measured])


@pytest.mark.parametrize("tilt", [(0.0, 0.0, 0.0), (2.0, -3.0, 1.0)])
def test_another_scanner(tilt: tuple[float, float, float]) -> None:
    elevations = tuple(np.linspace(6.0, -14.0, 16).tolist())
    lidar = Lidar(elevations, (0.3,) * 16, position=(0.2, -0.5, 0.1), tilt=tilt)
    depth, beams, intrinsics = scanned((240, 320), (300.0, 280.0, 150.0, 90.0), lidar)
    measured = beams >= 0
    assert len(set(beams[measured])) == 16
    found = np.asarray(beam_of(jnp.asarray(depth), intrinsics, lidar))
    assert (found == beams)[measured].mean() > 0.999
