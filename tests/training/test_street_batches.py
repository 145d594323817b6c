"""The stream of rendered training batches: crops, augmentation, devices and processes."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.frame import RenderedPair
from fcfrnet_jax.training import street_batches
from fcfrnet_jax.training.state import initial_state
from fcfrnet_jax.training.street_batches import Streets, disturb, scene_batches, street_example
from tests import numbered_scenes
from tests.tiny_networks import COARSE, variables_of
from tests.training.steps import SGD, step_of

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
    """The augmented examples."""
    render = jax.jit(lambda some: jax.lax.map(lambda p: street_example(VARIED, p), some))
    return render(positions.astype(np.uint32))


def test_eight_devices_equal_one(numbered):
    positions, batch = unsharded(scene_batches(VARIED, batch_size=16, first_step=3))
    np.testing.assert_array_equal(positions, np.arange(48, 64))
    alone = on_one_device(positions)
    assert batch.keys() == alone.keys()
    for name, leaf in alone.items():
        np.testing.assert_allclose(batch[name], leaf, rtol=1e-6)


def test_a_batch_that_the_processes_cannot_share_is_refused():
    with pytest.raises(ValueError, match="a batch of 15 is not divisible by the 2 processes"):
        next(scene_batches(STREETS, batch_size=15, process=(0, 2)))


@pytest.mark.nightly
def test_eight_devices_equal_one_in_rendered_streets():
    positions, batch = unsharded(scene_batches(VARIED, batch_size=16, first_step=3))
    alone = on_one_device(positions)
    # Other programs round differently, which can move a point across the edge of a pixel.
    for name, step in (("image", 1), ("sparse_depth", 1e-3), ("ground_truth", 1e-3)):
        ours, theirs = (np.asarray(maps[name], np.float32) for maps in (batch, alone))
        assert (np.abs(ours - theirs) <= step).mean() > 0.999, name
    assert len({image.tobytes() for image in batch["image"]}) == 16
    assert batch["image"].std() > 10
    for name in ("sparse_depth", "ground_truth"):
        assert 0.005 < (batch[name] > 0).mean() < 0.9, name


def test_a_stream_opened_later_continues_exactly(numbered):
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


def test_crops_are_everywhere_and_calibrated(numbered):
    _, batch = unsharded(scene_batches(STREETS, batch_size=400))
    top, left = (place[:, 0] for place in numbered_scenes.places(batch))
    assert set(top) == set(range(9))
    assert set(left) == set(range(57))
    wanted = np.stack(
        [0 * top + CAMERA.fx, 0 * top + CAMERA.fy, CAMERA.cx - left, CAMERA.cy - top], axis=1
    )
    np.testing.assert_allclose(batch["intrinsics"], wanted, rtol=1e-5)


def test_without_random_crops_the_crop_is_the_benchmarks(numbered):
    streets = replace(STREETS, augmentation=PLAIN)
    _, batch = unsharded(scene_batches(streets, batch_size=8))
    top, left = (place[:, 0] for place in numbered_scenes.places(batch))
    assert set(top) == {40 - 32}
    assert set(left) == {(120 - 64) // 2}


def test_flips_mirror_the_calibration(numbered):
    """Flipped or not, a pixel and its column are at the same distance from the optical axis."""
    streets = replace(STREETS, augmentation=replace(PLAIN, flip=0.5, random_crop=True))
    _, batch = unsharded(scene_batches(streets, batch_size=64))
    _, column = numbered_scenes.places(batch)
    off_axis = np.arange(64) - batch["intrinsics"][:, None, 2]
    side = np.sign(column[:, 1] - column[:, 0])
    assert set(side) == {-1.0, 1.0}
    assert 16 < (side < 0).sum() < 48
    np.testing.assert_allclose(off_axis, side[:, None] * (column - CAMERA.cx), atol=1e-3)


def test_misaligned_images_are_shifted_within_the_limit():
    # Ramps of red and green show the shift in steps of 1/6 and 1/3 of a pixel.
    row, column = np.mgrid[:32, :64]
    image = jnp.asarray(np.stack([6 * row, 3 * column, 0 * row], axis=-1), jnp.uint8)
    streets = replace(STREETS, misalignment=3.0)
    shifted = jax.jit(jax.vmap(lambda key: disturb(key, image, streets)))
    found = np.asarray(shifted(jax.random.split(jax.random.key(0), 20)), np.float32)
    change = (np.float32(image) - found)[:, 4:-4, 4:-4, :2] / (6, 3)
    assert np.ptp(change, axis=(1, 2)).max() < 0.2
    seen = change.mean(axis=(1, 2))
    assert np.abs(seen).max() < 3.2
    assert (np.min(seen, axis=0) < -1.2).all()
    assert (np.max(seen, axis=0) > 1.2).all()


def test_disturbances_leave_depth_alone_and_treat_both_images_alike(numbered, monkeypatch):
    def render_pair(*view):
        frame = numbered_scenes.render_scene(*view)
        return RenderedPair(frame, frame.image, jnp.eye(3), jnp.zeros(3))

    monkeypatch.setattr(street_batches, "render_pair", render_pair)
    plain = replace(STREETS, near=True)
    disturbed = replace(plain, clutter=0.5, misalignment=3.0)
    found, before = (
        jax.jit(lambda position, s=streets: street_example(s, position))(np.uint32(3))
        for streets in (disturbed, plain)
    )
    assert np.mean(found["image"] != before["image"]) > 0.5
    np.testing.assert_array_equal(found["image"], found["near_image"])
    for name in ("sparse_depth", "ground_truth", "intrinsics"):
        np.testing.assert_array_equal(found[name], before[name])


def test_points_drop_out(numbered):
    streets = replace(STREETS, augmentation=replace(PLAIN, point_dropout=0.5))
    _, batch = unsharded(scene_batches(streets, batch_size=64))
    _, before = unsharded(scene_batches(replace(streets, augmentation=PLAIN), batch_size=64))
    left, whole = batch["sparse_depth"], before["sparse_depth"]
    np.testing.assert_array_equal(left, np.where(left > 0, whole, 0.0))
    shares = (left > 0).mean(axis=(1, 2, 3)) / (whole > 0).mean(axis=(1, 2, 3))
    assert 0.45 < shares.min() < 0.6
    assert shares.max() > 0.95


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="an image of 40x120 is smaller than the crop 48x64"):
        replace(STREETS, crop=(48, 64))


def test_batches_have_the_sharding_of_the_training_step(numbered):
    """Arrays of another sharding would be copied, and the step compiled again for them."""
    step = step_of(COARSE)
    before = parallel.replicate(initial_state(variables_of(COARSE), SGD))
    _, batch = next(scene_batches(STREETS, batch_size=8))
    after, metrics = step(before, {}, batch)
    leaves = jax.tree.leaves((batch, after))
    assert {leaf.sharding for leaf in leaves} == {leaves[0].sharding}
    assert np.isfinite(metrics["loss"]).all()


def test_no_more_beams_are_kept_than_the_scanner_has():
    augmentation = Augmentation(beam_probability=0.5, beams=(4, 32))
    with pytest.raises(ValueError, match=r"has 7 beams, so augmentation\.beams must be at most 7"):
        replace(STREETS, augmentation=augmentation)
