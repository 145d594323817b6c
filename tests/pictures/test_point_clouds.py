"""Point clouds, their files, and what is left out of them."""

import math

import numpy as np
import plyfile
import pypcd4
import pytest

import fcfrnet_jax
from fcfrnet_jax.pictures import point_clouds
from fcfrnet_jax.pictures.point_clouds import PointCloud, covered, flying, point_cloud
from fcfrnet_jax.sensors.scans import read_scan

K = np.array([[20.0, 0.5, 7.0], [0.0, 25.0, 4.0], [0.0, 0.0, 1.0]])
ROWS, COLUMNS = 10, 16


@pytest.fixture
def depth():
    return np.random.default_rng(0).uniform(5, 6, (ROWS, COLUMNS)).astype(np.float32)


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)


def everything(*arguments, **limits):
    return point_cloud(*arguments, **({"max_jump": math.inf} | limits))


def test_points_project_to_their_pixels(depth, image):
    cloud = everything(depth, image, K)
    x, y, z = (K @ cloud.points.T.astype(np.float64)).reshape(3, ROWS, COLUMNS)
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    np.testing.assert_allclose((x / z, y / z), (columns, rows), atol=1e-4)
    np.testing.assert_allclose(z, depth, rtol=1e-6)
    np.testing.assert_array_equal(cloud.colours.reshape(image.shape), image)


def test_pixels_without_depth_give_no_point(depth):
    depth[0, :4] = 0, -1, np.nan, np.inf
    assert len(everything(depth, None, K).points) == depth.size - 4


def test_far_and_uncertain_pixels_are_left_out(depth):
    depth[2, 3] = 90
    assert len(everything(depth, None, K).points) == depth.size - 1
    assert len(everything(depth, None, K, max_depth=90).points) == depth.size
    confidence = np.ones_like(depth)
    confidence[:, :5] = 0.3
    certain = everything(depth, None, K, max_depth=90, confidence=confidence, min_confidence=0.5)
    assert len(certain.points) == (COLUMNS - 5) * ROWS


def test_points_between_foreground_and_background_are_left_out():
    """A ramp of four pixels between 10 and 20 m, and ground that recedes."""
    depth = np.full((40, 60), 20.0)
    depth[:, 30:] = 10.0
    depth[:, 28:32] = [18, 16, 14, 12]
    found = flying(depth)
    assert found[:, 27:33].all()
    assert not found[:, :27].any()
    assert not found[:, 33:].any()
    assert len(point_cloud(depth, None, K).points) == 40 * 54
    ground = 700 * 1.65 / np.arange(15.0, 200)[:, None] * np.ones((1, 4))
    assert ground.max() > 75
    assert not flying(ground, 0.07).any()


def test_a_missing_neighbour_is_no_jump():
    depth = np.array([[5.0, 0.0, np.nan, 5.0]])
    assert not flying(depth).any()


def test_pixels_above_the_scan_are_left_out():
    sparse = np.zeros((60, 90))
    sparse[30, 10] = sparse[40, 70] = 5.0
    kept = covered(sparse, reach=8)
    assert [int(rows) for rows in kept.argmax(axis=0)[[2, 10, 18, 62, 78]]] == [22, 22, 22, 32, 32]
    assert not kept[:, 40].any()
    cloud = point_cloud(np.full(sparse.shape, 9.0), None, K, sparse_depth=sparse)
    assert len(cloud.points) == np.count_nonzero(covered(sparse))


@pytest.mark.parametrize("coloured", [True, False])
def test_ply_is_read_by_another_program(coloured, depth, image, tmp_path):
    cloud = everything(depth, image if coloured else None, K)
    point_clouds.write_ply(tmp_path / "a.ply", cloud)
    vertices = plyfile.PlyData.read(tmp_path / "a.ply")["vertex"].data
    np.testing.assert_array_equal(np.stack([vertices[n] for n in "xyz"], -1), cloud.points)
    assert ("red" in vertices.dtype.names) == coloured
    if coloured:
        names = ("red", "green", "blue")
        np.testing.assert_array_equal(np.stack([vertices[n] for n in names], -1), cloud.colours)


