"""Drives in the layout of KITTI's raw data and in folders of scans."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fcfrnet_jax.sensors import drives
from fcfrnet_jax.sensors.calibration.calibration import rigid

DRIVE = "2011_09_26_drive_0001_sync"


def write_scans(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        np.save(folder / name, np.ones((2, 3)))
    return folder


@pytest.fixture
def raw(tmp_path):
    drive = tmp_path / "raw" / "2011_09_26" / DRIVE
    write_scans(drive / "velodyne_points" / "data", ["0000000000", "0000000002"])
    unit = drive / "oxts" / "data" / "0000000002.txt"
    unit.parent.mkdir(parents=True)
    unit.write_text("0 " * 30)
    (tmp_path / "raw" / "2011_09_26" / "calib_imu_to_velo.txt").write_text(
        "R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n"
    )
    return drive


def test_a_drive_is_found_from_every_folder_above_it(raw, tmp_path):
    for root in (tmp_path, raw.parents[1], raw.parent, raw):
        (drive,) = drives.find_raw_drives(root)
        assert (drive.name, drive.date) == (DRIVE, raw.parent)
        assert [scan.stem for scan in drive.scans] == ["0000000000", "0000000002"]
        assert drive.units == (None, raw / "oxts" / "data" / "0000000002.txt")
    motions = drives.unit_motions(drive)
    assert motions[0] is None
    np.testing.assert_array_equal(motions[1].velocity, [0, 0, 0])
    with pytest.raises(ValueError, match=r"1 of 2 scans have no oxts/data/<frame>\.txt"):
        drives.drive_poses(drive)


def test_folders_of_scans_are_in_the_order_of_their_numbers(tmp_path):
    write_scans(tmp_path / "all" / "b", ["9", "10", ".hidden"])
    write_scans(tmp_path / "all" / "a", ["x9", "x10"])
    a, b = drives.find_scan_folders(tmp_path / "all")
    assert [scan.stem for drive in (a, b) for scan in drive.scans] == ["x10", "x9", "9", "10"]
    assert drives.find_scan_folders(tmp_path / "all" / "b") == [b]
    assert drives.choose([a, b], ["b"]) == [b]
    assert drives.choose([a, b], []) == [a, b]
    with pytest.raises(ValueError, match="c is not among the drives a, b"):
        drives.choose([a, b], ["c"])


def test_faults_of_folders_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    for find in (drives.find_raw_drives, drives.find_scan_folders):
        with pytest.raises(ValueError, match="no: there is no such folder"):
            find(tmp_path / "no")
    with pytest.raises(ValueError, match="holds no drive, expected <date>/<drive>/velodyne_points"):
        drives.find_raw_drives(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"holds no scans, expected files ending in \.bin, "):
        drives.find_scan_folders(tmp_path / "empty")
    write_scans(tmp_path / "two", ["1"])
    (tmp_path / "two" / "1.bin").touch()
    with pytest.raises(ValueError, match="has two scans named 1; keep one of them"):
        drives.find_scan_folders(tmp_path / "two")


def test_each_scan_has_the_pose_of_its_number_or_its_place(tmp_path):
    path = tmp_path / "poses.txt"
    path.write_text("".join(f"1 0 0 {x} 0 1 0 0 0 0 1 0\n" for x in range(3)))

    def places(name, names):
        (drive,) = drives.find_scan_folders(write_scans(tmp_path / name, names))
        return [pose[0, 3] for pose in drives.drive_poses(drive, path)]

    assert places("numbers", ["000001", "000002"]) == [1, 2]
    assert places("later", ["7", "8", "9"]) == [0, 1, 2]
    with pytest.raises(ValueError, match=f"{path}: has 3 poses for the 2 scans of few"):
        places("few", ["a", "b"])


def test_motion_from_poses_is_the_mean_of_both_sides():
    poses = [np.eye(4) for _ in range(3)]
    for pose, x in zip(poses, (0, 1, 4), strict=True):
        pose[0, 3] = x
    speeds = [motion.velocity[0] for motion in drives.pose_motions(poses, 0.1)]
    np.testing.assert_allclose(speeds, [10, 20, 30])


def test_motion_from_poses_of_a_curve_is_in_the_frame_of_its_scan():
    # On a circle of 20 m about z, forward along x, a tenth of a radian from scan to scan.
    poses = []
    for angle in 0.1 * np.arange(4):
        turn = Rotation.from_euler("z", angle).as_matrix()
        poses.append(rigid(turn, 20 * np.array([np.sin(angle), 1 - np.cos(angle), 0])))
    for motion in drives.pose_motions(poses, 0.1)[1:-1]:
        np.testing.assert_allclose(motion.velocity, [200 * np.sin(0.1), 0, 0], atol=1e-9)
        np.testing.assert_allclose(motion.rotation_rate, [0, 0, 1], atol=1e-9)


def test_motion_needs_two_poses():
    with pytest.raises(ValueError, match="at least two scans"):
        drives.pose_motions([np.eye(4)], 0.1)
