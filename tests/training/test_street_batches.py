"""The stream of rendered training batches: where it is cut, how it is varied, who makes it."""

from dataclasses import replace

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.picture import variation
from fcfrnet_jax.training import street_batches as batches
from fcfrnet_jax.training.street_batches import Streets, scene_batches, street_example
from fcfrnet_jax.training.update import Objective, initial_state
from tests import numbered_scenes
from tests.tiny_networks import COARSE, variables_of
from tests.training.test_update import SCHEDULE, SGD

PLAIN = Augmentation(flip=0.0, brightness=0.0, contrast=0.0, saturation=0.0)
CAMERA, LIDAR = scaled_rig((40, 120))
STREETS = Streets(3, (32, 64), replace(PLAIN, random_crop=True), camera=CAMERA, lidar=LIDAR)


@pytest.fixture
def numbered(monkeypatch):
    numbered_scenes.put_in_place(monkeypatch)


def unsharded(stream):
    positions, batch = next(stream)
    return positions, parallel.unshard(batch)


def assert_equal(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


VARIED = replace(STREETS, augmentation=Augmentation(random_crop=True, point_dropout=0.3))


def on_one_device(positions):
    """The varied examples."""
    render = jax.jit(lambda some: jax.lax.map(lambda p: street_example(VARIED, p), some))
    return render(positions.astype(np.uint32))


def test_eight_devices_equal_one(numbered):
    positions, batch = unsharded(scene_batches(VARIED, batch_size=16, first_step=3))
    np.testing.assert_array_equal(positions, np.arange(48, 64))
    alone = on_one_device(positions)
    assert batch.keys() == alone.keys()
    for name, leaf in alone.items():
        np.testing.assert_allclose(batch[name], leaf, rtol=1e-6)


@pytest.mark.slow
def test_eight_devices_equal_one_in_rendered_streets():
    positions, batch = unsharded(scene_batches(VARIED, batch_size=16, first_step=3))
    alone = on_one_device(positions)
    # Another program rounds otherwise, which may move a point over the edge of a pixel.
    for name, step in (("image", 1), ("sparse_depth", 1e-3), ("ground_truth", 1e-3)):
        ours, theirs = (np.asarray(maps[name], np.float32) for maps in (batch, alone))
        assert (np.abs(ours - theirs) <= step).mean() > 0.999, name
    assert len({image.tobytes() for image in batch["image"]}) == 16
    assert batch["image"].std() > 10
    for name in ("sparse_depth", "ground_truth"):
        assert 0.005 < (batch[name] > 0).mean() < 0.9, name


def test_a_position_tells_all(numbered):
    """Opened in the middle, the stream is what it would have become."""
    stream = scene_batches(STREETS, batch_size=8)
    for _ in range(2):
        next(stream)
    assert_equal(unsharded(stream), unsharded(scene_batches(STREETS, batch_size=8, first_step=2)))


def test_another_seed_is_another_stream(numbered):
    (_, ours), (_, others) = (
        unsharded(scene_batches(replace(STREETS, seed=seed), batch_size=8)) for seed in (3, 4)
    )
    assert not np.array_equal(ours["image"], others["image"])


def test_two_processes_share_a_batch(numbered):
    _, whole = unsharded(scene_batches(STREETS, batch_size=16, first_step=1))
    parts = [
        unsharded(scene_batches(STREETS, batch_size=16, first_step=1, process=(i, 2)))[1]
        for i in range(2)
    ]
    assert_equal(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts), whole)


def test_crops_lie_anywhere_and_are_calibrated(numbered):
    _, batch = unsharded(scene_batches(STREETS, batch_size=400))
    top, left = (place[:, 0] for place in numbered_scenes.places(batch))
    assert set(top) == set(range(9))
    assert set(left) == set(range(57))
    wanted = np.stack(
        [0 * top + CAMERA.fx, 0 * top + CAMERA.fy, CAMERA.cx - left, CAMERA.cy - top], axis=1
    )
    np.testing.assert_allclose(batch["intrinsics"], wanted, rtol=1e-5)


