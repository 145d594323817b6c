"""PCD files as pypcd4 writes them."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.sensors.scans import read_scan
from fcfrnet_jax.sensors.scans.lzf import decompress
from fcfrnet_jax.sensors.scans.pcd import read_pcd

HEADER = b"""# comment
VERSION 0.7
FIELDS x y z _ normal
SIZE 4 4 4 1 4
TYPE F F F U F
COUNT 1 1 1 3 2
WIDTH 2
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 2
"""
ROW = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("_", "u1", 3), ("normal", "<f4", 2)]
TYPES = [np.float32, np.float64, np.uint8, np.uint16, np.int32, np.uint32]


@given(
    types=st.lists(st.sampled_from(TYPES), min_size=3, max_size=6),
    count=st.integers(0, 40),
    encoding=st.sampled_from(["ASCII", "BINARY", "BINARY_COMPRESSED"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_fields_of_any_order_and_type_are_read(types, count, encoding, seed):
    pypcd4 = pytest.importorskip("pypcd4", reason="an independent writer")
    random = np.random.default_rng(seed)
    names = random.permutation(["x", "y", "z", "ring", "time", "intensity"])[: len(types)].tolist()
    # Runs of equal values, so that the compressed data contain references.
    columns = [random.integers(0, 9, count).astype(kind) for kind in types]
    cloud = pypcd4.PointCloud.from_points(columns, names, types)
    file = io.BytesIO()
    cloud.save(file, encoding=getattr(pypcd4.Encoding, encoding))
    fields = read_pcd(file.getvalue(), "scan.pcd")
    assert list(fields) == names
    for name, column in zip(names, columns, strict=True):
        np.testing.assert_array_equal(fields[name], column)


def two_points():
    table = np.zeros(2, ROW)
    table["x"], table["y"], table["z"] = [1.5, 2.5], [3, 4], [5, 6]
    return table


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_fields_with_several_values_are_left_out(end, tmp_path):
    path = tmp_path / "scan.PCD"
    path.write_bytes(HEADER + b"DATA binary\n" + two_points().tobytes() + end)
    scan = read_scan(path)
    assert scan.intensity is None
    np.testing.assert_array_equal(scan.points, [[1.5, 3, 5], [2.5, 4, 6]])


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (
            b"DATA binary\n" + b"\1" * 45,
            "has 45 bytes of points, expected 46 for the 2 points of 23",
        ),
        (
            b"DATA binary\n" + b"\1" * 47,
            "has 47 bytes of points, expected 46 for the 2 points of 23",
        ),
        (b"DATA ascii\n1 2 3 0 0 0 1 1", "has 8 numbers, expected 16 for the 2 points of 8"),
        (b"DATA ascii\n" + b"a " * 16, "holds a word that is not a number"),
        (b"DATA binary_compressed\n\1\0", "has 0 bytes of compressed points, expected 1, which"),
        (b"DATA binary_compressed\n\2\0\0\0\x2e\0\0\0\x20\5", "are damaged .*before the start"),
        (b"DATA binary_compressed\n\1\0\0\0\x2e\0\0\0\xff", "are damaged .*within a reference"),
        (b"DATA binary_compressed\n\2\0\0\0\x2e\0\0\0\0a", "are damaged .*to 1 bytes, expected 46"),
        (b"DATA zip\n", "the header is not that of a PCD file .DATA is zip."),
        (b"", "the header is not that of a PCD file"),
    ],
)
def test_damage_is_described(data, fault, tmp_path):
    path = tmp_path / "scan.pcd"
    path.write_bytes(HEADER + data)
    with pytest.raises(ValueError, match=f"{path}: .*{fault}.*; (restore|write) .*$"):
        read_scan(path)


def test_a_header_with_a_wrong_field_is_refused():
    header = HEADER.replace(b"SIZE 4 4 4 1 4", b"SIZE 4 4 3 1 4")
    with pytest.raises(ValueError, match=r"scan.pcd: the header .*z has type F, size 3"):
        read_pcd(header + b"DATA binary\n", "scan.pcd")


def test_a_coordinate_that_appears_twice_is_refused(tmp_path):
    path = tmp_path / "scan.pcd"
    fields = b"FIELDS x y z x\nSIZE 4 4 4 4\nTYPE F F F F\nPOINTS 1\nDATA ascii\n1 2 3 4\n"
    path.write_bytes(fields)
    with pytest.raises(ValueError, match=r"scan\.pcd: .* .the field x appears twice.*; write"):
        read_scan(path)


def test_decompression_ends_after_the_size_in_the_header():
    """A byte, and references that repeat it 264 times each."""
    data = b"\0x" + b"\xe0\xff\0" * 1_000_000
    with pytest.raises(ValueError, match="decompresses to more than 100 bytes"):
        decompress(data, 100)
