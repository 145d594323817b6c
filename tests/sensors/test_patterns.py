"""Scan patterns: which points remain, and what is disturbed."""

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.sensors.patterns import Patterns, Points, draw_sparse, random_points, scatter

SIZE = (20, 30)
RNG = np.random.default_rng(0)
EXACT = RNG.uniform(2.0, 80.0, SIZE).astype(np.float32)
KEYS = jax.random.split(jax.random.key(0), 40)
# No pattern but the scan itself.
PLAIN = {"second": 0.0, "thinned": 0.0, "random": 0.0, "dropout": 0.0, "wrong": 0.0}


def rings(beams: int, depth: float) -> Points:
    """A scanner with a beam in each of the first rows."""
    row, column = map(np.ravel, np.indices((16, SIZE[1])))
    depth = np.where(row < beams, np.float32(depth), np.float32(0))
    return Points(*map(jnp.asarray, (row, column, depth, row)), beams)


SCANS = (rings(16, 10.0), rings(8, 20.0))


def drawn(**changes: object) -> np.ndarray:
    patterns = Patterns(**PLAIN | changes)
    draw = jax.jit(jax.vmap(lambda key: draw_sparse(key, SCANS, jnp.array(EXACT), patterns)))
    return np.asarray(draw(KEYS))


def test_scatter_keeps_the_nearest_point_inside_the_window():
    points = Points(
        *map(jnp.array, ([1, 1, -1, 25], [2, 2, 3, 3], [9.0, 5.0, 1.0, 1.0], [0] * 4)), 1
    )
    found = scatter(points, jnp.ones(4, bool), SIZE)
    assert found[1, 2] == 5.0
    assert np.count_nonzero(found) == 1


def test_the_whole_scan():
    wanted = np.zeros(SIZE)
    wanted[:16] = 10.0
    np.testing.assert_array_equal(drawn()[0], wanted)


def test_thinned_scans_have_every_nth_beam_from_any_first_one():
    rows = np.any(drawn(thinned=1.0, beams=(4,)) > 0, axis=2)
    assert (rows.sum(axis=1) == 4).all()
    assert not rows[:, 16:].any()
    assert set(np.argmax(rows, axis=1)) == {0, 1, 2, 3}


def test_the_second_scanner_takes_its_share():
    share = np.mean(drawn(second=0.5).max(axis=(1, 2)) == 20.0)
    assert 0.25 < share < 0.75


def test_random_points_have_the_density_and_the_exact_depth():
    exact = np.full((200, 300), 40.0, np.float32)
    exact[:100] = 0.0
    found = np.asarray(random_points(KEYS[0], jnp.array(exact), 0.01))
    assert not found[:100].any()
    assert 200 < np.count_nonzero(found) < 400
    np.testing.assert_allclose(found[found > 0], 40.0, rtol=0.06)


def test_dropout_and_wrong_points():
    scan = drawn()[0]
    dropped = drawn(dropout=1.0)
    assert ((dropped == scan) | (dropped == 0)).all()
    assert 0.2 < np.mean(dropped[:, scan > 0] == 0) < 0.4
    wrong = drawn(wrong=1.0)
    assert 0.01 < np.mean(wrong[:, scan > 0] != 10.0) < 0.03
    assert ((wrong > 0) == (scan > 0)).all()
    assert wrong.max() <= 80.0


def test_a_frame_without_points_gets_random_ones():
    nothing = (rings(16, 0.0), rings(8, 0.0))
    found = draw_sparse(KEYS[0], nothing, jnp.array(EXACT), Patterns(**PLAIN))
    assert np.count_nonzero(found) > 0
