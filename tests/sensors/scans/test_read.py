"""What all formats of scans have in common."""

import numpy as np
import pytest

from fcfrnet_jax.sensors.scans import read_scan


def test_missing_points_are_dropped_and_counted(tmp_path):
    table = np.arange(1, 41, dtype="<f4").reshape(8, 5)
    table[1, 0], table[2, 2], table[3, :3] = np.nan, np.inf, 0
    table.tofile(tmp_path / "scan.bin")
    scan = read_scan(tmp_path / "scan.bin", columns=5)
    assert scan.dropped == 3
    np.testing.assert_array_equal(scan.points, table[[0, 4, 5, 6, 7], :3])
    np.testing.assert_array_equal(scan.intensity, table[[0, 4, 5, 6, 7], 3])


@pytest.mark.parametrize(
    ("name", "columns", "fault"),
    [
        (
            "scan.las",
            None,
            "the suffix is .las, expected one of .bin, .npy, .npz, .pcd, .ply; conv",
        ),
        ("scan", None, "the suffix is empty, expected one of"),
        ("no.bin", None, "cannot be read: No such file"),
        ("folder.bin", None, "cannot be read: Is a directory"),
        ("scan.ply", 4, "the columns of a .ply file have names, so columns must be None, got 4"),
    ],
)
def test_files_that_are_no_scans_are_refused(name, columns, fault, tmp_path):
    (tmp_path / "folder.bin").mkdir()
    with pytest.raises(ValueError, match=f"{tmp_path / name}: {fault}"):
        read_scan(tmp_path / name, columns=columns)


@pytest.mark.parametrize(
    ("name", "points", "rings", "times"),
    [("nuscenes_32/scan.bin", 34688, 32, False), ("vlp16/scan.pcd", 21903, 16, True)],
)
def test_real_scans_are_read(name, points, rings, times, real_sensors):
    scan = read_scan(real_sensors / name)
    assert (len(scan), scan.dropped, len(np.unique(scan.ring))) == (points, 0, rings)
    assert (scan.time is not None) == times
