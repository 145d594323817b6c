"""`.bin` files with 4 or 5 numbers per point."""

import numpy as np
import pytest

from fcfrnet_jax.sensors.scans import read_scan

RANDOM = np.random.default_rng(0)


def scan(points, columns):
    """Points with an intensity in steps of 0.01, as KITTI has it, and a ring."""
    table = np.zeros((points, 5), "<f4")
    table[:, :3] = RANDOM.uniform(-60, 60, (points, 3))
    table[:, 3], table[:, 4] = RANDOM.integers(0, 100, points) / 100, RANDOM.integers(0, 32, points)
    return table[:, :columns]


# 20 points of 4 numbers have as many bytes as 16 points of 5.
@pytest.mark.parametrize(("columns", "points"), [(4, 7), (4, 400), (5, 7), (5, 400)])
def test_the_number_of_columns_is_detected(columns, points, tmp_path):
    table = scan(points, columns)
    table.tofile(tmp_path / "scan.bin")
    read = read_scan(tmp_path / "scan.bin")
    np.testing.assert_array_equal(read.points, table[:, :3])
    np.testing.assert_array_equal(read.intensity, table[:, 3])
    if columns == 5:
        np.testing.assert_array_equal(read.ring, table[:, 4])
    else:
        assert read.ring is None


def test_an_unclear_number_of_columns_must_be_given(tmp_path):
    path = tmp_path / "scan.bin"
    table = np.ones((20, 4), "<f4")
    table.tofile(path)
    with pytest.raises(ValueError, match=f"{path}: both 4 and 5 float32 numbers .* set columns"):
        read_scan(path)
    assert len(read_scan(path, columns=4)) == 20
    assert len(read_scan(path, columns=5)) == 16


@pytest.mark.parametrize("columns", [6, ("x", "y", "z", "intensity", "ring", "time")])
def test_given_columns_are_used(columns, tmp_path):
    table = np.arange(1, 25, dtype="<f4").reshape(4, 6)
    table.tofile(tmp_path / "scan.bin")
    scan = read_scan(tmp_path / "scan.bin", columns=columns)
    np.testing.assert_array_equal(scan.points, table[:, :3])
    np.testing.assert_array_equal(scan.time, table[:, 5])


@pytest.mark.parametrize(
    ("content", "columns", "fault"),
    [
        (scan(9, 4).tobytes()[:-3], None, "has 141 bytes, expected a multiple of 16 or 20"),
        (scan(9, 4).tobytes()[:-3], 4, "has 141 bytes, expected a multiple of 16, for points of 4"),
        # A truncated file of 5 columns has the size of one with 4.
        (scan(16, 5).tobytes()[:-16], None, "neither 4 nor 5 float32 numbers .* its 304 bytes"),
        (np.full((9, 4), np.nan, "<f4").tobytes(), None, "neither 4 nor 5 .* set columns"),
        # 400 points of 4 numbers have as many bytes as 320 points of 5.
        (scan(400, 4).tobytes(), 5, "the values are not .* with 4 .*; set columns to 4, or to ot"),
        (b"1 2 3 4\n" * 50, None, "neither 4 nor 5 float32 numbers"),
        (
            scan(9, 4).tobytes(),
            "xyz",
            "columns must be a number or names .* got 'xyz'",
        ),
        (scan(9, 4).tobytes(), ("x", 2), r"columns must be a number or .* got \('x', 2\)"),
        (b"", None, "the scan is empty, expected at least one point"),
        (scan(9, 4).tobytes(), 7, "columns must be 3 to 6 .*, got 7"),
        (scan(9, 4).tobytes(), ("x", "y", "x", "i"), "columns has a name twice: x, y, x, i"),
        (scan(9, 4).tobytes(), ("x", "y", "h", "i"), "the columns are x, y, h, i, expected x, y"),
    ],
)
def test_wrong_files_are_described(content, columns, fault, tmp_path):
    path = tmp_path / "scan.bin"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: .*{fault}"):
        read_scan(path, columns=columns)