def test_without_a_random_crop_it_is_the_benchmarks(numbered):
    streets = replace(STREETS, augmentation=PLAIN)
    _, batch = unsharded(scene_batches(streets, batch_size=8))
    top, left = (place[:, 0] for place in numbered_scenes.places(batch))
    assert set(top) == {40 - 32}
    assert set(left) == {(120 - 64) // 2}


def test_flips_mirror_the_calibration_as_well(numbered):
    """Whichever way a picture stands, a pixel and its column see the same distance off the axis."""
    streets = replace(STREETS, augmentation=replace(PLAIN, flip=0.5, random_crop=True))
    _, batch = unsharded(scene_batches(streets, batch_size=64))
    _, column = numbered_scenes.places(batch)
    off_axis = np.arange(64) - batch["intrinsics"][:, None, 2]
    way = np.sign(column[:, 1] - column[:, 0])
    assert set(way) == {-1.0, 1.0}
    assert 16 < (way < 0).sum() < 48
    np.testing.assert_allclose(off_axis, way[:, None] * (column - CAMERA.cx), atol=1e-3)


def test_a_mirrored_pose_moves_mirrored_points():
    random = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    translation, point = random.normal(size=(2, 3))
    example = {
        "image": np.zeros((4, 6, 3), np.uint8),
        "intrinsics": jnp.array([5.0, 5.0, 2.0, 1.0]),
        "rotation": jnp.array(rotation),
        "translation": jnp.array(translation),
    }
    mirrored = variation.mirror(example)
    side = np.array([-1.0, 1.0, 1.0])
    moved = mirrored["rotation"] @ (side * point) + mirrored["translation"]
    np.testing.assert_allclose(moved, side * (rotation @ point + translation), atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(0.5, 1.5, width=32)] * 3), st.integers(0, 99))
def test_colours_change_as_pillow_does_it(factors, seed):
    image = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    picture = Image.fromarray(image)
    enhancers = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for enhancer, factor in zip(enhancers, factors, strict=True):
        picture = enhancer(picture).enhance(factor)
    ours = variation.recolour(jnp.array(image[None]), jnp.array(factors))[0]
    # Pillow cuts fractions off where this rounds, three times over.
    assert np.abs(np.asarray(ours, int) - np.asarray(picture, int)).max() <= 4


def test_the_nearby_image_is_recoloured_alike():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    factors = jnp.array([1.2, 0.7, 1.1])
    pair = variation.recolour(jnp.array([images[0], images[0]]), factors)
    np.testing.assert_array_equal(pair[0], pair[1])
    # The first alone decides about the contrast's gray.
    np.testing.assert_array_equal(variation.recolour(jnp.array(images), factors)[0], pair[0])


def test_clutter_changes_the_images_alone_and_alike():
    rng = np.random.default_rng(0)
    image = jnp.asarray(rng.integers(0, 60, (32, 64, 3), np.uint8))
    example = {"image": image, "near_image": image, "sparse_depth": jnp.ones((32, 64, 1))}
    cluttered = replace(STREETS, augmentation=PLAIN, clutter=0.5)
    found = batches.vary(jax.random.key(1), example, cluttered)
    np.testing.assert_array_equal(found["image"], found["near_image"])
    np.testing.assert_array_equal(found["sparse_depth"], example["sparse_depth"])
    assert np.mean(found["image"] != image) > 0.5


def test_clutter_has_edges_and_keeps_the_mean():
    gains = [variation.clutter_gain(jax.random.key(i), (40, 60), 0.7) for i in range(20)]
    assert np.mean(gains) == pytest.approx(1, abs=1e-5)
    assert np.min(gains) >= 0
    steepest = [np.abs(np.diff(gain[..., 0], axis=1)).max() for gain in gains]
    assert np.median(steepest) > 0.1
    assert variation.clutter_gain(jax.random.key(0), (40, 60), 0.0) == pytest.approx(1)


def test_misaligned_images_move_alike_and_the_depth_stays():
    # Slopes of red and green, from which the shift is read in steps of 1/6 and 1/3 of a pixel.
    row, column = np.mgrid[:32, :64]
    image = jnp.asarray(np.stack([6 * row, 3 * column, 0 * row], axis=-1), jnp.uint8)
    depth = jnp.asarray(np.random.default_rng(0).uniform(1, 80, (32, 64, 1)), jnp.float32)
    example = {"image": image, "near_image": image, "sparse_depth": depth, "ground_truth": depth}
    streets = replace(STREETS, augmentation=PLAIN, misalignment=3.0)
    seen = []
    for seed in range(20):
        found = batches.vary(jax.random.key(seed), example, streets)
        np.testing.assert_array_equal(found["image"], found["near_image"])
        for name in ("sparse_depth", "ground_truth"):
            np.testing.assert_array_equal(found[name], depth)
        change = (np.float32(image) - np.float32(found["image"]))[4:-4, 4:-4, :2] / (6, 3)
        assert np.ptp(change, axis=(0, 1)).max() < 0.2
        seen.append(change.mean(axis=(0, 1)))
    assert np.abs(seen).max() < 3.2
    assert (np.min(seen, axis=0) < -1.2).all()
    assert (np.max(seen, axis=0) > 1.2).all()


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -2.0), (0.25, 0.75), (-3.5, 1.5)])
def test_an_image_moves_as_opencv_moves_it(shift):
    image = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    matrix = np.array([[1.0, 0.0, shift[1]], [0.0, 1.0, shift[0]]])
    expected = cv2.warpAffine(image, matrix, (17, 12), borderMode=cv2.BORDER_REPLICATE)
    found = np.asarray(variation.moved(jnp.asarray(image), jnp.array(shift)))
    # OpenCV interpolates in fixed point.
    assert np.abs(found.astype(int) - expected).max() <= 1


