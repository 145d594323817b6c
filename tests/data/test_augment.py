"""Augmentation against NumPy, Pillow and the geometry that it must preserve."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.transform
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from fcfrnet_jax.data.augment import Augmentation, augment, enlarge_and_rotate, mirror, recolour
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.training.warp import inverse_warp
from tests.sensors.scan_points import through_long_lens

PLAIN = Augmentation(flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0)
K = (40.0, 38.0, 14.25, 10.5)
Example = dict[str, Any]
mirrored_of = jax.jit(mirror)
moved_of = jax.jit(enlarge_and_rotate)


def make_example(number: int = 0, size: tuple[int, int] = (20, 30)) -> Example:
    """A random frame with all maps and a pose; `number` is the seed."""
    rng = np.random.default_rng(number)
    depth = rng.uniform(5.0, 50.0, (*size, 1)).astype(np.float32)
    rotation = scipy.spatial.transform.Rotation.from_rotvec(rng.normal(0.0, 0.02, 3))
    return {
        "image": rng.integers(0, 256, (*size, 3), np.uint8),
        "near_image": rng.integers(0, 256, (*size, 3), np.uint8),
        "sparse_depth": depth * (rng.random(depth.shape) < 0.5),
        "ground_truth": depth,
        "intrinsics": np.array(K, np.float32),
        "rotation": rotation.as_matrix().astype(np.float32),
        "translation": rng.normal(0.0, 0.5, 3).astype(np.float32),
    }


@functools.cache
def augmentation(wanted: Augmentation) -> Callable[[jax.Array, Example], Example]:
    return jax.jit(jax.vmap(lambda key, example: augment(key, example, wanted), (0, None)))


def changed_all(example: Example, count: int, **changes: Any) -> dict[str, np.ndarray]:
    """The example augmented with `count` keys: arrays `[count, ...]`."""
    keys = jax.random.split(jax.random.key(0), count)
    return jax.tree.map(np.asarray, augmentation(replace(PLAIN, **changes))(keys, example))


def changed(example: Example, **changes: Any) -> Example:
    return {name: leaf[0] for name, leaf in changed_all(example, 1, **changes).items()}


def assert_equal(found: Example, expected: Example) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


# Mirroring.


def test_mirroring_reverses_every_map() -> None:
    example = make_example()
    found = mirrored_of(example)
    for key in ("image", "near_image", "sparse_depth", "ground_truth"):
        np.testing.assert_array_equal(found[key], example[key][:, ::-1])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.tuples(st.floats(-3, 3), st.floats(-2, 2), st.floats(5, 60)))
def test_a_mirrored_point_is_projected_to_the_mirrored_pixel(number: int, point: tuple) -> None:
    example = make_example(number)
    found = jax.tree.map(np.asarray, mirrored_of(example))

    def pixels(frame: Example, point: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy = frame["intrinsics"].astype(np.float64)
        near = frame["rotation"] @ point + frame["translation"]
        return np.array([(fx * p[0] / p[2] + cx, fy * p[1] / p[2] + cy) for p in (point, near)])

    before = pixels(example, np.array(point))
    after = pixels(found, np.array(point) * (-1, 1, 1))
    np.testing.assert_allclose(after, np.stack([29 - before[:, 0], before[:, 1]], 1), atol=1e-4)


def test_warping_and_mirroring_commute() -> None:
    example = make_example(3)
    warp = jax.jit(inverse_warp)

    def warped(frame: Example) -> np.ndarray:
        keys = "near_image", "ground_truth", "rotation", "translation", "intrinsics"
        return np.asarray(warp(*(np.float32(frame[key])[None] for key in keys)))[0]

    assert (warped(example) > 0).mean() > 0.5
    np.testing.assert_allclose(warped(mirrored_of(example))[:, ::-1], warped(example), atol=0.05)


def test_flip_is_a_probability() -> None:
    example = make_example()
    found = changed_all(example, 200, flip=0.3)
    flipped = found["intrinsics"][:, 2] != K[2]
    assert 40 < flipped.sum() < 80
    for key, value in mirrored_of(example).items():
        expected = np.where(flipped.reshape(-1, *[1] * value.ndim), value, example[key])
        np.testing.assert_array_equal(found[key], expected)


def test_only_sparse_depth_and_intrinsics_are_required() -> None:
    whole = make_example()
    example = {key: whole[key] for key in ("sparse_depth", "intrinsics")}
    found = changed(example, flip=1.0, brightness=0.1)
    np.testing.assert_array_equal(found["sparse_depth"], example["sparse_depth"][:, ::-1])


# Scale and rotation.


def moved_by_loops(values: np.ndarray, scale: float, angle: float, *, nearest: bool) -> np.ndarray:
    """A map `[H, W, C]`, enlarged about its centre and rotated clockwise, in float64."""
    height, width, _ = values.shape
    middle = np.array([width - 1, height - 1]) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    found = np.zeros(values.shape)
    for row, column in np.ndindex(height, width):
        x, y = turn @ (np.array([column, row]) - middle) / scale + middle
        if not (-0.5 < x < width - 0.5 and -0.5 < y < height - 0.5):
            continue
        if nearest:
            found[row, column] = values[int(np.rint(y)), int(np.rint(x))]
            continue
        x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        square = values[top : top + 2, left : left + 2].astype(np.float64)
        across = square[:, 0] * (left + 1 - x) + square[:, 1] * (x - left)
        found[row, column] = across[0] * (top + 1 - y) + across[1] * (y - top)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "degrees"), [(1.0, 0.0), (1.37, 3.0), (1.0, -5.0), (2.1, 40.0)])
def test_maps_are_enlarged_and_rotated(scale: float, degrees: float) -> None:
    example, angle = make_example(2), np.radians(degrees)
    found = jax.tree.map(np.asarray, moved_of(example, scale, angle))
    if (scale, degrees) == (1.0, 0.0):
        assert_equal(found, example)
    for name in ("sparse_depth", "ground_truth"):
        expected = moved_by_loops(example[name], scale, angle, nearest=True) / scale
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
    for name in ("image", "near_image"):
        expected = moved_by_loops(example[name], scale, angle, nearest=False)
        assert found[name].dtype == np.uint8
        assert np.abs(found[name] - expected).max() < 0.502


@pytest.mark.slow
def test_a_point_of_the_smaller_scene_is_projected_to_the_moved_pixel() -> None:
    """In both cameras, with the new calibration and pose."""
    example, scale, angle = make_example(5), 1.4, np.radians(25.0)
    example["intrinsics"][1] = example["intrinsics"][0]
    found = moved_of(example, scale, angle)
    roll = scipy.spatial.transform.Rotation.from_euler("z", angle).as_matrix()
    points = np.random.default_rng(0).uniform((-3, -2, 5), (3, 2, 60), (50, 3))

    def pixels(frame: Example, points: np.ndarray) -> np.ndarray:
        f, _, cx, cy = np.asarray(frame["intrinsics"], np.float64)
        near = points @ np.asarray(frame["rotation"]).T + np.asarray(frame["translation"])
        both = np.stack([points, near])
        return f * both[..., :2] / both[..., 2:] + (cx, cy)

    middle = np.array([14.5, 9.5])
    expected = scale * (pixels(example, points) - middle) @ roll[:2, :2].T + middle
    np.testing.assert_allclose(pixels(found, points @ roll.T / scale), expected, atol=1e-3)


@pytest.mark.slow
def test_scales_and_angles_fill_their_ranges() -> None:
    """The points are those of the enlarged ground truth."""
    example = make_example()
    found = changed_all(example, 200, scale=1.5, rotation=5.0, points=30)
    scales = found["intrinsics"][:, 0] / K[0]
    # The roll is what turns the translation in the image.
    x, y = (found["translation"] * scales[:, None])[:, :2].T
    was = example["translation"]
    angles = np.degrees(np.arctan2(y, x) - np.arctan2(was[1], was[0]))
    for values, low, high in ((scales, 1.0, 1.5), (angles, -5.0, 5.0)):
        assert low - 1e-4 <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-4
    assert abs(np.corrcoef(scales, angles)[0, 1]) < 0.2
    drawn = found["sparse_depth"] > 0
    assert (drawn.sum(axis=(1, 2, 3)) == 30).all()
    np.testing.assert_array_equal(found["sparse_depth"][drawn], found["ground_truth"][drawn])


# Colour.


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(0.5, 1.5, width=32)] * 3), st.integers(0, 99))
def test_recolour_matches_pillow(factors: tuple, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    expected = Image.fromarray(image)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhancer, factor in zip(enhancers, factors, strict=True):
        expected = enhancer(expected).enhance(factor)
    found = jax.jit(recolour)(image[None], np.float32(factors))[0]
    # Pillow truncates where `recolour` rounds, three times.
    assert np.abs(np.asarray(found, int) - np.asarray(expected, int)).max() <= 4


def test_the_nearby_image_gets_the_same_colours() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    factors = jnp.array([1.2, 0.7, 1.1])
    pair = recolour(jnp.array([images[0], images[0]]), factors)
    np.testing.assert_array_equal(pair[0], pair[1])
    # The mean gray of the contrast is that of the first image.
    np.testing.assert_array_equal(recolour(jnp.array(images), factors)[0], pair[0])


def test_colour_factors_fill_their_range() -> None:
    image = np.full((20, 30, 3), 200, np.uint8)
    found = changed_all(make_example() | {"image": image, "near_image": image}, 60, brightness=0.1)
    np.testing.assert_array_equal(found["image"], found["near_image"])
    levels = found["image"][:, 0, 0, 0]
    assert 180 <= levels.min() < 184
    assert 216 < levels.max() <= 220


def test_colour_leaves_depth_alone() -> None:
    example = make_example()
    found = changed(example, brightness=0.5, contrast=0.5, saturation=0.5)
    unchanged = {key: value for key, value in example.items() if "image" not in key}
    assert_equal({key: found[key] for key in unchanged}, unchanged)
    assert (found["image"] != example["image"]).mean() > 0.5


# LiDAR.


@pytest.fixture(scope="module")
def thinned() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scan's depth, its beams, and the depth of 60 keys that leave out beams."""
    depth, beams, intrinsics = through_long_lens()
    example = {"sparse_depth": depth, "intrinsics": intrinsics}
    found = changed_all(example, 60, beam_probability=0.7, beams=(48, 10, 1))
    return depth, beams, found["sparse_depth"]


