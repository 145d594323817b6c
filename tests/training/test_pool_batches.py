"""Examples cut from a pool of frames, here of one made-up frame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.patterns import Patterns
from fcfrnet_jax.streets.pool import PoolPlan, record_type
from fcfrnet_jax.training.pool_batches import Windows, frame_maps, pool_example, shuffled

SIZE = (40, 60)
CROP = (16, 32)
RNG = np.random.default_rng(0)
PLAIN = Patterns(second=0.0, thinned=0.0, random=0.0, dropout=0.0, wrong=0.0)


@pytest.fixture(scope="module")
def frame() -> dict[str, np.ndarray]:
    """Rows are 1 m apart, from 2 m on; the scan has every third pixel; half has ground truth."""
    depth = np.broadcast_to(256 * (2 + np.arange(SIZE[0]))[:, None], SIZE).astype(np.uint16)
    pixel = np.arange(0, SIZE[0] * SIZE[1], 3, dtype=np.int32)
    measured = depth.ravel()[pixel] + np.uint16(8)  # 3 cm too far
    missing = np.full(5, -1, np.int32)
    return {
        "image": RNG.integers(0, 255, (*SIZE, 3), np.uint8),
        "depth": depth,
        "known": np.packbits(np.arange(SIZE[0] * SIZE[1]) % 2 == 0),
        "pixel": np.stack([np.append(pixel, missing)] * 2),
        "range": np.stack([np.append(measured, np.full(5, 99, np.uint16))] * 2),
        "beam": np.zeros((2, len(pixel) + 5), np.uint8),
        "beams": np.array([64, 32], np.int32),
    }


def test_ground_truth_takes_over_the_scan(frame):
    corner = jnp.array([4, 6])
    exact, truth = map(np.asarray, frame_maps(frame, SIZE, corner, CROP)[:2])
    place = (np.arange(CROP[0])[:, None] + 4) * SIZE[1] + np.arange(CROP[1]) + 6
    np.testing.assert_array_equal(exact[:, 0], 6 + np.arange(CROP[0]))
    np.testing.assert_array_equal(truth > 0, place % 2 == 0)
    both = (place % 6) == 0
    np.testing.assert_allclose(truth[both], exact[both] + 8 / 256)
    alone = (place % 2 == 0) & (place % 3 != 0)
    np.testing.assert_array_equal(truth[alone], exact[alone])


@pytest.mark.slow
def test_an_example_depends_on_its_position_only(frame):
    make = jax.jit(lambda frame: pool_example(Windows(3, CROP, PLAIN), SIZE, frame))
    first, again, other = (make(frame | {"position": np.uint32(i)}) for i in (1, 1, 2))
    assert first["image"].shape == (*CROP, 3)
    assert first["image"].dtype == np.uint8
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert not np.array_equal(first["exact_depth"], other["exact_depth"])
    near = first["sparse_depth"] > 0
    found = (first["sparse_depth"] - first["exact_depth"])[near]
    np.testing.assert_allclose(found, 8 / 256, atol=1e-5)
    assert first["weight"].ravel() == 1.0


def test_foreground_grows_by_columns_with_its_ground_truth_and_its_points(frame):
    """A pole 4 m away before a wall at 20 m; the wall has no ground truth beside the pole."""
    depth = np.full(SIZE, 20 * 256, np.uint16)
    depth[:, 30:32] = 4 * 256
    known = np.ones(SIZE, bool)
    known[:, [28, 29, 32, 33]] = False
    pixel = frame["pixel"].copy()
    ranges = np.where(pixel >= 0, depth.ravel()[pixel], 0).astype(np.uint16)
    made = frame | {"depth": depth, "known": np.packbits(known), "range": ranges}
    for spread in (0, 1, 2):
        columns = range(30 - spread, 32 + spread)
        exact, truth, (points, _) = frame_maps(made, SIZE, jnp.zeros(2, int), SIZE, spread)
        near = np.isin(np.arange(SIZE[1]), columns)
        np.testing.assert_array_equal(exact, np.broadcast_to(np.where(near, 4, 20), SIZE))
        np.testing.assert_array_equal(truth[:, near], 4)
        assert np.all(truth[:, ~near & known[0]] == 20)
        at = np.asarray(points.column)[points.depth > 0]
        wanted = np.where(np.isin(at, columns), 4, 20)
        np.testing.assert_allclose(points.depth[points.depth > 0], wanted, rtol=1e-6)


def test_each_epoch_has_every_frame_once():
    order = shuffled(np.arange(20), 10, 0)
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert list(order[:10]) != list(order[10:])
    np.testing.assert_array_equal(shuffled(np.arange(13, 17), 10, 0), order[13:17])


def test_a_stored_frame_has_the_names_of_a_read_one(frame):
    assert set(record_type(PoolPlan(32)).names) == set(frame)
