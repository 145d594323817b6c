"""Rendered frames: depth against another ray caster, scans, ground truth, windows, pairs."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.geometry import inverse_warp
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, thinned
from fcfrnet_jax.streets.frame import render_pair, render_scene
from fcfrnet_jax.streets.scene.street import make_street
from tests.numpy_caster import all_hits

SIZE = (48, 160)
CAMERA = KITTI.scaled(*SIZE)
LIDAR = thinned(HDL64, SIZE[0] / KITTI.height)
WINDOW = (24, 60)

draw_street = jax.jit(make_street)


def rays(street, u, v):
    """World directions `[3, R]` of the pixels, one metre deep."""
    level = np.array([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(len(u))])
    return np.asarray(street.rotation, np.float64) @ level


def render(seed):
    return jax.tree.map(np.asarray, render_pair(jax.random.key(seed), CAMERA, LIDAR))


@pytest.fixture(scope="module")
def pairs():
    # Compiling takes most of the time of these tests: what pairs tell is not rendered again.
    return [render(seed) for seed in range(20)]


@pytest.fixture(scope="module")
def frames(pairs):
    return [pair.frame for pair in pairs[:6]]


@pytest.fixture(scope="module")
def pair(pairs):
    return pairs[3]


def places(seed, count):
    """Rows and columns of some pixels."""
    rng = np.random.default_rng(seed)
    return rng.integers(SIZE[0], size=count), rng.integers(SIZE[1], size=count)


@pytest.mark.parametrize("seed", [0, 1])
def test_depth_is_what_another_ray_caster_finds(seed, frames):
    street = draw_street(jax.random.key(seed))
    v, u = places(seed, 400)
    expected = all_hits(street, street.camera[:, None], rays(street, u, v)).min(axis=0)
    expected[np.isinf(expected)] = 0.0
    close = np.isclose(frames[seed].depth[v, u], expected, rtol=1e-3, atol=1e-3)
    # A ray that just touches an edge may fall on either side of it in float32.
    assert close.mean() > 0.97
    assert np.count_nonzero(expected) > 200


def test_sparse_depth_agrees_with_depth_away_from_edges(frames):
    close = []
    for frame in frames:
        span = cv2.dilate(frame.depth, np.ones((3, 3))) - cv2.erode(frame.depth, np.ones((3, 3)))
        inner = (frame.sparse_depth > 0) & (span < 0.04 * frame.depth)
        error = np.abs(frame.sparse_depth - frame.depth)[inner]
        # Half a pixel of the surface's slope and five standard deviations of the noise.
        close.extend(error < 0.5 * span[inner] + 0.1)
    # Leaves and windows, and posts thinner than a pixel, make up the rest.
    assert np.mean(close) > 0.8
    assert len(close) > 200


def test_ground_truth_is_what_was_scanned_and_the_true_depth_within_the_scanners_field(frames):
    for frame in frames:
        known = frame.ground_truth > 0
        scanned = known & (np.abs(frame.sparse_depth - frame.depth) < 0.03 * frame.depth)
        expected = np.where(scanned, frame.sparse_depth, frame.depth)
        np.testing.assert_array_equal(frame.ground_truth[known], expected[known])
        assert (known & scanned).sum() > 0.4 * (frame.sparse_depth > 0).sum()
        assert frame.ground_truth.max() < 85
        assert known[: SIZE[0] // 4].mean() < 0.02
        assert known[SIZE[0] // 2 :].mean() > 0.1


def test_ground_truth_is_rare_at_edges(frames):
    shares = np.zeros(2)
    for frame in frames:
        depth = np.where(frame.depth > 0, frame.depth, 1e3)
        edge = cv2.dilate(depth, np.ones((3, 3))) > 1.5 * depth
        lower = np.arange(SIZE[0])[:, None] > SIZE[0] // 2
        shares += [(frame.ground_truth > 0)[lower & some].mean() for some in (edge, ~edge)]
    assert shares[0] < 0.6 * shares[1]


def test_shares_of_valid_pixels_are_those_of_the_benchmark(frames):
    sparse = np.mean([frame.sparse_depth > 0 for frame in frames])
    truth = np.mean([frame.ground_truth > 0 for frame in frames])
    assert 0.03 < sparse < 0.06
    assert 0.12 < truth < 0.30


def test_pictures_are_neither_dark_nor_flat_and_differ_by_key(frames):
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert 25 < frame.image.mean() < 230
        assert frame.image.std() > 20
    assert np.abs(frames[0].image.astype(float) - frames[1].image).mean() > 10


def test_the_same_key_gives_the_same_frame(frames):
    for again, first in zip(render(2).frame, frames[2], strict=True):
        np.testing.assert_array_equal(again, first)


@pytest.mark.slow
@pytest.mark.parametrize("corner", [(0, 0), (11, 57), (24, 100)])
def test_a_window_has_the_whole_picture_s_depth(corner, frames):
    # The whole picture is that of a pair: its frame is the one that is rendered alone.
    top, left = corner
    part = render_scene(jax.random.key(1), CAMERA, LIDAR, window=WINDOW, corner=corner)
    inside = np.s_[top : top + WINDOW[0], left : left + WINDOW[1]]
    close = np.isclose(part.depth, frames[1].depth[inside], rtol=1e-4)
    assert close.mean() > 0.998
    # Pictures differ by their noise, and along the window's border by the blur.
    middle = np.s_[2:-2, 2:-2]
    whole = frames[1].image[inside].astype(float)
    assert np.abs(part.image - whole)[middle].mean() < 8
    assert np.corrcoef(part.image[middle].ravel(), whole[middle].ravel())[0, 1] > 0.97


@pytest.mark.slow
def test_frames_of_a_batch_on_many_devices_are_those_rendered_alone():
    keys, corners = jax.random.split(jax.random.key(0), 8), np.arange(16).reshape(8, 1, 2)

    def view(key, corner):
        return render_scene(key, CAMERA, LIDAR, 0.0, WINDOW, (corner[0], corner[1]))

    spread = jax.pmap(jax.vmap(view))(keys[:, None], corners)
    for number in range(8):
        corner = tuple(corners[number, 0].tolist())
        alone = render_scene(keys[number], CAMERA, LIDAR, window=WINDOW, corner=corner)
        for name, one in alone._asdict().items():
            many = np.asarray(getattr(spread, name)[number, 0], float)
            # Compiled otherwise, a ray may fall to the other side of an edge, a colour be rounded.
            close = np.isclose(many, np.asarray(one, float), rtol=1e-4, atol=one.ndim == 3)
            assert close.mean() > 0.995, name


def test_a_pair_s_pose_is_a_car_s_motion(pairs):
    rotation = np.array([pair.rotation for pair in pairs], float)
    translation = np.array([pair.translation for pair in pairs], float)
    product = rotation @ rotation.transpose(0, 2, 1)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-5)
    lengths = np.linalg.norm(translation, axis=1)
    assert 0.3 <= lengths.min() < 0.7
    assert 1.1 < lengths.max() <= 1.51
    assert (translation[:, 2] > 0).any()
    assert (translation[:, 2] < 0).any()
    angles = np.degrees(np.arccos(np.clip((np.trace(rotation.T) - 1) / 2, -1, 1)))
    assert 0.3 < angles.max() < 1.2


def test_points_of_the_frame_are_where_the_nearby_camera_meets_the_street(pair):
    street = draw_street(jax.random.key(3))
    rotation, translation = np.float64(pair.rotation), np.float64(pair.translation)
    # The nearby camera's place in the world, by the frame's.
    origin = street.camera - street.rotation @ rotation.T @ translation
    v, u = places(3, 200)
    depth = np.float64(pair.frame.depth[v, u])
    seen = depth > 0
    points = street.camera[:, None] + (depth * rays(street, u, v))[:, seen]
    origins = np.broadcast_to(origin[:, None], points.shape)
    found = all_hits(street, origins, points - origins).min(axis=0)
    # 1 is the point itself; what is nearer hides it.
    assert (np.abs(found - 1.0) < 1e-3).mean() > 0.85
    assert found.max() < 1.01


def test_the_nearby_picture_warped_is_the_picture(pair):
    frame, near_image, rotation, translation = pair
    arrays = (frame.depth[None, ..., None], rotation[None], translation[None])
    near, intrinsics = near_image[None].astype(np.float32), jnp.array(CAMERA.intrinsics)
    still = (arrays[0], np.eye(3, dtype=np.float32)[None], 0 * arrays[2])
    errors = []
    for depth, turned, moved in (arrays, still):
        warped = np.asarray(inverse_warp(near, depth, turned, moved, intrinsics))[0]
        seen = (warped.sum(-1) > 0) & (frame.depth > 0) & (frame.depth < 30)
        errors.append(np.abs(warped - frame.image)[seen].mean())
    assert errors[0] < 0.7 * errors[1]


def test_a_scaled_camera_has_the_same_view():
    # The outer corners of the picture, half a pixel from the centres of its corner pixels.
    for camera in (KITTI, CAMERA, KITTI.scaled(400, 300)):
        left, right = (-0.5 - camera.cx) / camera.fx, (camera.width - 0.5 - camera.cx) / camera.fx
        top, bottom = (-0.5 - camera.cy) / camera.fy, (camera.height - 0.5 - camera.cy) / camera.fy
        x, y = np.array([-610.0593, 631.9407]), np.array([-173.354, 201.646])  # KITTI's, in pixels
        np.testing.assert_allclose((left, right, top, bottom), (*x / 721.5377, *y / 721.5377))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "got height 0, width 1242"),
        ({"width": -3}, "got height 375, width -3"),
        ({"fx": 0.0}, "got fx 0.0, fy 721.5377"),
        ({"fy": float("nan")}, "got fx 721.5377, fy nan"),
        ({"cx": float("inf")}, r"got \(inf, 172.854\)"),
    ],
)
def test_impossible_cameras(changes, message):
    with pytest.raises(ValueError, match=message):
        Camera(**changes)


@pytest.mark.parametrize("window", [(49, 160), (48, 161), (0, 4)])
@pytest.mark.parametrize("draw", [render_scene, render_pair])
def test_windows_that_do_not_fit(window, draw):
    with pytest.raises(ValueError, match=f"window of {window[0]}x{window[1]} pixels .* 48x160"):
        draw(jax.random.key(0), CAMERA, LIDAR, window=window)
