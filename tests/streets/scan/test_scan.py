"""Laser scans of hand-made scenes, whose ranges are known in closed form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, Lidar, spinning, thinned
from fcfrnet_jax.streets.scan.echoes import scan, sparse_map
from fcfrnet_jax.streets.scene.solids import CAR, FOLIAGE, GROUND, PLAIN, WALL, join, solids
from fcfrnet_jax.streets.scene.street import make_street

SIZE = (94, 311)
CAMERA = KITTI.scaled(*SIZE)
HEIGHT = 0.2
NO_FAULTS = {"range_noise": 0.0, "elevation_error": 0.0, "sensitivity": 1e6}
# All beams of these start at one point, so that angles tell them.
EXACT = dataclasses.replace(thinned(HDL64, 0.5), heights=(HEIGHT,) * 32, **NO_FAULTS)
FAULTY = dataclasses.replace(EXACT, range_noise=0.05, sensitivity=60.0, reach=50.0)
STREET = jax.jit(make_street)(jax.random.key(0))
GROUND_BOX = solids((0.0, 5.0, 0.0), (500.0, 5.0, 500.0), 0.9, GROUND)
NOTHING = solids((0.0, 0.0, 0.0), (0.1, 0.1, 0.1), 0.5, PLAIN, present=False)


def wall(depth, material=WALL, colour=0.9):
    """A wall of 100 x 100 m at so many metres."""
    return solids((0.0, 0.0, depth + 1.0), (50.0, 50.0, 1.0), colour, material)


def scene(wall, box=NOTHING):
    """The ground, a wall and a box, seen from 1.65 m above the ground, straight ahead."""
    return STREET._replace(
        boxes=join(GROUND_BOX, wall, box),
        ellipsoids=NOTHING,
        cylinders=NOTHING,
        lean=jnp.zeros((0, 2)),
        camera=jnp.array([0.0, -1.65, 0.0]),
        rotation=jnp.eye(3),
    )


SCAN = jax.jit(scan, static_argnums=(2, 3, 4))


def points_of(street, lidar=EXACT, seed=0):
    """The echoes, float64 `[N, 3]` in the camera's frame."""
    found = np.asarray(SCAN(jax.random.key(seed), street, lidar, CAMERA, SIZE, (0, 0)), float).T
    return found[np.isfinite(found).all(axis=1)]


def from_scanner(points, lidar=EXACT):
    """The same points in a frame of the scanner's axes about the point where its beams start."""
    turn = lidar.rotation()
    return (points - lidar.position + HEIGHT * turn[:, 1]) @ turn


def angles_of(points, lidar=EXACT):
    """Azimuth and elevation in degrees."""
    x, y, z = from_scanner(points, lidar).T
    return np.degrees(np.arctan2(x, z)), np.degrees(np.arctan2(-y, np.hypot(x, z)))


def test_echoes_lie_on_the_solids():
    points = points_of(scene(wall(20.0)))
    on_wall = np.abs(points[:, 2] - 20.0) < 1e-3
    on_ground = np.abs(points[:, 1] - 1.65) < 1e-3
    # A few mix the wall and the ground at its foot.
    assert (on_wall | on_ground).mean() > 0.97
    assert min(on_wall.sum(), on_ground.sum()) > 200


def test_echoes_come_from_the_beams():
    azimuth, elevation = angles_of(points_of(scene(wall(20.0))))
    distances = np.abs(elevation[:, None] - np.array(EXACT.elevations)).min(axis=1)
    assert distances.max() < 1e-3
    for beam in EXACT.elevations[1:9]:
        steps = np.diff(np.sort(azimuth[np.abs(elevation - beam) < 1e-3])) / EXACT.encoder_step
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-2)
        assert steps.min() == pytest.approx(1.0, abs=1e-2)
        assert np.median(steps) == pytest.approx(2.0, abs=1e-2)


