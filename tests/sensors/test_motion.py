"""Compensated scans against the rotations of SciPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fcfrnet_jax.sensors.motion import (
    Motion,
    azimuth_times,
    compensate,
    motion_between,
    read_oxts,
)

VECTOR = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)
POINTS = np.array([[5.0, 2, -1], [-30, 4, 1], [0, -8, 0.5]])
TIMES = np.array([-0.05, 0.02, 0.05])


def rotation(vector):
    return Rotation.from_rotvec(vector).as_matrix()


@given(VECTOR, VECTOR)
@settings(max_examples=20)
def test_points_are_rotated_and_shifted(velocity, rate):
    expected = [
        rotation(rate * time) @ point + velocity * time
        for point, time in zip(POINTS, TIMES, strict=True)
    ]
    np.testing.assert_allclose(compensate(POINTS, TIMES, Motion(velocity, rate)), expected)


@given(VECTOR, VECTOR, VECTOR, st.floats(0.01, 1))
@settings(max_examples=30)
def test_the_motion_between_poses_leads_from_one_to_the_other(velocity, rate, turn, seconds):
    first, step = np.eye(4), np.eye(4)
    first[:3, :3], first[:3, 3] = rotation(turn), (4, 5, 6)
    step[:3, :3], step[:3, 3] = rotation(rate * seconds), velocity * seconds
    motion = motion_between(first, first @ step, seconds)
    np.testing.assert_allclose(motion.velocity, velocity, atol=1e-9)
    # The angle is less than half a turn, so that it is unique.
    if np.linalg.norm(rate) * seconds < 3.1:
        np.testing.assert_allclose(motion.rotation_rate, rate, atol=1e-6)


def test_times_from_the_azimuth():
    # Forward, left, right, and just left and right of backward.
    points = np.array([[1.0, 0, 0], [0, 1, 0], [0, -1, 0], [-1, 1e-6, 0], [-1, -1e-6, 0]])
    expected = np.array([0, -0.025, 0.025, -0.05, 0.05])
    np.testing.assert_allclose(azimuth_times(points), expected, atol=1e-6)
    counter = azimuth_times(points, clockwise=False, period=0.2)
    np.testing.assert_allclose(counter, -2 * expected, atol=1e-6)
    # With the image at the left, forward is a quarter of a turn later.
    np.testing.assert_allclose(azimuth_times(points[:2], front=np.pi / 2), [0.025, 0], atol=1e-9)


def test_oxts_are_moved_to_the_scanner(tmp_path):
    values = np.zeros(30)
    values[8:11], values[17:20] = (10, 0, 0), (0, 0, 0.5)
    path = tmp_path / "drive" / "oxts" / "data" / "0000000005.txt"
    path.parent.mkdir(parents=True)
    path.write_text(" ".join(map(str, values)) + "\r\n")
    # The scanner is 2 m before the unit and rotated by a quarter of a turn about z.
    (tmp_path / "calib_imu_to_velo.txt").write_text("R: 0 1 0 -1 0 0 0 0 1\nT: 0 2 0\n")
    motion = read_oxts(path)
    # In the unit's frame, a point 2 m before it moves at (10, 1, 0) m/s.
    np.testing.assert_allclose(motion.velocity, [1, -10, 0])
    np.testing.assert_allclose(motion.rotation_rate, [0, 0, 0.5])
    # On a slope, the velocity is parallel to the ground and the unit is not.
    values[3:5], values[10] = (0.1, -0.2), 0.3
    path.write_text(" ".join(map(str, values)))
    tilt = Rotation.from_euler("xyz", [0.1, -0.2, 0])
    x, y, z = tilt.inv().apply([10, 0, 0.3]) + np.array([0, 1, 0])
    np.testing.assert_allclose(read_oxts(path).velocity, [y, -x, z])
    path.write_text("1 2 3")
    with pytest.raises(ValueError, match=f"{path}: a measurement .* must be 30 numbers, got 3"):
        read_oxts(path)
    with pytest.raises(ValueError, match=f"{path.parent}/no.txt: cannot be read: No such file"):
        read_oxts(path.parent / "no.txt")
    with pytest.raises(ValueError, match=r"calib_imu_to_velo\.txt: there is no such file"):
        read_oxts("/no.txt")


def test_wrong_arguments_are_refused():
    with pytest.raises(
        ValueError, match=r"points \[N, 3\] and times \[N\], got \[3, 3\] and \[2\]"
    ):
        compensate(POINTS, TIMES[:2], Motion(np.zeros(3), np.zeros(3)))
    with pytest.raises(ValueError, match="velocity must be three finite numbers"):
        Motion(np.zeros(2), np.zeros(3))
    with pytest.raises(ValueError, match="the second pose must be a finite matrix"):
        motion_between(np.eye(4), np.eye(3), 0.1)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        motion_between(np.eye(4), np.eye(4), 0)
