"""Beams recognised in sparse depth, against a scan that is projected in NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.beams import lidar_beam
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from tests.sensors.scan_points import scanned, through_long_lens

beam_of = jax.jit(lidar_beam, static_argnums=2)


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
