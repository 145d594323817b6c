"""Poses against the known motion of rendered streets and the warped images of a real drive."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.poses import Pose, depth_at, match_key_points, pose_failure, relative_pose
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.streets.scene.street import make_street
from fcfrnet_jax.training.warp import inverse_warp
from tests import kitti_tree

fill, warp = jax.jit(classical_fill), jax.jit(inverse_warp)
INTRINSICS = (300.0, 290.0, 160.0, 115.0)
Arrays = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def street() -> list[Arrays]:
    """Images and sparse depth of a street, one metre apart."""
    frames = [render_scene(jax.random.key(3), KITTI, travelled=float(m)) for m in range(2)]
    return [(np.asarray(frame.image), np.asarray(frame.sparse_depth)) for frame in frames]


def textured(seed: int, size: tuple[int, int] = (240, 320)) -> np.ndarray:
    noise = np.random.default_rng(seed).random((*size, 3))
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.5)
    return np.rint(255 * cv2.normalize(blurred, None, 0, 1, cv2.NORM_MINMAX)).astype(np.uint8)


def assert_identity(pose: Pose) -> None:
    assert not pose.found
    np.testing.assert_array_equal(pose.rotation, np.eye(3))
    np.testing.assert_array_equal(pose.translation, np.zeros(3))


def test_files_of_different_sizes_are_named(tmp_path: Path) -> None:
    kitti_tree.write_drive(tmp_path, size=(48, 80))
    frame, near, _ = find_frames(tmp_path, "val")
    kitti_tree.random_image(near.image, (40, 80))
    sizes = f"{frame.image} is 48x80, {near.image} is 40x80, {frame.sparse} is 48x80"
    with pytest.raises(ValueError, match=f"sizes differ .*: {sizes}"):
        pose_failure(frame, near)


@pytest.mark.nightly
@pytest.mark.parametrize(("current", "near", "metres"), [(0, 1, -1.0), (1, 0, 1.0)])
def test_the_motion_along_a_rendered_street(
    street: list[Arrays], current: int, near: int, metres: float
) -> None:
    image, sparse = street[current]
    pose = relative_pose(image, street[near][0], sparse, KITTI.intrinsics)
    assert pose.found
    # The camera moves along the street, but its axis is not exactly parallel to it.
    along = np.asarray(jax.jit(make_street)(jax.random.key(3)).rotation)[2]
    np.testing.assert_allclose(pose.translation, metres * along, atol=0.06)
    np.testing.assert_allclose(pose.rotation, np.eye(3), atol=2e-3)


def test_a_plane_seen_after_a_known_motion() -> None:
    # The near view of the plane z = 10 is the image under the homography K (R + t n' / 10) K^-1.
    camera = np.array([[300.0, 0.0, 160.0], [0.0, 290.0, 115.0], [0.0, 0.0, 1.0]])
    rotation, translation = cv2.Rodrigues(np.array([0.01, -0.03, 0.02]))[0], (0.3, -0.2, -0.5)
    moved = rotation + np.outer(translation, (0.0, 0.0, 0.1))
    image = textured(0)
    near = cv2.warpPerspective(image, camera @ moved @ np.linalg.inv(camera), (320, 240))
    depth = np.full((240, 320), 10.0, np.float32)
    pose = relative_pose(image, near, depth, INTRINSICS)
    np.testing.assert_allclose(pose.translation, translation, atol=0.03)
    np.testing.assert_allclose(pose.rotation, rotation, atol=3e-3)


def test_types() -> None:
    image, depth = textured(0), np.full((240, 320, 1), 10.0, np.float32)
    pose = relative_pose(image, np.roll(image, 20, axis=1), depth, INTRINSICS)
    assert pose.found
    assert [(array.dtype, array.shape) for array in pose] == [
        (np.float32, (3, 3)),
        (np.float32, (3,)),
        (np.bool_, ()),
    ]


def test_concurrent_calls_agree() -> None:
    image, depth = textured(1), np.full((240, 320), 10.0, np.float32)
    near = np.roll(image, 3, axis=1)
    # Half of the depth is wrong, so that RANSAC has to search.
    depth[:, ::2] = np.random.default_rng(0).uniform(2.0, 60.0, (240, 160))

    def found(_: int) -> tuple:
        return tuple(map(bytes, relative_pose(image, near, depth, (300.0, 300.0, 160.0, 120.0))))

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(found, range(12))) == {found(0)}


def test_a_standing_car_has_no_pose() -> None:
    image = textured(2)
    depth = np.full((240, 320), 10.0, np.float32)
    assert_identity(relative_pose(image, image, depth, (300.0, 300.0, 160.0, 120.0)))


@pytest.mark.parametrize("case", ["black", "near black", "no depth", "unrelated"])
def test_no_pose_can_be_found(case: str) -> None:
    image, near = textured(3), np.roll(textured(3), 5, axis=1)
    depth = np.full((240, 320), 10.0, np.float32)
    if case == "black":
        image = np.zeros_like(image)
    elif case == "near black":
        near = np.zeros_like(image)
    elif case == "no depth":
        depth[:] = 0.0
    else:
        near = textured(4)
    assert_identity(relative_pose(image, near, depth, (300.0, 300.0, 160.0, 120.0)))


def test_few_matches_with_a_depth() -> None:
    image, near = textured(3), np.roll(textured(3), 5, axis=1)
    matched = match_key_points(image, near)[0]
    found = []
    for radius in range(4, 100, 6):
        depth = np.zeros((240, 320), np.float32)
        depth[120 - radius : 120 + radius, 160 - radius : 160 + radius] = 10.0
        count = (depth_at(matched, depth) > 0).sum()
        pose = relative_pose(image, near, depth, (300.0, 300.0, 160.0, 120.0))
        assert not (pose.found and count < 10)
        found.append((bool(pose.found), 4 <= count < 10))
    # Some windows have enough points for RANSAC but fewer than MIN_INLIERS, others have more.
    assert any(few for _, few in found)
    assert found[-1] == (True, False)


def test_sizes_that_differ() -> None:
    image, depth = textured(0), np.ones((240, 320), np.float32)
    with pytest.raises(
        ValueError,
        match=r"needs .* of its size, got \(240, 319, 3\) and \(240, 320\)",
    ):
        relative_pose(image, image[:, 1:], depth, INTRINSICS)
    with pytest.raises(
        ValueError, match=r"needs .* of its size, got \(240, 320, 3\) and \(239, 320\)"
    ):
        relative_pose(image, image, depth[1:], INTRINSICS)


def test_depth_is_dilated_over_four_pixels() -> None:
    depth = np.zeros((12, 12), np.float32)
    depth[5, 5], depth[6, 6] = 20.0, 30.0
    grid = np.stack(np.meshgrid(np.arange(12), np.arange(12)), -1).reshape(-1, 2)
    spread = depth_at(grid.astype(float), depth).reshape(12, 12)
    assert (spread > 0).sum() == 16 + 16 - 9
    assert (spread == 30.0).sum() == 16
    between = depth_at(np.array([[5.4, 4.6], [-0.4, 11.4]]), depth)
    np.testing.assert_array_equal(between, [30.0, 0.0])


# Real frames.


@pytest.fixture(scope="module")
def drive(kitti_real: Path) -> list[Frame]:
    frames = [f for f in find_frames(kitti_real, "train") if "/image_02/" in f.name]
    assert [int(frame.name[-10:]) for frame in frames] == list(range(5, 26))
    return frames


@pytest.mark.parametrize(("current", "near"), [(0, 1), (9, 6), (14, 16)])
def test_a_real_car_drives_forward(drive: list[Frame], current: int, near: int) -> None:
    frame, steps = drive[current], near - current
    image, near_image = read_image(frame.image), read_image(drive[near].image)
    sparse = read_depth(frame.sparse)
    pose = relative_pose(image, near_image, sparse, frame.intrinsics)
    x, y, z = pose.translation / steps
    # Ten frames a second: 40 km/h are 1.1 m a frame.
    assert -1.2 < z < -1.0
    assert max(abs(x), abs(y)) < 0.03
    depth = fill(sparse[None, ..., None])
    float_near = near_image[None].astype(np.float32)
    arrays = (np.asarray(a, np.float32)[None] for a in (*pose[:2], frame.intrinsics))
    warped = np.asarray(warp(float_near, depth, *arrays))[0]
    seen = (warped.sum(-1) > 0) & (np.arange(len(image)) > 150)[:, None]
    error, unwarped = (np.abs(one - image)[seen].mean() for one in (warped, float_near[0]))
    assert seen.mean() > 0.3
    assert error < 0.8 * unwarped
