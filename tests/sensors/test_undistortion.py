"""Undistorted images against the formulas of the distortion models, in NumPy."""

import numpy as np
import pytest

from fcfrnet_jax.sensors.calibration import Calibration, Distortion
from fcfrnet_jax.sensors.undistortion import undistort

K = np.array([[60.0, 0, 39], [0, 62, 21], [0, 0, 1]])
TARGET = np.array([[50.0, 0, 40, 0], [0, 50, 20, 0], [0, 0, 1, 0]])
SIZE = (40, 80)
COEFFICIENTS = {
    "plumb_bob": (-0.3, 0.1, 0.01, -0.02, 0.03),
    "rational_polynomial": (0.3, 0.1, 0.01, -0.02, 0.03, 0.4, 0.2, 0.05),
    "equidistant": (0.05, -0.02, 0.01, 0.003),
}


def distort(model, k, x, y):
    """Where a ray (x, y, 1) is seen, in units of the focal length."""
    if model == "equidistant":
        r = np.hypot(x, y)
        theta = np.arctan(r)
        bent = theta * (1 + sum(k[i] * theta ** (2 * i + 2) for i in range(4)))
        return x * bent / r, y * bent / r
    k = np.append(k, np.zeros(8 - len(k)))
    r2 = x * x + y * y
    radial = 1 + k[0] * r2 + k[1] * r2**2 + k[4] * r2**3
    radial /= 1 + k[5] * r2 + k[6] * r2**2 + k[7] * r2**3
    return (
        x * radial + 2 * k[2] * x * y + k[3] * (r2 + 2 * x * x),
        y * radial + k[2] * (r2 + 2 * y * y) + 2 * k[3] * x * y,
    )


@pytest.mark.parametrize("model", COEFFICIENTS)
def test_every_pixel_shows_its_ray(model):
    turn = np.radians(2)
    rotation = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    coefficients = np.array(COEFFICIENTS[model])
    distortion = Distortion(model, coefficients, K, rotation)
    calibration = Calibration(TARGET, np.eye(4), SIZE, distortion)
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    # The value of a pixel says where it is, so that interpolation is exact.
    image = (column + 100.0 * row).astype(np.float32)
    rays = np.stack([(column + 0.25 - 40.25) / 50, (row - 20) / 50, np.ones(SIZE)], axis=-1)
    x, y, z = np.moveaxis(rays @ rotation, -1, 0)
    x, y = distort(model, coefficients, x / z, y / z)
    u, v = K[0, 0] * x + K[0, 2], K[1, 1] * y + K[1, 2]
    inside = (u > 1) & (u < SIZE[1] - 2) & (v > 1) & (v < SIZE[0] - 2)
    assert inside.mean() > 0.5
    # OpenCV interpolates at steps of 1/32 pixel.
    np.testing.assert_allclose(
        undistort(image, calibration)[inside], (u + 100 * v)[inside], atol=101 / 32
    )


def test_images_without_distortion_are_unchanged():
    image = np.zeros((*SIZE, 3), np.uint8)
    assert undistort(image, Calibration(TARGET, np.eye(4), SIZE)) is image
    with pytest.raises(ValueError, match="for images of 40x80, got an image of 41x80"):
        undistort(np.zeros((41, 80)), Calibration(TARGET, np.eye(4), SIZE))
