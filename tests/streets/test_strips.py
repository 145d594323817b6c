"""Processing arrays piece by piece."""

import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.streets.strips import in_strips, settle

NUMBERS = jnp.arange(3.0 * 11).reshape(3, 11)


def combine(matrix, row):
    return 2 * matrix, matrix.sum(axis=0) + row


def test_joined_strips_are_the_whole():
    doubled, total = in_strips(combine, 4, NUMBERS, NUMBERS[0])
    np.testing.assert_array_equal(doubled, 2 * NUMBERS)
    np.testing.assert_array_equal(total, NUMBERS.sum(0) + NUMBERS[0])


def test_a_strip_has_the_requested_size():
    shapes = []
    in_strips(lambda matrix: shapes.append(matrix.shape), 4, NUMBERS)
    assert set(shapes) == {(3, 4)}


def test_joined_halves_are_the_whole():
    doubled, total = settle(combine, NUMBERS, NUMBERS[0])
    np.testing.assert_array_equal(doubled, 2 * NUMBERS)
    np.testing.assert_array_equal(total, NUMBERS.sum(0) + NUMBERS[0])
