"""Projected scans against loops in float64, and against KITTI's own sparse depth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fcfrnet_jax
from benchmarks import projection as benchmark
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.sensors.calibration import Calibration, read_calibration
from fcfrnet_jax.sensors.motion import azimuth_times
from fcfrnet_jax.sensors.projection import (
    count_sides,
    looks_inverted,
    project,
    unproject,
    without_hidden,
)
from fcfrnet_jax.sensors.scans import Scan, read_scan
from fcfrnet_jax.sensors.undistortion import undistort
from tests.sensors.rigs import ROTATION, SIZE, K, rig, scan

OFFSET = np.array([0.1, -0.5, -0.2])


def sides_of(points):
    """The pixel and the depth of each point that is seen, and the counts of the others."""
    pixels, sides = [], dict.fromkeys(("inside", "behind", "left", "right", "above", "below"), 0)
    for point in points.astype(np.float64):
        x, y, z = ROTATION @ point + OFFSET
        u, v = (round(K[i, i] * w / z + K[i, 2]) for i, w in ((0, x), (1, y)))
        if z <= 0.1:
            sides["behind"] += 1
        elif u < 0 or u >= SIZE[1]:
            sides["left" if u < 0 else "right"] += 1
        elif v < 0 or v >= SIZE[0]:
            sides["above" if v < 0 else "below"] += 1
        else:
            sides["inside"] += 1
            pixels.append((v, u, z))
    return pixels, sides


@given(seed=st.integers(0, 10**6), count=st.integers(1, 300))
@settings(max_examples=20)
def test_the_nearest_point_of_each_pixel_is_kept(seed, count):
    points = np.random.default_rng(seed).uniform([-3, -9, -6], [12, 9, 6], (count, 3))
    points = np.concatenate([[[5.0, 0, 0]], points]).astype(np.float32)
    expected = np.zeros(SIZE)
    pixels, sides = sides_of(points)
    for row, column, depth in pixels:
        if not 0 < expected[row, column] <= depth:
            expected[row, column] = depth
    found = project(points, rig(OFFSET), remove_hidden=False)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert count_sides(points, rig(OFFSET), SIZE) == sides


def test_a_baseline_and_further_columns_and_missing_points():
    projection = np.array([[80.0, 0, 50, 16], [0, 80, 30, 8], [0, 0, 1, 0.01]])
    calibration = Calibration(projection, np.eye(4), (60, 100))
    # (80 x + 50 z + 16, 80 y + 30 z + 8, z + 0.01)
    points = np.array([[1, 0.5, 4, 99], [np.nan, 0, 4, 99], [0, 0, np.inf, 99]])
    depth = project(points, calibration)
    row, column = np.nonzero(depth)
    assert (row.tolist(), column.tolist()) == ([round(168 / 4.01)], [round(296 / 4.01)])
    np.testing.assert_allclose(depth[row, column], 4.01)


def test_projection_of_the_public_api():
    points, _ = scan()
    depth = fcfrnet_jax.project(Scan(points.astype(np.float32)), rig())
    np.testing.assert_array_equal(depth, project(points.astype(np.float32), rig()))


def test_pixels_are_projected_back_to_the_centres():
    depth = np.zeros(SIZE, np.float32)
    depth[[3, 9, 50], [0, 99, 20]] = [2.5, 40, 7.25]
    points = unproject(depth, rig(OFFSET))
    np.testing.assert_allclose(project(points, rig(OFFSET)), depth, rtol=1e-6)


def test_hidden_points_are_removed_from_sparse_depth():
    points, visible = scan()
    raw, kept = project(points, rig(), remove_hidden=False), project(points, rig())
    assert 20 < (raw > 0).sum() - (kept > 0).sum() < 2 * (~visible).sum()
    # Points that share a pixel with a nearer one are missing in sparse depth.
    assert np.mean(without_hidden(raw, rig()) == kept) > 0.999


def test_a_scan_outside_the_image_is_explained():
    points, _ = scan()
    camera = rig(OFFSET)
    inverse = Calibration(camera.projection, np.linalg.inv(camera.camera_from_lidar), SIZE)
    inside = count_sides(points, camera, SIZE)["inside"]
    hint = f"with the inverse of T_cam_lidar, {inside} would: .* so invert it"
    with pytest.raises(ValueError, match=f"none of the {len(points)} points falls .* {hint}"):
        project(points, inverse)
    match = r"image of 180x300 \(2 behind, 1 left, 0 right, 0 above, 0 below\); .*, 0 would; check"
    with pytest.raises(ValueError, match=match):
        project(np.array([[-50.0, 0, 0], [-9, 50, 0], [1, 90, 0]]), camera)
    other = Calibration(np.diag([9.0, 9, 1]) @ camera.projection, camera.camera_from_lidar, SIZE)
    with pytest.raises(
        ValueError, match=r"the principal point \(1350, 810\) is outside of the image"
    ):
        project(np.array([[50.0, 0, 0]]), other)


@pytest.mark.parametrize(
    ("points", "known", "size", "fault"),
    [
        (np.ones((3, 2)), SIZE, None, r"points must be \[N, 3\] or wider, got shape \[3, 2\]"),
        (np.ones((0, 3)), SIZE, None, "the scan is empty"),
        (
            np.ones((1, 3), complex),
            SIZE,
            None,
            "integers or floating-.* got complex128",
        ),
        (np.full((2, 3), np.nan), SIZE, None, "all 2 points are NaN or infinite"),
        (np.ones((1, 3)), None, None, "does not contain the size of the image; set size"),
        (np.ones((1, 3)), SIZE, (9, 9), "is for images of 180x300, got size 9x9"),
        (np.ones((1, 3)), None, (0, 9), "at least 1x1 pixels"),
        (np.ones((1, 3)), SIZE, (*SIZE, 3), r"got \(180, 300, 3\); give image.shape\[:2\]"),
    ],
)
def test_wrong_arguments_are_refused(points, known, size, fault):
    with pytest.raises(ValueError, match=fault):
        project(points, rig(size=known), size)


@pytest.mark.parametrize(
    "use", [lambda c: project(np.ones((1, 3)), c), lambda c: undistort(np.ones((9, 9)), c)]
)
def test_the_path_of_a_calibration_is_not_its_content(use):
    with pytest.raises(TypeError, match=r"must be a Calibration, as read_calibration .*, got str"):
        use("rig.json")


@pytest.mark.parametrize(
    ("folder", "inside"), [("nuscenes_32", (3060, (900, 1600))), ("vlp16", (3003, (720, 1280)))]
)
def test_real_scans_fall_into_their_images(folder, inside, real_sensors):
    (path,) = (real_sensors / folder).glob("scan.*")
    calibration = read_calibration(real_sensors / folder / "calibration.json")
    points = read_scan(path).points
    assert count_sides(points, calibration, inside[1])["inside"] == inside[0]


@pytest.mark.slow
def test_the_official_sparse_depth_is_that_of_the_moving_scanner(real_sensors):
    folder = real_sensors / "kitti_official"
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    cameras = [
        benchmark.Camera(
            read_calibration(folder / "raw" / "2011_09_26", camera=camera),
            read_depth(
                folder / "train" / drive[11:] / "proj_depth" / "velodyne_raw"
                / f"image_{camera}" / "0000000005.png"
            ),
        )
        for camera in ("02", "03")
    ]  # fmt: skip
    scan = read_scan(folder / "raw" / drive / "velodyne_points" / "data" / "0000000005.bin")
    points = benchmark.in_front(scan.points)
    turns = azimuth_times(points, period=1.0)
    assert max(benchmark.agreement(cameras, points)) < 0.03
    constant, motion = benchmark.fit_motion(cameras, points, turns)
    assert min(benchmark.agreement(cameras, benchmark.move(points, turns, constant))) > 0.96
    assert min(benchmark.agreement(cameras, benchmark.move(points, turns, motion))) > 0.99


def inverse(calibration):
    matrix = np.linalg.inv(calibration.camera_from_lidar)
    return Calibration(calibration.projection, matrix, calibration.size)


def test_an_inverted_mount_of_a_scanner_that_sees_all_around_is_found():
    random = np.random.default_rng(0)
    azimuth, distance = random.uniform(-np.pi, np.pi, 2000), random.uniform(3, 40, 2000)
    height = random.uniform(-2, 2, 2000)
    points = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), height], axis=1)
    assert looks_inverted(points, inverse(rig(OFFSET)))
    assert not looks_inverted(points, rig(OFFSET))
    # Some points fall into the image nevertheless.
    assert project(points, inverse(rig(OFFSET)), remove_hidden=False).any()


def test_the_mount_of_a_scan_without_a_level_is_not_judged():
    points = np.random.default_rng(0).uniform(-9, 9, (500, 3))
    assert not looks_inverted(points, rig(OFFSET))
    assert not looks_inverted(points, inverse(rig(OFFSET)))
    assert not looks_inverted(np.full((3, 3), np.nan), rig(OFFSET))
