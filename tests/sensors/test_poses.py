"""Poses of files against rotations of SciPy and a path on a sphere."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fcfrnet_jax.sensors.poses import read_poses, read_unit_poses


def test_poses_of_a_file_are_matrices(tmp_path):
    path = tmp_path / "00.txt"
    rotation = Rotation.from_rotvec([0.1, -0.7, 0.3]).as_matrix()
    rows = np.concatenate([rotation, [[4.0], [5.0], [6.0]]], axis=1)
    line = " ".join(map(str, rows.ravel()))
    path.write_bytes(f"\ufeff1 0 0 0 0 1 0 0 0 0 1 0\r\n\r\n{line} # last\r\n".encode())
    first, second = read_poses(path)
    np.testing.assert_array_equal(first, np.eye(4))
    np.testing.assert_allclose(second @ [1, 2, 3, 1], [*(rotation @ [1, 2, 3] + [4, 5, 6]), 1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 0 0 1 0 0 0 0 1 0\n1 2 3\n", "line 2 must be a pose of 12 numbers, .* got 3"),
        ("2 0 0 0 0 1 0 0 0 0 1 0\n", "line 1: the rotation of the pose must be a rotation"),
        ("# nothing\n", "holds no poses"),
    ],
)
def test_damaged_files_of_poses_are_refused(text, message, tmp_path):
    path = tmp_path / "poses.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        read_poses(path)
    with pytest.raises(ValueError, match=r"no\.txt: cannot be read: No such file"):
        read_poses(tmp_path / "no.txt")


def test_poses_of_the_gps_and_imu_unit(tmp_path):
    # 0.0001 degrees to the north and east at 49 degrees, on a sphere of KITTI's radius.
    places = [(49.0, 8.0, 110.0), (49.0001, 8.0, 110.5), (49.0, 8.0001, 110.0)]
    angles = [(0.0, 0.0, 0.0), (0.02, -0.03, 1.2), (0.0, 0.0, 0.0)]
    paths = [tmp_path / f"{i}.txt" for i in range(3)]
    for path, place, angle in zip(paths, places, angles, strict=True):
        path.write_text(" ".join(map(str, [*place, *angle, *[0.0] * 24])))
    # The scanner is 2 m before the unit.
    calibration = tmp_path / "calib_imu_to_velo.txt"
    calibration.write_text("R: 1 0 0 0 1 0 0 0 1\nT: -2 0 0\n")
    first, north, east = read_unit_poses(paths, calibration)
    np.testing.assert_allclose(first[:3, 3], [2, 0, 0], atol=1e-9)
    # Roll, pitch and yaw are rotations about the fixed axes x, y and z, in this order.
    turn = Rotation.from_euler("xyz", angles[1]).as_matrix()
    np.testing.assert_allclose(north[:3, :3], turn, atol=1e-12)
    metre = np.radians(0.0001) * 6378137
    # Mercator's scale at the second latitude differs by a millionth.
    np.testing.assert_allclose(north[:3, 3] - turn @ [2, 0, 0], [0, metre, 0.5], atol=1e-4)
    along = metre * np.cos(np.radians(49))
    np.testing.assert_allclose(east[:3, 3] - [2, 0, 0], [along, 0, 0], atol=1e-6)