def kept_beams(beams: np.ndarray, depth: np.ndarray) -> list[int]:
    shares = np.array([(depth[beams == beam] > 0).mean() for beam in range(64)])
    assert set(shares) <= {0.0, 1.0}
    return np.flatnonzero(shares).tolist()


def test_whole_beams_are_left_out_evenly(thinned: tuple) -> None:
    depth, beams, found = thinned
    for one in found:
        np.testing.assert_array_equal(one[one > 0], depth[one > 0])
        kept = kept_beams(beams, one)
        assert len(kept) in (64, 48, 10, 1)
        gaps = np.diff([*kept, kept[0] + 64])
        assert gaps.max() - gaps.min() <= 1


def test_beams_are_left_out_with_a_probability(thinned: tuple) -> None:
    _, beams, found = thinned
    counts = [len(kept_beams(beams, one)) for one in found]
    # 18 of 60 frames keep all beams on average, and 14 have each of the three numbers.
    assert all(5 <= counts.count(number) <= 30 for number in (64, 48, 10, 1))


def test_the_kept_beams_differ(thinned: tuple) -> None:
    _, beams, found = thinned
    single = [kept[0] for one in found if len(kept := kept_beams(beams, one)) == 1]
    assert len(set(single)) > len(single) / 2


@pytest.mark.nightly
def test_beams_of_a_rendered_street_are_left_out_in_rows() -> None:
    elevations = (*(2.0 - np.arange(32) / 3.0), *(-8.83 - np.arange(32) / 2.0))
    place = {"position": (0.0, -0.08, -0.27), "tilt": (0.0, 0.0, 0.0), "elevation_error": 0.0}
    lidar = Lidar(tuple(map(float, elevations)), (0.0,) * 64, **place)
    frame = render_scene(jax.random.key(0), KITTI, lidar)
    fx, fy, cx, cy = KITTI.intrinsics
    depth = np.asarray(frame.sparse_depth)[..., None]
    example = {"sparse_depth": depth, "intrinsics": np.array([fx, fy, cx, cy], np.float32)}
    wanted = replace(PLAIN, beam_probability=1.0, beams=(8,))
    found = np.asarray(augment(jax.random.key(0), example, wanted, lidar)["sparse_depth"])
    row, column, _ = np.nonzero(depth)
    z = depth[row, column, 0].astype(np.float64)
    x, y = (column - cx) / fx * z, (row - cy) / fy * z
    elevation = np.degrees(np.arctan2(-y - 0.08, np.hypot(x, z + 0.27)))
    # Between the returns of two beams there is a gap.
    order = np.argsort(elevation)
    beams = np.split(order, np.flatnonzero(np.diff(elevation[order]) > 0.1) + 1)
    shares = np.array([(found[row[beam], column[beam], 0] > 0).mean() for beam in beams])
    assert len(beams) > 40
    assert set(shares) == {0.0, 1.0}
    assert 0.08 < shares.mean() < 0.17


