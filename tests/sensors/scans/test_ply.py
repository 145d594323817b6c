"""PLY files as plyfile writes them."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.sensors.scans import read_scan
from fcfrnet_jax.sensors.scans.ply import read_ply

TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"]
HEADER = b"""ply
format binary_little_endian 1.0
comment a scan
element camera 1
property float fov
element vertex 2
property float x
property float y
property float z
end_header
"""
POINTS = np.array([[1, 2, 3], [4, 5, 6]], "<f4")


@given(
    types=st.lists(st.sampled_from(TYPES), min_size=3, max_size=5),
    count=st.integers(0, 20),
    order=st.sampled_from(["text", "<", ">"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_vertices_are_read_from_all_formats(types, count, order, seed):
    plyfile = pytest.importorskip("plyfile", reason="an independent writer")
    random = np.random.default_rng(seed)
    names = random.permutation(["x", "y", "z", "ring", "time"])[: len(types)].tolist()
    vertices = np.zeros(count, list(zip(names, types, strict=True)))
    for name in names:
        vertices[name] = random.integers(0, 99, count)
    others = np.zeros(3, [("a", "u1"), ("b", "f8")])
    elements = [plyfile.PlyElement.describe(others, "camera")]
    elements.append(plyfile.PlyElement.describe(vertices, "vertex"))
    file = io.BytesIO()
    text = order == "text"
    plyfile.PlyData(elements, text=text, byte_order="=" if text else order).write(file)
    fields = read_ply(file.getvalue(), "scan.ply")
    assert list(fields) == names
    for name in names:
        np.testing.assert_array_equal(fields[name], vertices[name])


def test_faces_after_the_points_are_ignored(tmp_path):
    path = tmp_path / "scan.ply"
    faces = b"element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    header = HEADER.replace(b"end_header\n", faces)
    path.write_bytes(header + bytes(4) + POINTS.tobytes() + b"\3" + bytes(12))
    np.testing.assert_array_equal(read_scan(path).points, POINTS)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (HEADER + bytes(4) + POINTS.tobytes()[:-1], "has 1 complete vertices, expected 2"),
        (HEADER + bytes(2), "has 0 complete vertices, expected 2"),
        (HEADER[:40], "there is no end_header"),
        (
            HEADER.replace(b"vertex 2", b"vertex -2"),
            "vertex has -2 rows and the properties x, y",
        ),
        (HEADER.replace(b"property float fov\n", b""), "camera has 1 rows and the properties none"),
        (HEADER.replace(b"float y", b"float x"), "vertex has 2 rows and the properties x, x, z"),
        (HEADER.replace(b"vertex", b"points"), "header is not that of a PLY file with vertices"),
        (HEADER.replace(b"float x", b"floats x"), "header is not that of a PLY file .*floats"),
        (HEADER.replace(b"float fov", b"list uchar int i"), "element camera has the list i"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1\n1 2\n", "vertex 0 has 2 numbers"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1\n1 2 3", "has 1 complete vert"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"1\na 2 3\n4 5 6", "not a number"),
    ],
)
def test_damage_is_described(content, fault, tmp_path):
    path = tmp_path / "scan.ply"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path}: .*{fault}.*; (restore|write) .*$"):
        read_scan(path)
