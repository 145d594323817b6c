"""Cameras and scanners that fit each other."""

import pytest

from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, spinning
from fcfrnet_jax.sensors.rig import scaled_rig


def test_smaller_images_have_the_same_field_of_view_and_fewer_beams():
    camera, lidar = scaled_rig((48, 160))
    assert (camera.cx + 0.5) / 160 == pytest.approx((KITTI.cx + 0.5) / 1242)
    assert camera.fy / 48 == pytest.approx(KITTI.fy / 375)
    assert len(lidar.elevations) == round(64 * 48 / 375)


def test_images_of_kittis_size_have_kittis_sensors():
    assert scaled_rig((375, 1242)) == (KITTI, HDL64)


def test_larger_images_keep_the_scanner():
    assert scaled_rig((750, 2484), spinning(32))[1] == spinning(32)