def test_points_drop_out(numbered):
    streets = replace(STREETS, augmentation=replace(PLAIN, point_dropout=0.5))
    _, batch = unsharded(scene_batches(streets, batch_size=64))
    _, before = unsharded(scene_batches(replace(streets, augmentation=PLAIN), batch_size=64))
    left, whole = batch["sparse_depth"], before["sparse_depth"]
    np.testing.assert_array_equal(left, np.where(left > 0, whole, 0.0))
    shares = (left > 0).mean(axis=(1, 2, 3)) / (whole > 0).mean(axis=(1, 2, 3))
    assert 0.45 < shares.min() < 0.6
    assert shares.max() > 0.95


def depth_of_beams(beams, ranges):
    """Sparse depth `[375, 1242, 1]` of a ring of points for each of KITTI's `beams`, in float64."""
    elevation = np.radians(HDL64.elevations)[beams]
    height = np.array(HDL64.heights)[beams]
    azimuth = np.radians(np.random.default_rng(0).uniform(-38, 38, len(beams)))
    level = np.cos(elevation)
    direction = np.stack([level * np.sin(azimuth), -np.sin(elevation), level * np.cos(azimuth)])
    point = ranges * direction + np.stack([0 * height, -height, 0 * height])
    x, y, z = HDL64.rotation() @ point + np.array(HDL64.position)[:, None]
    u, v = np.rint(KITTI.fx * x / z + KITTI.cx), np.rint(KITTI.fy * y / z + KITTI.cy)
    seen = (u >= 0) & (u < 1242) & (v >= 0) & (v < 375)
    depth, true = np.zeros((375, 1242)), np.full((375, 1242), -1)
    pixel = v[seen].astype(int), u[seen].astype(int)
    depth[pixel], true[pixel] = z[seen], beams[seen]
    return depth.astype(np.float32)[..., None], true[..., None]


def test_beams_are_told_by_elevation():
    random = np.random.default_rng(1)
    depth, true = depth_of_beams(random.integers(0, 64, 20000), random.uniform(4, 70, 20000))
    found = batches.lidar_beam(jnp.array(depth), jnp.array(KITTI.intrinsics), HDL64)
    assert (true >= 0).sum() > 10000
    assert len(set(true[true >= 0])) > 45
    assert (np.asarray(found) == true)[true >= 0].mean() > 0.999


def test_whole_beams_are_left_out():
    random = np.random.default_rng(2)
    depth, true = depth_of_beams(random.integers(0, 64, 20000), random.uniform(4, 70, 20000))
    example = {"sparse_depth": jnp.array(depth), "intrinsics": jnp.array(KITTI.intrinsics)}
    settings = replace(PLAIN, beams=(16,), beam_probability=1.0)
    streets = Streets(0, (352, 1216), settings)
    varied = batches.vary(jax.random.key(0), example, streets)["sparse_depth"]
    kept = true[(np.asarray(varied) > 0)]
    # The lowest beams end below the picture.
    shares = np.bincount(kept, minlength=64)[:46] / np.bincount(true[true >= 0])[:46]
    # A pixel in a thousand is taken for its neighbour's.
    assert ((shares < 0.1) | (shares > 0.9)).all()
    assert set(np.diff(np.flatnonzero(shares > 0.9))) == {4}


def test_a_crop_larger_than_the_picture_is_refused():
    with pytest.raises(ValueError, match="an image of 40x120 is smaller than the crop 48x64"):
        replace(STREETS, crop=(48, 64))


def test_the_training_step_takes_the_batches_as_its_own(numbered):
    """Arrays of another sharding would be copied, and the step compiled once more for them."""
    step = parallel.make_train_step(COARSE, None, SGD, SCHEDULE, Objective())
    before = parallel.replicate(initial_state(variables_of(COARSE), SGD))
    _, batch = next(scene_batches(STREETS, batch_size=8))
    after, metrics = step(before, {}, batch)
    leaves = jax.tree.leaves((batch, after))
    assert {leaf.sharding for leaf in leaves} == {leaves[0].sharding}
    assert np.isfinite(metrics["loss"]).all()
