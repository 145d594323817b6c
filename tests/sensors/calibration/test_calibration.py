"""Calibrations of resized images."""

import cv2
import numpy as np
import pytest

from fcfrnet_jax.sensors.calibration import Calibration, Distortion
from fcfrnet_jax.sensors.undistortion import undistort

PROJECTION = np.array([[60.0, 0, 39, 5], [0, 62, 21, 2], [0, 0, 1, 0.01]])


def test_a_resized_image_shows_the_same_rays():
    calibration = Calibration(PROJECTION, np.eye(4), (40, 80))
    point = np.array([0.3, -0.2, 2.0, 1.0])
    (u, v), (small_u, small_v) = (
        (lambda a, b, c: (a / c, b / c))(*(matrix @ point))
        for matrix in (PROJECTION, calibration.scaled(20, 120).projection)
    )
    # Measured from the outer borders, which are half a pixel from the centres of the outer pixels.
    np.testing.assert_allclose((small_u + 0.5, small_v + 0.5), (1.5 * (u + 0.5), (v + 0.5) / 2))
    assert calibration.scaled(20, 120).size == (20, 120)


def test_a_resized_image_is_undistorted_like_the_image():
    distortion = Distortion(
        "plumb_bob", np.array([-0.2, 0.1, 0, 0]), PROJECTION[:, :3].copy(), np.eye(3)
    )
    calibration = Calibration(PROJECTION, np.eye(4), (40, 80), distortion)
    row, column = np.mgrid[:40, :80].astype(np.float32)
    image = column + 2 * row
    half = cv2.resize(image, (40, 20), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(undistort(image, calibration), (40, 20), interpolation=cv2.INTER_AREA)
    found = undistort(half, calibration.scaled(20, 40))
    np.testing.assert_allclose(found[4:-4, 4:-4], expected[4:-4, 4:-4], atol=0.3)


def test_the_size_may_be_any_two_positive_integers():
    assert Calibration(PROJECTION, np.eye(4), [np.int64(40), 80]).size == (40, 80)
    for size in ((40,), (0, 80), (40, 80, 3)):
        with pytest.raises(ValueError, match=r"size must be \(height, width\), at least 1x1"):
            Calibration(PROJECTION, np.eye(4), size)


def test_an_unknown_size_cannot_be_scaled():
    with pytest.raises(ValueError, match="does not contain the size of the image; add it"):
        Calibration(PROJECTION, np.eye(4)).scaled(4, 4)