def test_points_are_left_out_up_to_a_share() -> None:
    example = make_example(size=(60, 90))
    depth = example["sparse_depth"]
    found = changed_all(example, 30, point_dropout=0.6)["sparse_depth"]
    np.testing.assert_array_equal(found, np.where(found > 0, depth, 0.0))
    shares = 1 - (found > 0).sum((1, 2, 3)) / (depth > 0).sum()
    assert shares.min() < 0.1
    assert 0.5 < shares.max() < 0.65


def test_points_are_drawn_from_the_ground_truth() -> None:
    example = make_example()
    example["ground_truth"][:, :10] = 0.0
    found = changed_all(example, 200, points=40)["sparse_depth"]
    kept = found > 0
    assert (kept.sum(axis=(1, 2, 3)) == 40).all()
    truth = np.broadcast_to(example["ground_truth"], found.shape)
    np.testing.assert_array_equal(found[kept], truth[kept])
    # Each of the 400 pixels with a depth is drawn in a tenth of the examples.
    share = kept.mean(axis=0)[:, 10:]
    assert abs(share - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 200)
    assert not kept[:, :, :10].any()


def test_fewer_points_than_wanted() -> None:
    example = make_example()
    example["ground_truth"][2:] = 0.0
    found = changed(example, points=1000)["sparse_depth"]
    np.testing.assert_array_equal(found, example["ground_truth"])