@pytest.mark.parametrize("coloured", [True, False])
def test_pcd_is_read_by_another_program(coloured, depth, image, tmp_path):
    cloud = everything(depth, image if coloured else None, K)
    point_clouds.write_pcd(tmp_path / "a.pcd", cloud)
    read = pypcd4.PointCloud.from_path(tmp_path / "a.pcd")
    assert read.fields == (("x", "y", "z", "rgb") if coloured else ("x", "y", "z"))
    np.testing.assert_array_equal(read.numpy(("x", "y", "z")), cloud.points)
    if coloured:
        rgb = read.pc_data["rgb"]
        np.testing.assert_array_equal(pypcd4.PointCloud.decode_rgb(rgb), cloud.colours)


def test_an_empty_cloud_can_be_written(depth, image, tmp_path):
    cloud = point_cloud(np.zeros_like(depth), image, K)
    point_clouds.write_ply(tmp_path / "a.ply", cloud)
    point_clouds.write_pcd(tmp_path / "a.pcd", cloud)
    assert plyfile.PlyData.read(tmp_path / "a.ply")["vertex"].count == 0
    assert pypcd4.PointCloud.from_path(tmp_path / "a.pcd").points == 0


def test_arrays_may_be_nested_lists(depth, image):
    expected = point_cloud(depth, image, K, sparse_depth=depth)
    found, matrix, sparse = (array.tolist() for array in (depth, K, depth))
    cloud = point_cloud(found, image, matrix, sparse_depth=sparse, confidence=sparse)
    np.testing.assert_array_equal(cloud.colours, expected.colours)
    np.testing.assert_allclose(cloud.points, expected.points, rtol=1e-6)


def test_gray_images_give_gray_points(depth, image):
    colours = everything(depth, image[..., 0], K).colours
    np.testing.assert_array_equal(colours, np.repeat(image[..., :1].reshape(-1, 1), 3, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": np.zeros(3)}, r"expected a depth map \[H, W\], got shape \(3,\)"),
        ({"image": np.zeros((3, 3), np.uint8)}, r"image has shape \(3, 3\), but the depth map"),
        ({"image": np.zeros((ROWS, COLUMNS))}, "expected a uint8 image"),
        ({"intrinsics": np.eye(4)}, r"expected a camera matrix K \[3, 3\], got shape \(4, 4\)"),
        ({"intrinsics": -K}, "with positive focal lengths"),
        ({"max_jump": 0}, "max_jump must be positive, got 0"),
        ({"max_depth": math.nan}, "max_depth must be positive, got nan"),
    ],
)
def test_wrong_arguments_are_refused(change, message, depth):
    with pytest.raises(ValueError, match=message):
        point_cloud(**({"depth": depth, "image": None, "intrinsics": K} | change))


def test_colours_of_another_shape_are_refused(tmp_path):
    cloud = PointCloud(np.zeros((3, 3), np.float32), np.zeros((2, 3), np.uint8))
    with pytest.raises(ValueError, match=r"uint8 colours of the shape \(3, 3\) .*got uint8 \(2, 3"):
        point_clouds.write_ply(tmp_path / "a.ply", cloud)


def test_the_function_is_public():
    assert fcfrnet_jax.point_cloud is point_cloud


@pytest.mark.parametrize("write", [point_clouds.write_ply, point_clouds.write_pcd])
def test_comments_are_in_the_header_and_clouds_can_be_read(write, depth, image, tmp_path):
    cloud = everything(depth, image, K)
    path = tmp_path / f"cloud.{write.__name__[-3:]}"
    write(path, cloud, ["metres in the frame of the camera"])
    assert b"metres in the frame of the camera\n" in path.read_bytes()
    np.testing.assert_array_equal(read_scan(path).points, cloud.points)


def test_a_moved_cloud_keeps_its_colours(depth, image):
    cloud = everything(depth, image, K)
    motion = np.array([[0.0, 0, 1, 5], [-1, 0, 0, 0], [0, -1, 0, 2], [0, 0, 0, 1]])
    found = point_clouds.moved(cloud, motion)
    x, y, z = cloud.points.T
    np.testing.assert_allclose(found.points, np.stack([z + 5, -x, 2 - y], axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found.colours, cloud.colours)
