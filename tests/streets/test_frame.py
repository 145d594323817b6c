"""Rendered frames: depth against another ray caster, windows, pairs."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.frame import render_pair, render_scene
from fcfrnet_jax.training.warp import inverse_warp
from tests.numpy_caster import all_hits
from tests.streets.conftest import CAMERA, LIDAR, SIZE, pick

WINDOW = (24, 60)


def rays(street, u, v):
    """World directions `[3, R]` of the pixels, with length 1 along the optical axis."""
    level = np.array([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones(len(u))])
    return np.asarray(street.rotation, np.float64) @ level


def places(seed, count):
    """Rows and columns of some pixels."""
    rng = np.random.default_rng(seed)
    return rng.integers(SIZE[0], size=count), rng.integers(SIZE[1], size=count)


@pytest.mark.parametrize("seed", [0, 1])
def test_depth_is_what_another_ray_caster_finds(seed, frames, streets):
    street = pick(streets, seed)
    v, u = places(seed, 400)
    expected = all_hits(street, street.camera[:, None], rays(street, u, v)).min(axis=0)
    expected[np.isinf(expected)] = 0.0
    close = np.isclose(frames[seed].depth[v, u], expected, rtol=1e-3, atol=1e-3)
    # In float32, a ray that touches an edge may fall on either side of it.
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
    # The others are on leaves, windows, and posts thinner than a pixel.
    assert np.mean(close) > 0.8
    assert len(close) > 200


def test_images_have_contrast_and_differ_between_keys(frames):
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert 25 < frame.image.mean() < 230
        assert frame.image.std() > 20
    assert np.abs(frames[0].image.astype(float) - frames[1].image).mean() > 10


def test_the_same_key_gives_the_same_frame(frames):
    again = render_scene(jax.random.key(2), CAMERA, LIDAR, 0.0)
    jax.tree.map(np.testing.assert_array_equal, again, frames[2])


@pytest.mark.parametrize("window", [(49, 160), (48, 161), (0, 4)])
@pytest.mark.parametrize("draw", [render_scene, render_pair])
def test_windows_that_do_not_fit_are_refused(window, draw):
    with pytest.raises(ValueError, match=f"window of {window[0]}x{window[1]} pixels .* 48x160"):
        draw(jax.random.key(0), CAMERA, LIDAR, window=window)


@pytest.mark.nightly
@pytest.mark.parametrize("corner", [(0, 0), (11, 57), (24, 100)])
def test_a_window_has_the_depth_of_the_whole_image(corner, frames):
    top, left = corner
    part = render_scene(jax.random.key(1), CAMERA, LIDAR, window=WINDOW, corner=corner)
    inside = np.s_[top : top + WINDOW[0], left : left + WINDOW[1]]
    close = np.isclose(part.depth, frames[1].depth[inside], rtol=1e-4)
    assert close.mean() > 0.998
    # Images differ in their noise, and along the border of the window in their blur.
    middle = np.s_[2:-2, 2:-2]
    whole = frames[1].image[inside].astype(float)
    assert np.abs(part.image - whole)[middle].mean() < 8
    assert np.corrcoef(part.image[middle].ravel(), whole[middle].ravel())[0, 1] > 0.97


@pytest.mark.nightly
def test_a_batch_on_many_devices_gives_the_same_frames():
    keys, corners = jax.random.split(jax.random.key(0), 8), np.arange(16).reshape(8, 1, 2)

    def view(key, corner):
        return render_scene(key, CAMERA, LIDAR, 0.0, WINDOW, (corner[0], corner[1]))

    spread = jax.pmap(jax.vmap(view))(keys[:, None], corners)
    for number in range(8):
        corner = tuple(corners[number, 0].tolist())
        alone = render_scene(keys[number], CAMERA, LIDAR, window=WINDOW, corner=corner)
        for name, one in alone._asdict().items():
            many = np.asarray(getattr(spread, name)[number, 0], float)
            # Another program rounds differently: at an edge, or to the next gray level.
            close = np.isclose(many, np.asarray(one, float), rtol=1e-4, atol=one.ndim == 3)
            assert close.mean() > 0.995, name


@pytest.fixture(scope="module")
def pairs():
    keys = map(jax.random.key, range(20))
    return [jax.tree.map(np.asarray, render_pair(key, CAMERA, LIDAR)) for key in keys]


@pytest.fixture(scope="module")
def pair(pairs):
    return pairs[3]


@pytest.mark.nightly
def test_the_frame_of_a_pair_is_that_rendered_alone(pairs, frames):
    for name, alone in frames[1]._asdict().items():
        ours = getattr(pairs[1].frame, name).astype(float)
        close = np.isclose(ours, alone.astype(float), rtol=1e-4, atol=alone.ndim == 3)
        assert close.mean() > 0.995, name


@pytest.mark.nightly
def test_the_pose_of_a_pair_is_the_motion_of_a_car(pairs):
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


@pytest.mark.nightly
def test_the_nearby_camera_sees_the_points_of_the_frame(pair, streets):
    street = pick(streets, 3)
    rotation, translation = np.float64(pair.rotation), np.float64(pair.translation)
    # The position of the nearby camera in the world.
    origin = street.camera - street.rotation @ rotation.T @ translation
    v, u = places(3, 200)
    depth = np.float64(pair.frame.depth[v, u])
    seen = depth > 0
    points = street.camera[:, None] + (depth * rays(street, u, v))[:, seen]
    origins = np.broadcast_to(origin[:, None], points.shape)
    found = all_hits(street, origins, points - origins).min(axis=0)
    # 1 is the point itself; below 1, a nearer solid hides it.
    assert (np.abs(found - 1.0) < 1e-3).mean() > 0.85
    assert found.max() < 1.01


@pytest.mark.nightly
def test_the_nearby_image_warped_is_the_image(pair):
    frame, near_image, rotation, translation = pair
    arrays = (frame.depth[None, ..., None], rotation[None], translation[None])
    near, intrinsics = near_image[None].astype(np.float32), jnp.array(CAMERA.intrinsics)
    still = (arrays[0], np.eye(3, dtype=np.float32)[None], 0 * arrays[2])
    warp, errors = jax.jit(inverse_warp), []
    for depth, turned, moved in (arrays, still):
        warped = np.asarray(warp(near, depth, turned, moved, intrinsics))[0]
        seen = (warped.sum(-1) > 0) & (frame.depth > 0) & (frame.depth < 30)
        errors.append(np.abs(warped - frame.image)[seen].mean())
    assert errors[0] < 0.7 * errors[1]