def test_kitti_s_mount(kitti_real):
    lines = {}
    for name in ("calib_cam_to_cam", "calib_velo_to_cam"):
        path = kitti_real / "raw/2011_09_26" / f"{name}.txt"
        lines |= dict(line.split(":", 1) for line in path.read_text().splitlines())
    rectify, rotation, offset, projection = (
        np.array(lines[name].split(), float) for name in ("R_rect_00", "R", "T", "P_rect_02")
    )
    projection = projection.reshape(3, 4)
    baseline = np.linalg.solve(projection[:, :3], projection[:, 3])
    position = rectify.reshape(3, 3) @ offset + baseline
    np.testing.assert_allclose(HDL64.position, position, atol=0.01)
    # KITTI's scanner frame is x forward, y left, z up.
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    turn = rectify.reshape(3, 3) @ rotation.reshape(3, 3) @ axes
    np.testing.assert_allclose(HDL64.rotation(), turn, atol=0.002)


def test_beams_are_those_of_a_real_scan(kitti_real):
    path = next(kitti_real.glob("raw/*/*/velodyne_points/data/*.bin"))
    x, y, z = np.fromfile(path, np.float32).reshape(-1, 4)[:, :3].T
    azimuth = np.arctan2(y, x) % (2 * np.pi)
    ring = np.cumsum(np.diff(azimuth, prepend=0.0) < -np.pi)
    # The beam whose line each point of a ring lies on.
    level = np.hypot(x, y)
    for beam in range(0, 64, 9):
        slope = np.tan(np.radians(HDL64.elevations[beam]))
        miss = np.median(z[ring == beam] - HDL64.heights[beam] - slope * level[ring == beam])
        # A fifth of a degree at the median distance, of a beam spacing of 0.34 to 0.51.
        assert abs(miss) < 0.0035 * np.median(level[ring == beam])


def test_scanner_sees_what_is_hidden_from_the_camera():
    # A box 1 m high at 8 m; the scanner, higher up, sees more of the ground behind it.
    box = solids((0.0, -0.5, 8.5), (2.0, 0.5, 0.5), 0.9, WALL)
    points = points_of(scene(wall(30.0), box))
    # Where the camera's rays to them pass the plane of the box's front.
    x, y, _ = (8.0 * points / points[:, 2:]).T
    hidden = (points[:, 2] > 9.1) & (np.abs(x) < 2.0) & (y > 0.65) & (y < 1.65)
    assert hidden.sum() > 20
    # Not further below its edge than the scanner is above the camera; a few echoes are mixed.
    assert np.quantile(y[hidden], 0.9) < 0.65 + 0.3


def test_nearest_point_of_a_pixel_stays():
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


def sparse(size, corner):
    points = SCAN(jax.random.key(1), scene(wall(25.0)), EXACT, CAMERA, size, corner)
    return np.asarray(sparse_map(points, CAMERA, size, corner))


@settings(max_examples=25, deadline=None)
@given(top=st.integers(0, SIZE[0] - 24), left=st.integers(0, SIZE[1] - 80))
def test_a_window_is_scanned_like_the_whole(top, left):
    part = sparse((24, 80), (top, left))
    whole = sparse(SIZE, (0, 0))[top : top + 24, left : left + 80]
    both = (part > 0) & (whole > 0)
    assert np.isclose(part[both], whole[both], rtol=1e-4).mean() > 0.95 if both.any() else True
    # Losses are drawn anew, and a few per cent of the rays are lost in either.
    assert both.sum() >= 0.8 * max((whole > 0).sum(), (part > 0).sum())


def test_more_is_lost_further_away():
    shares = []
    for depth in (15.0, 30.0, 45.0):
        whole, faulty = (
            (np.abs(points_of(scene(wall(depth, colour=0.5)), lidar)[:, 2] - depth) < 0.3).sum()
            for lidar in (EXACT, FAULTY)
        )
        shares.append(faulty / whole)
    assert shares[0] > 1.05 * shares[1] > 1.1 * shares[2]


def test_nothing_comes_from_beyond_the_reach():
    near, far = (from_scanner(points_of(scene(wall(z)), FAULTY)) for z in (45.0, 60.0))
    assert 45.0 < np.linalg.norm(near, axis=1).max() <= FAULTY.reach
    assert 20.0 < np.linalg.norm(far, axis=1).max() <= FAULTY.reach


