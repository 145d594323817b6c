"""`.npy` and `.npz` files."""

import numpy as np
import pytest

from fcfrnet_jax.sensors.scans import read_scan

TABLE = np.arange(1, 25).reshape(4, 6) / 4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_is_read(dtype, tmp_path):
    np.save(tmp_path / "scan.npy", TABLE[:, :5].astype(dtype))
    scan = read_scan(tmp_path / "scan.npy")
    assert scan.points.dtype == np.float32
    np.testing.assert_array_equal(scan.points, TABLE[:, :3])
    np.testing.assert_array_equal(scan.ring, TABLE[:, 4].astype(int))


def test_a_structured_array_is_read(tmp_path):
    table = np.zeros(
        (2, 3), [("t", "u4"), ("z", "f8"), ("y", "f4"), ("X", "f4"), ("channel", "u2")]
    )
    table["X"], table["z"], table["t"], table["channel"] = 7, [[1, 2, 3], [4, 5, 6]], 9, 3
    np.save(tmp_path / "scan.npy", table)
    scan = read_scan(tmp_path / "scan.npy")
    np.testing.assert_array_equal(scan.points[:, 2], [1, 2, 3, 4, 5, 6])
    np.testing.assert_array_equal((scan.time, scan.ring), [[9] * 6, [3] * 6])


@pytest.mark.parametrize(
    "arrays",
    [
        {"points": TABLE[:, :3], "intensity": TABLE[:, 3]},
        {"points": TABLE[:, :4]},
        dict(zip("xyzi", TABLE.T[:4], strict=True)),
    ],
)
def test_named_arrays_are_read(arrays, tmp_path):
    np.savez_compressed(tmp_path / "scan.npz", **arrays)
    scan = read_scan(tmp_path / "scan.npz")
    np.testing.assert_array_equal(scan.points, TABLE[:, :3])
    np.testing.assert_array_equal(scan.intensity, TABLE[:, 3])


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (TABLE.T[:3, [0, 1, 2, 3] * 2], r"has shape \[3, 8\], expected .*; transpose the array"),
        (np.zeros((9, 7)), r"has shape \[9, 7\], expected \[N, 3\] to \[N, 6\].*; set columns"),
        (np.zeros(9), r"holds float64 of shape \[9\], expected"),
        (np.array([["a"] * 3]), r"holds <U1 of shape \[1, 3\], expected"),
        (np.zeros((0, 3)), "the scan is empty"),
        (np.zeros((2, 3)), r"all 2 points are NaN, infinite or \(0, 0, 0\)"),
    ],
)
def test_arrays_without_points_are_refused(array, fault, tmp_path):
    path = tmp_path / "scan.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=f"{path}: {fault}"):
        read_scan(path)


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        ({"a": TABLE, "b": TABLE}, "the arrays a, b may all be the points"),
        ({"x": TABLE[:, 0]}, "the columns are x, expected x, y and z among them"),
        (
            {"x": np.array(["a"]), "y": np.ones(1), "z": np.ones(1)},
            "the columns must be numbers, got x of type <U1",
        ),
        (
            {"p": TABLE[:, :3], "ring": TABLE[:2, 0]},
            "the columns must have equal lengths, got x 4, y 4, z 4, ring 2",
        ),
    ],
)
def test_unclear_names_are_refused(arrays, fault, tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=f"{path}: {fault}"):
        read_scan(path)


def test_another_file_is_no_pickle_to_load_unsafely(tmp_path):
    (tmp_path / "scan.npy").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"scan\.npy: is not a NumPy file, expected what numpy"):
        read_scan(tmp_path / "scan.npy")


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_truncated_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"scan.{suffix}"
    with path.open("wb") as file:
        (np.save if suffix == "npy" else np.savez)(file, TABLE)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=f"{path}: cannot be read as NumPy arrays .* truncated"):
        read_scan(path)