def test_points_are_drawn_before_they_are_left_out_and_flipped() -> None:
    example = make_example()
    counts = changed_all(example, 30, points=200, point_dropout=1.0)["sparse_depth"] > 0
    assert len(np.unique(counts.sum(axis=(1, 2, 3)))) > 20
    plain = changed(example, points=50)["sparse_depth"]
    flipped = changed(example, points=50, flip=1.0)["sparse_depth"]
    np.testing.assert_array_equal(flipped, plain[:, ::-1])


def test_ground_truth_keeps_all_points() -> None:
    example = make_example()
    found = changed(example, point_dropout=1.0, beam_probability=1.0, beams=(1,))
    np.testing.assert_array_equal(found["ground_truth"], example["ground_truth"])
    assert (found["sparse_depth"] > 0).sum() < 0.5 * (example["sparse_depth"] > 0).sum()


# Randomness.


def test_the_key_determines_everything() -> None:
    example = make_example(4)
    everything = Augmentation(0.5, 0.2, 0.2, 0.2, True, 0.5, (32, 16), 0.5)
    keys = jax.random.split(jax.random.key(0), 3)
    first, again = (augmentation(everything)(keys, example) for _ in range(2))
    assert_equal(again, first)
    # With the keys in another order, every key gives what it gave before.
    assert_equal(
        augmentation(everything)(keys[::-1], example),
        jax.tree.map(lambda leaf: leaf[::-1], first),
    )
    for name in ("image", "sparse_depth"):
        assert len({np.asarray(leaf).tobytes() for leaf in first[name]}) == 3


def test_settings_do_not_influence_each_other() -> None:
    example = make_example(6)
    alone = changed(example, point_dropout=0.5)["sparse_depth"]
    both = changed(example, point_dropout=0.5, brightness=0.3, contrast=0.1)["sparse_depth"]
    np.testing.assert_array_equal(alone, both)


def test_zero_settings_change_nothing() -> None:
    example = make_example()
    assert_equal(changed(example), example)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip": 1.5}, "flip must be between 0 and 1, got 1.5"),
        ({"brightness": -0.1}, "brightness must be between 0 and 1, got -0.1"),
        ({"point_dropout": float("nan")}, "point_dropout must be between 0 and 1, got nan"),
        ({"beams": (0,), "beam_probability": 1.0}, r"beams must be between 1 and 64, got \(0,\)"),
        ({"points": -1}, "points must not be negative, got -1"),
        ({"beams": (8,)}, r"must be given together, got 0.0 and \(8,\)"),
        ({"beam_probability": 0.5}, r"must be given together, got 0.5 and \(\)"),
        ({"scale": 0.9}, "scale must be at least 1 .*, got 0.9 and 0.0"),
        ({"rotation": -1.0}, "rotation between 0 and 180, got 1.0 and -1.0"),
        (
            {"scale": 1.5, "beams": (8,), "beam_probability": 0.5},
            "with beams, scale must be 1 and rotation 0, got 1.5 and 0.0",
        ),
    ],
)
def test_invalid_settings_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**changes)


def test_the_number_of_beams_is_that_of_the_default_scanner() -> None:
    assert Augmentation(beams=(len(HDL64.elevations),), beam_probability=1.0).beams == (64,)