def test_dark_paint_loses_more_than_bright():
    dark, bright = (
        (points_of(scene(wall(12.0, CAR, colour)))[:, 2] > 11.5).sum() for colour in (0.03, 0.8)
    )
    assert 0.2 * bright < dark < 0.7 * bright


def test_crowns_throw_echoes_back_from_inside_and_let_some_through():
    crown = solids((0, -3.0, 11.0), (3.0, 4.0, 1.0), 0.2, FOLIAGE)
    points = points_of(scene(wall(30.0), crown))
    within = np.abs(points[:, 0] / points[:, 2]) < 2.5 / 12.0
    depths = points[within & (points[:, 1] < 0.9), 2]
    leaves = depths[depths < 15.0]
    assert np.median(leaves) == pytest.approx(10.0, abs=0.1)
    assert 0.15 < leaves.std() < 0.6
    assert 0.03 < (depths > 25.0).mean() < 0.2


def test_ranges_have_the_noise_asked_for():
    points = points_of(scene(wall(20.0)), FAULTY)
    on_wall = from_scanner(points[(np.abs(points[:, 2] - 20.0) < 0.4) & (points[:, 1] < 1.2)])
    # The wall's plane and the ray, both in the scanner's frame.
    normal = EXACT.rotation()[2]
    distance = 20.0 - EXACT.position[2] + HEIGHT * EXACT.rotation()[2, 1]
    ranges = np.linalg.norm(on_wall, axis=1)
    exact = distance * ranges / (on_wall @ normal)
    assert (ranges - exact).std() == pytest.approx(FAULTY.range_noise, rel=0.15)


def test_fewer_beams_give_fewer_rows():
    lidar = dataclasses.replace(spinning(16), heights=(HEIGHT,) * 16, **NO_FAULTS)
    rows = []
    for scanner, spacing in ((EXACT, 0.5), (lidar, 2.0)):
        _, elevation = angles_of(points_of(scene(wall(20.0)), scanner), scanner)
        rows.append(1 + (np.diff(np.sort(elevation)) > 0.9 * spacing).sum())
    # Those of 16 beams lie between 15 degrees and -15, more or less what the picture shows.
    assert 14 <= rows[1] <= 16
    assert 20 < rows[0] <= 32


def test_a_thinned_scanner_covers_a_small_picture_as_densely():
    lidar = thinned(HDL64, 0.25)
    points = SCAN(jax.random.key(0), scene(wall(12.0)), lidar, CAMERA, SIZE, (0, 0))
    found = (np.asarray(sparse_map(points, CAMERA, SIZE, (0, 0))) > 0)[42:64].mean()
    # One echo to so many pixels of KITTI's picture, on a wall seen by the upper 32 beams.
    along = np.arctan((np.arange(1242) - KITTI.cx) / KITTI.fx)
    rows = np.radians(10.66 / 31) * KITTI.fy / np.cos(along)
    columns = np.radians(HDL64.azimuth_step) * KITTI.fx / np.cos(along) ** 2
    # Few are lost, and few share a pixel; five rows of echoes lie in these 22 rows of pixels.
    assert 0.85 < found / (1.0 / (rows * columns)).mean() < 1.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elevations": (), "heights": ()}, "got 0 elevations and 0 heights"),
        ({"heights": (0.0,)}, "got 64 elevations and 1 heights"),
        ({"elevations": (0.0,) * 64}, "elevations should descend"),
        ({"reach": 0.0}, "reach should be positive, got 0.0"),
        ({"azimuth_step": float("nan")}, "azimuth_step should be positive, got nan"),
        ({"range_noise": -0.1}, "range_noise should be at least 0, got -0.1"),
    ],
)
def test_impossible_scanners(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HDL64, **changes)


def test_other_scanners_are_refused():
    with pytest.raises(ValueError, match="got 20"):
        spinning(20)
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match=f"got {share}"):
            thinned(Lidar((1.0,), (0.0,)), share)
