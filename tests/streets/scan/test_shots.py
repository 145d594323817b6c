"""The shots of a scanner, whose echoes on a plane are known in closed form."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, spinning, thinned
from fcfrnet_jax.streets.scan.echoes import sparse_map
from fcfrnet_jax.streets.scan.shots import window_rays

SIZE = (94, 311)
CAMERA = KITTI.scaled(*SIZE)
EXACT = replace(thinned(HDL64, 0.5), elevation_error=0.0)


@partial(jax.jit, static_argnames=("lidar", "window"))
def shots_of(lidar, window=SIZE, corner=(0, 0)):
    return window_rays(jax.random.key(1), lidar, CAMERA, window, corner)


@partial(jax.jit, static_argnames=("lidar", "window"))
def points_on_a_wall(lidar, depth, window=SIZE, corner=(0, 0)):
    """The points `[3, N]` at which the shots hit the plane at a depth, in the camera's frame."""
    height, direction = shots_of(lidar, window, corner)
    turn = jnp.asarray(lidar.rotation())
    up = jnp.broadcast_to(height, direction.shape[1:]).ravel()
    origin = jnp.array(lidar.position)[:, None] - turn[:, 1:2] * up
    ahead = jnp.matmul(turn, direction.reshape(3, -1), precision="highest")
    return origin + (depth - origin[2]) / ahead[2] * ahead


@partial(jax.jit, static_argnames=("lidar", "window"))
def wall_map(lidar, depth, window=SIZE, corner=(0, 0)):
    points = points_on_a_wall(lidar, depth, window, corner)
    return sparse_map(points, CAMERA, window, corner)


def angles_of(direction):
    """Azimuth and elevation `[B, A]` in degrees."""
    x, y, z = np.float64(direction)
    return np.degrees(np.arctan2(x, z)), np.degrees(np.arctan2(-y, np.hypot(x, z)))


def test_shots_have_the_elevations_of_the_beams():
    _, direction = shots_of(EXACT)
    _, elevation = angles_of(direction)
    first = np.argmin(np.abs(np.array(EXACT.elevations) - elevation[0, 0]))
    expected = np.array(EXACT.elevations)[first : first + len(elevation), None]
    np.testing.assert_allclose(elevation, np.broadcast_to(expected, elevation.shape), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(direction, axis=0), 1.0, rtol=1e-5)


def test_azimuths_are_multiples_of_the_encoder_step():
    azimuth, _ = angles_of(shots_of(EXACT).direction)
    steps = np.diff(azimuth, axis=1) / EXACT.encoder_step
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-2)
    assert steps.min() == pytest.approx(1.0, abs=1e-2)
    assert steps.mean() == pytest.approx(EXACT.azimuth_step / EXACT.encoder_step, rel=0.01)


def test_elevations_have_the_requested_error():
    lidar = replace(EXACT, elevation_error=0.1)
    _, elevation = angles_of(shots_of(lidar).direction)
    errors = np.abs(elevation[:, :1] - np.array(lidar.elevations)).min(axis=1)
    assert 0.04 < errors.mean() < 0.13


@settings(max_examples=25, deadline=None)
@given(top=st.integers(0, SIZE[0] - 24), left=st.integers(0, SIZE[1] - 80))
def test_the_shots_of_a_window_are_those_of_the_whole_image(top, left):
    part = wall_map(HDL64, 25.0, (24, 80), (top, left))
    whole = np.asarray(wall_map(HDL64, 25.0))[top : top + 24, left : left + 80]
    # Rounding may move a point across the border of a pixel.
    assert np.isclose(part, whole, rtol=1e-4).mean() > 0.99


def test_scanners_with_fewer_beams_give_fewer_rows():
    rows = []
    for lidar in (EXACT, replace(spinning(16), elevation_error=0.0)):
        points = np.asarray(points_on_a_wall(lidar, 20.0))
        pixel_rows = CAMERA.fy * points[1] / points[2] + CAMERA.cy
        visible = (pixel_rows > 0) & (pixel_rows < SIZE[0])
        beams = shots_of(lidar).direction.shape[1]
        rows.append(visible.reshape(beams, -1).any(axis=1).sum())
    # The 16 beams are between 15 and -15 degrees, about what the image shows.
    assert 14 <= rows[1] <= 16
    assert 20 < rows[0] <= 32


def test_a_thinned_scanner_covers_small_images_equally_densely():
    found = float((wall_map(thinned(HDL64, 0.25), 12.0) > 0)[42:64].mean())
    # The area in pixels of KITTI's image per point, on a wall hit by the upper 32 beams.
    along = np.arctan((np.arange(1242) - KITTI.cx) / KITTI.fx)
    rows = np.radians(10.66 / 31) * KITTI.fy / np.cos(along)
    columns = np.radians(HDL64.azimuth_step) * KITTI.fx / np.cos(along) ** 2
    # Few points share a pixel; five rows of points lie in these 22 rows of pixels.
    assert 0.85 < found / (1.0 / (rows * columns)).mean() < 1.1
