"""Errors of ground truth near objects, on a board 5 m away in front of a wall at 20 m."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.patterns import Points, scatter
from fcfrnet_jax.streets.scan import truth_errors

SIZE = (48, 96)
KEYS = jax.random.split(jax.random.key(0), 40)


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    depth = np.full(SIZE, 20.0, np.float32)
    depth[:, 30:60] = 5.0
    depth[:4] = 0.0
    return depth


@pytest.fixture(scope="module")
def known() -> np.ndarray:
    return np.random.default_rng(0).random(SIZE) < 0.5


def test_edges_show_one_of_the_depths_near_them(exact, known):
    truth = np.where(known, exact, 0.0)
    found = np.asarray(
        jax.vmap(truth_errors.blur_edges, (0, None, None))(KEYS, jnp.array(truth), jnp.array(exact))
    )
    np.testing.assert_array_equal(found > 0, np.broadcast_to(truth > 0, found.shape))
    wrong = found != truth
    rows, columns = np.nonzero(wrong.any(axis=0))
    assert len(rows)
    assert set(found[wrong]) == {5.0, 20.0}
    beside = np.abs(columns[:, None] - np.array([29.5, 59.5])).min(axis=1)
    assert beside.max() < truth_errors.BLOB_REACH
    # Foreground appears in place of the background only where blocks are shifted.
    grown = np.nonzero((wrong & (found == 5.0)).any(axis=(0, 1)))[0]
    assert set(grown) <= {29, 60}


def test_a_surface_without_edges_keeps_its_ground_truth(known):
    flat = np.full(SIZE, 12.0, np.float32)
    truth, flat = jnp.where(known, flat, 0.0), jnp.array(flat)
    points = _points(flat)
    for change in (
        lambda key: truth_errors.blur_edges(key, truth, flat),
        lambda key: truth_errors.see_through(key, truth, flat, (points, points))[0],
    ):
        found = jax.vmap(change)(KEYS)
        np.testing.assert_array_equal(found, np.broadcast_to(truth, found.shape))


def test_scan_and_ground_truth_see_the_wall_through_panes_of_the_board(exact, known):
    truth, points = jnp.where(known, exact, 0.0), _points(exact)
    found, (scan, _) = jax.vmap(
        lambda key: truth_errors.see_through(key, truth, exact, (points, points))
    )(KEYS)
    wrong = np.asarray(found) != truth
    assert set(np.asarray(found)[wrong]) == {0.0, 20.0}
    assert not wrong[..., :30].any()
    assert not wrong[..., 60:].any()
    touched = wrong.any(axis=(1, 2))
    assert 0 < touched.sum() < len(KEYS)
    passed = np.asarray(scan.depth) != points.depth
    assert set(np.asarray(scan.depth)[passed]) == {20.0}
    assert passed.any(axis=1)[touched].any()
    assert not passed[:, (exact != 5.0).ravel()].any()
    maps = np.asarray(scatter(jax.tree.map(lambda leaf: leaf[0], scan), True, SIZE))
    np.testing.assert_array_equal(maps > 0, exact > 0)


def _points(depth) -> Points:
    """A point on every pixel."""
    row, column = (place.ravel().astype(np.int32) for place in np.mgrid[: SIZE[0], : SIZE[1]])
    beam = np.zeros(len(row), np.int32)
    return jax.tree.map(jnp.asarray, Points(row, column, depth.ravel(), beam, np.int32(64)))
