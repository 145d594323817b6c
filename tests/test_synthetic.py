"""Rendered streets: their depth against another ray caster, their scans and pictures."""

import cv2
import jax
import numpy as np
import pytest

from fcfrnet_jax.data.street import CAMERA_HEIGHT, make_street
from fcfrnet_jax.data.synthetic import render_scene
from fcfrnet_jax.files import read_depth

SIZE = (48, 160)
INTRINSICS = np.array([[93.0, 0.0, 79.0], [0.0, 92.0, 22.0], [0.0, 0.0, 1.0]])


def turn(vector, yaw):
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) @ vector


def hits_box(origin, direction, half):
    for axis in range(3):
        for face in (-half[axis], half[axis]):
            t = (face - origin[axis]) / direction[axis]
            others = np.delete(np.abs(origin + t * direction) - half, axis)
            if (others <= 0).all():
                yield t


def hits_round(origin, direction, half, axes):
    o, d = (origin / half)[axes], (direction / half)[axes]
    roots = np.roots([d @ d, 2 * o @ d, o @ o - 1])
    if np.isreal(roots).all():
        t = roots.min()
        if len(axes) == 3 or abs(origin[1] + t * direction[1]) < half[1]:
            yield t


@np.errstate(divide="ignore", invalid="ignore")
def cast(street, origin, direction):
    """The distance to the first solid in float64, by other formulas than the renderer's."""
    nearest = np.inf
    for shape in ("boxes", "ellipsoids", "cylinders"):
        solids = getattr(street, shape)
        for centre, half, yaw in zip(solids.centre, solids.half, solids.yaw, strict=True):
            o, d = turn(origin - centre, -yaw), turn(direction, -yaw)
            if shape == "boxes":
                hits = hits_box(o, d, half)
            else:
                hits = hits_round(o, d, half, [0, 1, 2] if shape == "ellipsoids" else [0, 2])
            nearest = min([nearest, *(t for t in hits if t > 0)])
    return nearest


def render(seed, **settings):
    frame = render_scene(jax.random.key(seed), 0.0, *SIZE, INTRINSICS, **settings)
    return jax.tree.map(np.asarray, frame)


@pytest.fixture(scope="module")
def frames():
    return [render(seed) for seed in range(4)]


@pytest.mark.parametrize("seed", [0, 1])
def test_depth_is_what_another_ray_caster_finds(seed, frames):
    street = jax.jit(make_street)(jax.random.key(seed))
    street = jax.tree.map(lambda array: np.asarray(array, np.float64), street)
    rng = np.random.default_rng(seed)
    found, expected = [], []
    for v, u in zip(rng.integers(SIZE[0], size=150), rng.integers(SIZE[1], size=150), strict=True):
        ray = turn(np.linalg.inv(INTRINSICS) @ [u, v, 1.0], street.heading)
        distance = cast(street, street.camera, ray)
        found.append(frames[seed].depth[v, u])
        expected.append(distance if np.isfinite(distance) else 0.0)
    close = np.isclose(found, expected, rtol=1e-3, atol=1e-3)
    # A ray that just touches an edge may fall on either side of it in float32.
    assert close.mean() > 0.98
    assert np.count_nonzero(expected) > 75


def test_flat_road_has_the_depth_of_a_plane(frames):
    v, u = SIZE[0] - 1, 79
    plane = CAMERA_HEIGHT * INTRINSICS[1, 1] / (v - INTRINSICS[1, 2])
    assert frames[0].depth[v, u] == pytest.approx(plane, rel=1e-5)


def test_sparse_depth_agrees_with_depth_away_from_edges(frames):
    for frame in frames:
        span = cv2.dilate(frame.depth, np.ones((3, 3))) - cv2.erode(frame.depth, np.ones((3, 3)))
        inner = (frame.sparse_depth > 0) & (span < 0.04 * frame.depth)
        error = np.abs(frame.sparse_depth - frame.depth)[inner]
        # Half a pixel of the surface's slope and five standard deviations of the noise; a few rays
        # hit lamp posts that are thinner than a pixel.
        assert (error < 0.5 * span[inner] + 0.1).mean() > 0.97
        assert inner.sum() > 50


def test_ground_truth_is_the_true_depth_within_the_scanners_range(frames):
    for frame in frames:
        hit = frame.ground_truth > 0
        np.testing.assert_array_equal(frame.ground_truth[hit], frame.depth[hit])
        assert frame.ground_truth.max() < 90
        assert not hit[: SIZE[0] // 4].any()


def test_shares_of_valid_pixels_are_those_of_the_benchmark(frames):
    sparse = np.mean([frame.sparse_depth > 0 for frame in frames])
    truth = np.mean([frame.ground_truth > 0 for frame in frames])
    assert 0.03 < sparse < 0.06
    assert 0.16 < truth < 0.30


def test_full_size_shares_match_real_frames(kitti_real):
    frame = render_scene(jax.random.key(0))
    for name, kind in (("sparse_depth", "velodyne_raw"), ("ground_truth", "groundtruth")):
        paths = kitti_real.glob(f"val/*/proj_depth/{kind}/image_02/*.png")
        real = np.mean([np.mean(read_depth(path) > 0) for path in paths])
        assert np.mean(getattr(frame, name) > 0) == pytest.approx(real, rel=0.25)


def test_pictures_are_neither_dark_nor_flat_and_differ_by_key(frames):
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert 60 < frame.image.mean() < 170
        assert frame.image.std() > 30
    assert np.abs(frames[0].image.astype(float) - frames[1].image).mean() > 10


def test_the_same_key_gives_the_same_frame(frames):
    for again, first in zip(render(2), frames[2], strict=True):
        np.testing.assert_array_equal(again, first)


def test_driving_on_moves_the_camera_and_nothing_else():
    key = jax.random.key(3)
    draw = jax.jit(make_street)
    here, ahead = draw(key, 0.0), draw(key, 2.0)
    np.testing.assert_array_equal(here.boxes.centre, ahead.boxes.centre)
    np.testing.assert_allclose(ahead.camera - here.camera, [0, 0, 2.0])
