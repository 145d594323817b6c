"""Pinhole cameras and windows of their images."""

import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.camera import KITTI, Camera, check_window, project, window_matrix

SMALL = KITTI.scaled(48, 160)


@pytest.mark.parametrize("size", [(375, 1242), (48, 160), (400, 300)])
def test_a_scaled_camera_has_the_same_field_of_view(size):
    camera = KITTI.scaled(*size)
    # The outer borders of the image are half a pixel from the centres of the outer pixels.
    left, right = (-0.5 - camera.cx) / camera.fx, (size[1] - 0.5 - camera.cx) / camera.fx
    top, bottom = (-0.5 - camera.cy) / camera.fy, (size[0] - 0.5 - camera.cy) / camera.fy
    x, y = np.array([-610.0593, 631.9407]), np.array([-173.354, 201.646])  # KITTI's, in pixels
    np.testing.assert_allclose((left, right, top, bottom), (*x / 721.5377, *y / 721.5377))


def test_a_window_shows_the_same_directions():
    row, column = 7.0, 31.0
    direction = np.linalg.solve(SMALL.matrix(), [column, row, 1.0])
    pixel = window_matrix(SMALL, (3, 20)) @ direction
    np.testing.assert_allclose(pixel, [column - 20, row - 3, 1.0], atol=1e-4)


def test_points_are_projected_to_the_nearest_pixel():
    points = np.random.default_rng(0).uniform([-8, -2, -5], [8, 3, 40], (500, 3))
    found, depth = project(jnp.array(points.T, jnp.float32), SMALL, (24, 80), (20, 50))
    np.testing.assert_allclose(depth, points[:, 2], rtol=1e-6)
    expected = []
    for x, y, z in points:
        u, v = round(SMALL.fx * x / z + SMALL.cx) - 50, round(SMALL.fy * y / z + SMALL.cy) - 20
        seen = z > 0.1 and 0 <= u < 80 and 0 <= v < 24
        expected.append(80 * v + u if seen else 24 * 80)
    assert np.mean(found == np.array(expected)) > 0.99
    assert np.mean(found < 24 * 80) > 0.1


def test_the_default_window_is_the_whole_image():
    assert check_window(SMALL, None) == (48, 160)
    assert check_window(SMALL, (24, 60)) == (24, 60)


@pytest.mark.parametrize("window", [(49, 160), (48, 161), (0, 4)])
def test_windows_that_do_not_fit_are_refused(window):
    with pytest.raises(ValueError, match=f"window of {window[0]}x{window[1]} pixels .* 48x160"):
        check_window(SMALL, window)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "got height 0, width 1242"),
        ({"width": -3}, "got height 375, width -3"),
        ({"fx": 0.0}, "got fx 0.0, fy 721.5377"),
        ({"fy": float("nan")}, "got fx 721.5377, fy nan"),
        ({"cx": float("inf")}, r"got \(inf, 172.854\)"),
    ],
)
def test_invalid_cameras_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Camera(**changes)
