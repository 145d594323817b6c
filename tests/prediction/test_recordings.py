"""Images with raw scans: undistortion, projection and the frame of point clouds."""

import numpy as np
import pytest

from fcfrnet_jax.pictures.point_clouds import moved, point_cloud
from fcfrnet_jax.prediction.recordings import lidar_from_camera, prepare
from fcfrnet_jax.sensors.calibration import Calibration, Distortion
from fcfrnet_jax.sensors.projection import project
from fcfrnet_jax.sensors.undistortion import undistort

SIZE = (40, 60)
MATRIX = np.array([[50.0, 0, 30], [0, 50, 20], [0, 0, 1]])
# The scanner has x forward, y to the left and z up, and is 0.2 m above the camera.
MOUNT = np.array([[0.0, -1, 0, 0], [0, 0, -1, -0.2], [1, 0, 0, 0], [0, 0, 0, 1]])
BENT = Distortion("plumb_bob", np.array([-0.3, 0.1, 0, 0]), MATRIX, np.eye(3))
IMAGE = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
POINTS = np.random.default_rng(1).uniform([3, -1.5, -1], [9, 1.5, 1], (200, 3))


def rig(size=SIZE, distortion=None, baseline=0.0):
    projection = np.column_stack([MATRIX, [baseline, 0, 0]])
    return Calibration(projection, MOUNT, size, distortion)


def test_the_image_is_undistorted_and_the_scan_projected_into_it():
    found = prepare(IMAGE, POINTS, rig(distortion=BENT))
    np.testing.assert_array_equal(found.image, undistort(IMAGE, rig(distortion=BENT)))
    assert not np.array_equal(found.image, IMAGE)
    np.testing.assert_array_equal(found.sparse_depth, project(POINTS, rig()))


def test_missing_echoes_are_ignored():
    # A camera behind the scanner would see them.
    mount = MOUNT.copy()
    mount[2, 3] = 2.0
    behind = Calibration(rig().projection, mount, SIZE)
    with_missing = np.concatenate([POINTS, np.zeros((5, 3)), np.full((5, 3), np.nan)])
    found = prepare(IMAGE, with_missing, behind)
    np.testing.assert_array_equal(found.sparse_depth, project(POINTS, behind))


def test_the_size_is_that_of_the_image_or_else_of_the_calibration():
    assert prepare(IMAGE[:30], POINTS, rig(size=None)).sparse_depth.shape == (30, 60)
    found = prepare(None, POINTS, rig())
    assert (found.image, found.sparse_depth.shape) == (None, SIZE)


@pytest.mark.parametrize(
    ("image", "points", "size", "message"),
    [
        (None, POINTS, None, "does not contain the size of the image; add it, or give the image"),
        (IMAGE[None], POINTS, SIZE, r"expected one image \[H, W, 3\].*got shape \[1, 40, 60, 3\]"),
        (IMAGE[:30], POINTS, SIZE, "calibration is for images of 40x60, got an image of 30x60"),
        (IMAGE / 255, POINTS, SIZE, "expected a uint8 image .* got float64"),
        (IMAGE, POINTS[:, :2], SIZE, r"points must be \[N, 3\] or wider, got shape \[200, 2\]"),
        (IMAGE, -POINTS, SIZE, "none of the 200 points falls into the image of 40x60"),
    ],
)  # fmt: skip
def test_mistakes(image, points, size, message):
    with pytest.raises(ValueError, match=message):
        prepare(image, points, rig(size=size))


def test_a_cloud_returns_to_the_points_of_the_scan():
    # As in KITTI, the projection contains a baseline to another camera.
    calibration = rig(baseline=-20.0)
    point = np.array([[5.0, 0.5, -0.3]])
    depth = project(point, calibration, remove_hidden=False)
    cloud = point_cloud(depth, None, MATRIX)
    found = moved(cloud, lidar_from_camera(calibration)).points
    # Half a pixel at 5 m.
    np.testing.assert_allclose(found, point, atol=0.5 * 5 / 50 + 1e-6)
    np.testing.assert_allclose(found[0, 0], 5.0, atol=1e-6)
