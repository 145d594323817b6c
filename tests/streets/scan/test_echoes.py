"""Laser scans of simple scenes, whose ranges are known in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, thinned
from fcfrnet_jax.streets.scan.echoes import scan, share_returned, sparse_map
from fcfrnet_jax.streets.scene.solids import CAR, FOLIAGE, GROUND, PLAIN, WALL, join, solids
from tests.streets.conftest import pick

SIZE = (94, 311)
CAMERA = KITTI.scaled(*SIZE)
HEIGHT = 0.2
# All beams start at one point, so that angles identify them.
EXACT = dataclasses.replace(
    thinned(HDL64, 0.5),
    heights=(HEIGHT,) * 32,
    range_noise=0.0,
    elevation_error=0.0,
    sensitivity=1e6,
)
FAULTY = dataclasses.replace(EXACT, range_noise=0.05, sensitivity=60.0, reach=50.0)
GROUND_BOX = solids((0.0, 5.0, 0.0), (500.0, 5.0, 500.0), 0.9, GROUND)
NOTHING = solids((0.0, 0.0, 0.0), (0.1, 0.1, 0.1), 0.5, PLAIN, present=False)
SCAN = jax.jit(scan, static_argnums=(2, 3, 4))


def wall(depth, material=WALL, colour=0.9):
    """A wall of 100 x 100 m at a depth in metres."""
    return solids((0.0, 0.0, depth + 1.0), (50.0, 50.0, 1.0), colour, material)


@pytest.fixture
def points_of(streets):
    """Scans the ground, a wall and a box from 1.65 m above the ground, looking ahead."""

    def scan_scene(wall, box=NOTHING, lidar=EXACT):
        street = pick(streets, 0)._replace(
            boxes=join(GROUND_BOX, wall, box),
            ellipsoids=NOTHING,
            cylinders=NOTHING,
            lean=jnp.zeros((0, 2)),
            camera=jnp.array([0.0, -1.65, 0.0]),
            rotation=jnp.eye(3),
        )
        found = SCAN(jax.random.key(0), street, lidar, CAMERA, SIZE, (0, 0))
        points = np.asarray(found, float).T
        return points[np.isfinite(points).all(axis=1)]

    return scan_scene


def from_scanner(points, lidar=EXACT):
    """The points in a frame with the scanner's axes around the origin of its beams."""
    turn = lidar.rotation()
    return (points - lidar.position + HEIGHT * turn[:, 1]) @ turn


def test_echoes_are_on_the_solids(points_of):
    points = points_of(wall(20.0))
    on_wall = np.abs(points[:, 2] - 20.0) < 1e-3
    on_ground = np.abs(points[:, 1] - 1.65) < 1e-3
    # A few are mixtures of the wall and the ground at its foot.
    assert (on_wall | on_ground).mean() > 0.97
    assert min(on_wall.sum(), on_ground.sum()) > 200


def test_the_scanner_sees_points_that_are_hidden_from_the_camera(points_of):
    # A box 1 m high at 8 m; the scanner, higher up, sees more of the ground behind it.
    box = solids((0.0, -0.5, 8.5), (2.0, 0.5, 0.5), 0.9, WALL)
    points = points_of(wall(30.0), box)
    # Where the rays from the camera to them cross the front plane of the box.
    x, y, _ = (8.0 * points / points[:, 2:]).T
    hidden = (points[:, 2] > 9.1) & (np.abs(x) < 2.0) & (y > 0.65) & (y < 1.65)
    assert hidden.sum() > 20
    # At most as far below its edge as the scanner is above the camera; a few echoes are mixed.
    assert np.quantile(y[hidden], 0.9) < 0.65 + 0.3


def test_more_echoes_are_lost_at_a_distance(points_of):
    shares = []
    for depth in (15.0, 30.0, 45.0):
        whole, faulty = (
            (np.abs(points_of(wall(depth, colour=0.5), lidar=lidar)[:, 2] - depth) < 0.3).sum()
            for lidar in (EXACT, FAULTY)
        )
        shares.append(faulty / whole)
    assert shares[0] > 1.05 * shares[1] > 1.1 * shares[2]


def test_the_share_returned_follows_the_inverse_square_law():
    expected = 1.0 - np.exp(-0.3 * (0.8 + 0.05) * (FAULTY.sensitivity / 40.0) ** 2)
    found = share_returned(0.3, jnp.float32(0.8), jnp.float32(40.0), FAULTY)
    assert found == pytest.approx(expected, rel=1e-5)


def test_there_are_no_echoes_beyond_the_reach(points_of):
    near, far = (from_scanner(points_of(wall(z), lidar=FAULTY)) for z in (45.0, 60.0))
    assert 45.0 < np.linalg.norm(near, axis=1).max() <= FAULTY.reach
    assert 20.0 < np.linalg.norm(far, axis=1).max() <= FAULTY.reach


def test_dark_paint_loses_more_echoes_than_bright(points_of):
    dark, bright = (
        (points_of(wall(12.0, CAR, colour))[:, 2] > 11.5).sum() for colour in (0.03, 0.8)
    )
    assert 0.2 * bright < dark < 0.7 * bright


def test_crowns_have_echoes_from_inside_and_let_some_rays_through(points_of):
    crown = solids((0, -3.0, 11.0), (3.0, 4.0, 1.0), 0.2, FOLIAGE)
    points = points_of(wall(30.0), crown)
    within = np.abs(points[:, 0] / points[:, 2]) < 2.5 / 12.0
    depths = points[within & (points[:, 1] < 0.9), 2]
    leaves = depths[depths < 15.0]
    assert np.median(leaves) == pytest.approx(10.0, abs=0.1)
    assert 0.15 < leaves.std() < 0.6
    assert 0.03 < (depths > 25.0).mean() < 0.2


def test_ranges_have_the_requested_noise(points_of):
    points = points_of(wall(20.0), lidar=FAULTY)
    on_wall = from_scanner(points[(np.abs(points[:, 2] - 20.0) < 0.4) & (points[:, 1] < 1.2)])
    # The plane of the wall, in the scanner's frame.
    normal = EXACT.rotation()[2]
    distance = 20.0 - EXACT.position[2] + HEIGHT * EXACT.rotation()[2, 1]
    ranges = np.linalg.norm(on_wall, axis=1)
    exact = distance * ranges / (on_wall @ normal)
    assert (ranges - exact).std() == pytest.approx(FAULTY.range_noise, rel=0.15)


def test_the_nearest_point_of_a_pixel_is_kept():
    rng = np.random.default_rng(0)
    points = rng.uniform([-8, -2, -5], [8, 3, 40], (4000, 3))
    found = sparse_map(jnp.array(points.T, jnp.float32), CAMERA, SIZE, (0, 0))
    expected = np.full(SIZE, np.inf)
    for x, y, z in points[points[:, 2] > 0.1]:
        u, v = round(CAMERA.fx * x / z + CAMERA.cx), round(CAMERA.fy * y / z + CAMERA.cy)
        if 0 <= u < SIZE[1] and 0 <= v < SIZE[0]:
            expected[v, u] = min(expected[v, u], z)
    expected[np.isinf(expected)] = 0.0
    assert np.isclose(found, expected, rtol=1e-5).mean() > 0.9995


def test_missing_points_have_no_pixel():
    points = jnp.array([[jnp.inf, jnp.nan, 0.0], [0.0, 0.0, 0.0], [jnp.inf, 5.0, -5.0]])
    assert not sparse_map(points, CAMERA, SIZE, (0, 0)).any()
