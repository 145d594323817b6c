"""Augmentation against NumPy and against the geometry that it must not break."""

from typing import Any

import jax
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.data.augment import Augmentation, augment, crop_anywhere, flip, lidar_beam
from fcfrnet_jax.geometry import inverse_warp
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.training import street_batches

NOTHING = {"flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
K = (40.0, 38.0, 14.25, 10.5)
Example = dict[str, Any]


def make_example(number: int = 0, size: tuple[int, int] = (20, 30)) -> Example:
    """A frame with all maps and a pose; `number` sets the content and the stream's seed."""
    rng = np.random.default_rng(number)
    depth = rng.uniform(5.0, 50.0, (*size, 1)).astype(np.float32)
    angles = rng.normal(0.0, 0.02, 3)
    return {
        "image": rng.integers(0, 256, (*size, 3), np.uint8),
        "near_image": rng.integers(0, 256, (*size, 3), np.uint8),
        "sparse_depth": depth * (rng.random(depth.shape) < 0.5),
        "ground_truth": depth,
        "intrinsics": np.array(K, np.float32),
        "rotation": rotation(angles).astype(np.float32),
        "translation": rng.normal(0.0, 0.5, 3).astype(np.float32),
        "seed": np.array([0, number], np.int64),
    }


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rodrigues' formula."""
    angle = np.linalg.norm(angles)
    x, y, z = angles / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def apply_all(examples: list[Example], op: Any) -> list[Example]:
    """Runs an op as the pipeline does, in a graph."""
    columns = {key: np.stack([example[key] for example in examples]) for key in examples[0]}
    return list(tf.data.Dataset.from_tensor_slices(columns).map(op).as_numpy_iterator())


def apply(example: Example, op: Any) -> Example:
    return apply_all([example], op)[0]


def with_seeds(example: Example, count: int) -> list[Example]:
    return [example | {"seed": np.array([0, number], np.int64)} for number in range(count)]


def changed_all(examples: list[Example], **settings: Any) -> list[Example]:
    return apply_all(examples, augment(Augmentation(**(NOTHING | settings))))


def changed(example: Example, **settings: Any) -> Example:
    return changed_all([example], **settings)[0]


def assert_equal(found: Example, expected: Example) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


# Flip.


def test_a_flip_mirrors_every_map() -> None:
    example = make_example()
    found = changed(example, flip=1.0)
    for key in ("image", "near_image", "sparse_depth", "ground_truth"):
        np.testing.assert_array_equal(found[key], example[key][:, ::-1])


def test_the_devices_mirror_alike() -> None:
    example = make_example()
    arrays = {key: jax.numpy.asarray(value) for key, value in example.items() if key != "seed"}
    found = street_batches.mirror(arrays)
    assert_equal(found | {"seed": example["seed"]}, changed(example, flip=1.0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.tuples(st.floats(-3, 3), st.floats(-2, 2), st.floats(5, 60)))
def test_a_mirrored_scene_is_projected_to_the_mirrored_pixel(number: int, point: tuple) -> None:
    example = make_example(number)
    found = changed(example, flip=1.0)

    def pixels(frame: Example, point: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy = frame["intrinsics"].astype(np.float64)
        near = frame["rotation"] @ point + frame["translation"]
        return np.array([(fx * p[0] / p[2] + cx, fy * p[1] / p[2] + cy) for p in (point, near)])

    before = pixels(example, np.array(point))
    after = pixels(found, np.array(point) * (-1, 1, 1))
    np.testing.assert_allclose(after, np.stack([29 - before[:, 0], before[:, 1]], 1), atol=1e-4)


def test_warping_and_flipping_commute() -> None:
    example = make_example(3)
    found = changed(example, flip=1.0)

    def warped(frame: Example) -> np.ndarray:
        keys = "near_image", "ground_truth", "rotation", "translation", "intrinsics"
        arrays = [frame[key].astype(np.float32)[None] for key in keys]
        return np.asarray(inverse_warp(*arrays))[0]

    assert (warped(example) > 0).mean() > 0.5
    np.testing.assert_allclose(warped(found)[:, ::-1], warped(example), atol=0.05)


def test_the_flip_s_probability() -> None:
    found = changed_all(with_seeds(make_example(), 200), flip=0.3)
    assert 40 < sum(frame["intrinsics"][2] != K[2] for frame in found) < 80


def test_without_a_near_frame_or_an_image() -> None:
    whole = make_example()
    example = {key: whole[key] for key in ("sparse_depth", "intrinsics", "seed")}
    found = apply(example, augment(Augmentation(flip=1.0)))
    np.testing.assert_array_equal(found["sparse_depth"], example["sparse_depth"][:, ::-1])


# Colour.


def blend(image: np.ndarray, other: Any, factor: float) -> np.ndarray:
    return np.clip(np.rint(factor * image + (1 - factor) * other), 0, 255)


def gray(image: np.ndarray) -> np.ndarray:
    return np.rint(image @ [0.299, 0.587, 0.114])[..., None]


def levels_between(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(found.astype(float) - expected).max()


def best_factor(found: np.ndarray, image: np.ndarray, other: Any, limit: float = 0.5) -> float:
    """The factor whose blend is nearest to `found`, by trying them all."""
    factors = np.linspace(1 - limit, 1 + limit, 2001)
    errors = [np.abs(blend(image, other, factor) - found).sum() for factor in factors]
    return float(factors[np.argmin(errors)])


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_one_colour_change_is_a_blend(kind: str) -> None:
    example = make_example(5)
    image, near = (example[key].astype(np.float64) for key in ("image", "near_image"))
    mean = np.rint(gray(image).mean())
    others = {
        "brightness": (0, 0),
        "contrast": (mean, mean),
        "saturation": (gray(image), gray(near)),
    }[kind]
    found = changed(example, **{kind: 0.5})
    factor = best_factor(found["image"], image, others[0])
    assert abs(factor - 1) > 0.02
    # The factor is known to 0.0005, which is 0.13 levels.
    assert levels_between(found["image"], blend(image, others[0], factor)) <= 1
    assert levels_between(found["near_image"], blend(near, others[1], factor)) <= 1


def test_colour_factors_fill_their_range() -> None:
    white = make_example() | {"image": np.full((20, 30, 3), 200, np.uint8)}
    found = changed_all(with_seeds(white, 60), brightness=0.1)
    levels = np.array([frame["image"][0, 0, 0] for frame in found])
    assert 180 <= levels.min() < 184
    assert 216 < levels.max() <= 220


def test_colour_leaves_depth_alone() -> None:
    example = make_example()
    found = changed(example, brightness=0.5, contrast=0.5, saturation=0.5)
    unchanged = {k: v for k, v in example.items() if "image" not in k}
    assert_equal({k: found[k] for k in unchanged}, unchanged)


# LiDAR.


def scanned_wall(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One return a beam and column from a scanner at KITTI's place: depth, its beams, intrinsics.

    The lens is long, so that rounding to pixels hides no beam.
    """
    rng = np.random.default_rng(seed)
    intrinsics = np.array([2000.0, 2000.0, 50.0, 150.0])
    depth, beams = np.zeros((1400, 101, 1), np.float32), np.full((1400, 101, 1), -1)
    elevations = [2 - i / 3 for i in range(32)] + [-8.83 - i / 2 for i in range(32)]
    for beam, elevation in enumerate(np.radians(elevations)):
        azimuth = np.arctan((rng.permutation(101)[:40] - 50) / 2000)
        distance = rng.uniform(4.0, 70.0, 40)
        x = distance * np.cos(elevation) * np.sin(azimuth)
        y = -distance * np.sin(elevation) - 0.08
        z = distance * np.cos(elevation) * np.cos(azimuth) - 0.27
        row, column = np.rint([2000 * y / z + 150, 2000 * x / z + 50]).astype(int)
        seen = (row >= 0) & (row < 1400) & (column >= 0) & (column < 101)
        depth[row[seen], column[seen], 0], beams[row[seen], column[seen], 0] = z[seen], beam
    return depth, beams, intrinsics.astype(np.float32)


def test_beams_are_recognised() -> None:
    depth, beams, intrinsics = scanned_wall(0)
    measured = beams >= 0
    assert len(np.unique(beams[measured])) == 64
    found = lidar_beam(tf.constant(depth), tf.constant(intrinsics)).numpy()
    np.testing.assert_array_equal(found[measured], beams[measured])


@pytest.mark.parametrize("count", [1, 4, 10, 16, 48, 64])
def test_whole_beams_stay_or_go(count: int) -> None:
    depth, beams, intrinsics = scanned_wall(1)
    frame = {"sparse_depth": depth, "intrinsics": intrinsics, "seed": np.array([0, 7], np.int64)}
    found = changed(frame, beam_probability=1.0, beams=(count,))["sparse_depth"]
    kept = {beam: found[beams == beam] for beam in range(64)}
    np.testing.assert_array_equal(found[found > 0], depth[found > 0])
    assert all((values > 0).all() or (values == 0).all() for values in kept.values())
    staying = [beam for beam, values in kept.items() if values.any()]
    assert len(staying) == count
    gaps = np.diff([*staying, staying[0] + 64])
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.slow
def test_beams_of_a_rendered_street_go_in_rows() -> None:
    # A scanner whose beams are where they are looked for.
    elevations = (*(2.0 - np.arange(32) / 3.0), *(-8.83 - np.arange(32) / 2.0))
    place = {"position": (0.0, -0.08, -0.27), "tilt": (0.0, 0.0, 0.0), "elevation_error": 0.0}
    lidar = Lidar(tuple(map(float, elevations)), (0.0,) * 64, **place)
    frame = render_scene(jax.random.key(0), KITTI, lidar)
    fx, fy, cx, cy = KITTI.intrinsics
    example = {
        "sparse_depth": np.asarray(frame.sparse_depth)[..., None],
        "intrinsics": np.array([fx, fy, cx, cy], np.float32),
        "seed": np.array([0, 1], np.int64),
    }
    found = changed(example, beam_probability=1.0, beams=(8,))["sparse_depth"]
    row, column, _ = np.nonzero(example["sparse_depth"])
    z = example["sparse_depth"][row, column, 0].astype(np.float64)
    x, y = (column - cx) / fx * z, (row - cy) / fy * z
    elevation = np.degrees(np.arctan2(-y - 0.08, np.hypot(x, z + 0.27)))
    # Between the returns of two beams there is a gap.
    order = np.argsort(elevation)
    beams = np.split(order, np.flatnonzero(np.diff(elevation[order]) > 0.1) + 1)
    shares = np.array([(found[row[beam], column[beam], 0] > 0).mean() for beam in beams])
    assert len(beams) > 40
    assert set(shares) == {0.0, 1.0}
    assert 0.08 < shares.mean() < 0.17


def test_beams_are_thinned_with_a_probability() -> None:
    depth, _, intrinsics = scanned_wall(2)
    frame = {"sparse_depth": depth, "intrinsics": intrinsics}
    found = changed_all(with_seeds(frame, 40), beam_probability=0.5, beams=(32, 8))
    shares = [(f["sparse_depth"] > 0).sum() / (depth > 0).sum() for f in found]
    counts = np.histogram(shares, [0.0, 0.3, 0.7, 1.1])[0]
    assert (counts >= (3, 3, 12)).all()


def test_points_are_left_out_up_to_a_share() -> None:
    frames = [make_example(number, (60, 90)) for number in range(30)]
    shares = []
    for found, frame in zip(changed_all(frames, point_dropout=0.6), frames, strict=True):
        depth, kept = frame["sparse_depth"], found["sparse_depth"] > 0
        np.testing.assert_array_equal(found["sparse_depth"], depth * kept)
        shares.append(1 - kept.sum() / (depth > 0).sum())
    assert min(shares) < 0.1
    assert 0.5 < max(shares) < 0.65


def test_ground_truth_is_never_thinned() -> None:
    example = make_example()
    found = changed(example, point_dropout=1.0, beam_probability=1.0, beams=(1,))
    np.testing.assert_array_equal(found["ground_truth"], example["ground_truth"])


# The crop.


def test_a_crop_anywhere() -> None:
    example = make_example()
    example["ground_truth"] = np.arange(600, dtype=np.float32).reshape(20, 30, 1)
    places = set()
    for found in apply_all(with_seeds(example, 60), crop_anywhere((17, 28))):
        top, left = divmod(int(found["ground_truth"][0, 0, 0]), 30)
        window = np.s_[top : top + 17, left : left + 28]
        for key in ("image", "near_image", "sparse_depth", "ground_truth"):
            np.testing.assert_array_equal(found[key], example[key][window])
        np.testing.assert_allclose(found["intrinsics"], (K[0], K[1], K[2] - left, K[3] - top))
        places.add((top, left))
    assert places == {(top, left) for top in range(4) for left in range(3)}


# Together.


def test_the_seed_alone_decides() -> None:
    everything = augment(Augmentation(0.5, 0.2, 0.2, 0.2, True, 0.5, (32, 16), 0.5))
    example = make_example(4)
    first, again = apply(example, everything), apply(example, everything)
    other = apply(example | {"seed": np.array([0, 5], np.int64)}, everything)
    assert_equal(again, first)
    assert (other["image"] != first["image"]).any()
    assert (other["sparse_depth"] != first["sparse_depth"]).any()


def test_one_setting_does_not_change_another_s_numbers() -> None:
    example = make_example(6)
    alone = changed(example, point_dropout=0.5)["sparse_depth"]
    both = changed(example, point_dropout=0.5, brightness=0.3, contrast=0.1)["sparse_depth"]
    np.testing.assert_array_equal(alone, both)


def test_nothing_is_changed_by_default_zero() -> None:
    example = make_example()
    assert_equal(changed(example), example)
    assert_equal(apply(example, flip(0.0)), example)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"flip": 1.5}, "flip should be between 0 and 1, got 1.5"),
        ({"brightness": -0.1}, "brightness should be between 0 and 1"),
        ({"point_dropout": float("nan")}, "point_dropout should be between 0 and 1, got nan"),
        ({"beams": (0,), "beam_probability": 1.0}, r"beams should be between 1 and 64, got \(0,\)"),
        ({"beams": (8,)}, "beam_probability and beams go together, got 0.0"),
        ({"beam_probability": 0.5}, "beam_probability and beams go together, got 0.5"),
    ],
)
def test_impossible_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**settings)
