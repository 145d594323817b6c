"""What all formats of scans have in common."""

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.sensors.scans import READERS, read_scan
from fcfrnet_jax.sensors.scans.scan import make_scan
from tests.sensors.scans import test_pcd, test_ply


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
        ("folder.bin", None, "is a folder, expected a file"),
        ("pipe.bin", None, "is a pipe or device, expected a file"),
        ("scan.ply", 4, "the columns of a .ply file have names, so columns must be None, got 4"),
    ],
)
def test_files_that_are_no_scans_are_refused(name, columns, fault, tmp_path):
    (tmp_path / "folder.bin").mkdir()
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(ValueError, match=f"{tmp_path / name}: {fault}"):
        read_scan(tmp_path / name, columns=columns)


def contents():
    """A small file of every kind."""
    table = np.arange(1.0, 16).reshape(3, 5)
    npy, npz = io.BytesIO(), io.BytesIO()
    np.save(npy, table)
    np.savez_compressed(npz, points=table)
    points = test_pcd.two_points().tobytes()
    # A run of 32 bytes, a run of 14.
    compressed = b"\x30\0\0\0\x2e\0\0\0\x1f" + points[:32] + b"\x0d" + points[32:]
    return [
        (".bin", table.astype("<f4").tobytes()),
        (".npy", npy.getvalue()),
        (".npz", npz.getvalue()),
        (".pcd", test_pcd.HEADER + b"DATA ascii\n" + b"1 2 3 0 0 0 1 1\n" * 2),
        (".pcd", test_pcd.HEADER + b"DATA binary\n" + points),
        (".pcd", test_pcd.HEADER + b"DATA binary_compressed\n" + compressed),
        (".ply", test_ply.HEADER + bytes(4) + test_ply.POINTS.tobytes()),
    ]


def outcome(suffix, content):
    """Whether a file is read, or else the first word of the message, which names the file."""
    try:
        scan = make_scan(READERS[suffix](content, "scan", None), "scan")
    except ValueError as error:
        return str(error).partition(":")[0]
    return "read" if np.isfinite(scan.points).all() else "not finite"


@pytest.mark.parametrize(("suffix", "content"), contents())
@given(st.data())
@settings(max_examples=60)
def test_any_damage_is_either_read_or_refused(suffix, content, data):
    assert len(make_scan(READERS[suffix](content, "scan", None), "scan")) > 1
    damaged = bytearray(content[: data.draw(st.integers(0, len(content)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
    assert outcome(suffix, bytes(damaged)) in ("read", "scan")


@pytest.mark.parametrize(
    ("name", "points", "rings", "times"),
    [("nuscenes_32/scan.bin", 34688, 32, False), ("vlp16/scan.pcd", 21903, 16, True)],
)
def test_real_scans_are_read(name, points, rings, times, real_sensors):
    scan = read_scan(real_sensors / name)
    assert (len(scan), scan.dropped, len(np.unique(scan.ring))) == (points, 0, rings)
    assert (scan.time is not None) == times
