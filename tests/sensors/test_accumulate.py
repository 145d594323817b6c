"""Accumulated scans of a moving scanner, against the exact depth of a scene that moves."""

import numpy as np
import pytest

from fcfrnet_jax.sensors.accumulate import accumulate
from tests.sensors.rigs import ROTATION, SIZE, K, rig

OFFSET = np.array([0.0, -0.5, -0.2])
# In the frame of the middle camera, in metres: depth, left, right, top, bottom, and the motion to
# the right from scan to scan. The first is the wall.
PLATES = [
    (20.0, -99, 99, -99, 99, 0.0),
    (8.0, -2.5, -1, -0.5, 2, 0.0),
    (11.0, 0, 1.5, -0.5, 2, 0.6),
]
MIDDLE, COUNT, STEP = 3, 7, 0.3


def cast(start, rays, time):
    """The depths along z at which rays `[N, 3]` meet the scene at a time, from `start`."""
    depth = np.full(len(rays), np.inf)
    for z, left, right, top, bottom, speed in PLATES:
        x, y, _ = (start + (z - start[2]) / rays[:, 2:] * rays).T - np.array(
            [[speed * time], [0], [0]]
        )
        hit = (x > left) & (x < right) & (y > top) & (y < bottom)
        depth[hit & (z < depth)] = z
    return depth


@pytest.fixture(scope="module")
def drive():
    """Scans and poses of a scanner that moves forward, and the exact depth of the middle image."""
    azimuth, elevation = np.meshgrid(np.arange(-32, 32, 0.5), np.arange(-21, 21, 1.5))
    azimuth, elevation = np.radians(azimuth.ravel()), np.radians(elevation.ravel())
    level = np.cos(elevation)
    scans, poses = [], []
    for time in range(-MIDDLE, COUNT - MIDDLE):
        # The scanner sways, so that its beams are not in the same place again.
        beams = elevation + 0.004 * time
        rays = np.stack([-level * np.sin(azimuth), -np.sin(beams), level * np.cos(azimuth)], 1)
        start = OFFSET + np.array([0, 0, STEP * time])
        points = ((cast(start, rays, time) - start[2]) / rays[:, 2])[:, None] * rays
        scans.append(points @ ROTATION)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = ROTATION, start
        poses.append(pose)
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack([column, row, np.ones(SIZE)], -1).reshape(-1, 3) @ np.linalg.inv(K).T
    return scans, poses, cast(np.zeros(3), rays, 0).reshape(SIZE)


@pytest.fixture(scope="module")
def filtered(drive):
    scans, poses, _ = drive
    return accumulate(scans, poses, rig(OFFSET))


def wrong(depth, exact):
    return (np.abs(depth - exact) > 0.2)[depth > 0].mean()


def test_what_is_static_and_visible_is_accumulated(drive, filtered):
    scans, _, exact = drive
    one = accumulate(scans[MIDDLE : MIDDLE + 1], [np.eye(4)], rig(OFFSET))
    assert (filtered.depth > 0).sum() > 2.5 * (one.depth > 0).sum()
    assert wrong(filtered.depth, exact) < 0.01
    # The pixels of the image's own scan keep its depth, except where another scan shows that the
    # camera does not see the point.
    assert np.mean((filtered.depth == one.depth)[one.depth > 0]) > 0.98


@pytest.mark.parametrize("left_out", ["remove_moved", "remove_hidden"])
def test_each_filter_removes_wrong_depth(left_out, drive, filtered):
    scans, poses, exact = drive
    other = accumulate(scans, poses, rig(OFFSET), **{left_out: False})
    assert wrong(other.depth, exact) > 4 * wrong(filtered.depth, exact)
    assert getattr(other, left_out.removeprefix("remove_")) == 0
    assert getattr(filtered, left_out.removeprefix("remove_")) > 100
    assert filtered.points == other.points


def test_points_that_are_not_finite_are_ignored(drive, filtered):
    scans, poses, _ = drive
    more = [[np.nan] * 3, [np.inf] * 3, [np.inf, 1, 1], [1, 1, -np.inf]]
    found = accumulate([np.append(points, more, 0) for points in scans], poses, rig(OFFSET))
    np.testing.assert_array_equal(found.depth, filtered.depth)


def test_wrong_arguments_are_refused(drive):
    scans, poses, _ = drive
    for arguments, fault in (
        (([], []), "got 0 scans and 0 poses"),
        ((scans, poses[1:]), "got 7 scans and 6 poses"),
        ((scans, [*poses[1:], 2 * np.eye(4)]), "the rotation of pose 6 must be a rotation"),
    ):
        with pytest.raises(ValueError, match=fault):
            accumulate(*arguments, rig(OFFSET))
    with pytest.raises(ValueError, match="one of the 7 scans, got 7"):
        accumulate(scans, poses, rig(OFFSET), reference=7)
