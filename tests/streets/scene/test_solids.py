"""Solids and the ground that they follow."""

import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.streets.scene.solids import (
    FOLIAGE,
    GAPS,
    SUNK,
    WALL,
    Ground,
    along,
    choose,
    join,
    leaf_gaps,
    sides,
    solids,
)

GROUND = Ground(bend=jnp.float32(20.0), slope=jnp.float32(-0.1))


def test_numbers_are_broadcast_to_all_solids():
    found = solids((jnp.arange(3.0), 1.0, 2.0), (0.5, 0.5, 0.5), 0.3, WALL)
    np.testing.assert_array_equal(found.centre, [[0, 1, 2], [1, 1, 2], [2, 1, 2]])
    np.testing.assert_array_equal(found.colour, np.full((3, 3), np.float32(0.3)))
    np.testing.assert_array_equal(found.material, [WALL] * 3)


def test_absent_solids_are_underground():
    present = jnp.array([True, False])
    found = solids((0.0, 1.0, jnp.zeros(2)), (1.0, 1.0, 1.0), 0.3, WALL, present=present)
    np.testing.assert_array_equal(found.centre[:, 1], [1.0, SUNK])


def test_solids_are_joined_in_order():
    one, two = (solids((x, 0.0, 0.0), (1.0, 1.0, 1.0), 0.3, WALL) for x in (1.0, 2.0))
    np.testing.assert_array_equal(join(two, one, two).centre[:, 0], [2, 1, 2])


def test_the_ground_is_level_up_to_the_bend():
    z = jnp.array([0.0, 20.0, 30.0])
    np.testing.assert_allclose(GROUND.level(z), [0, 0, -1])
    np.testing.assert_allclose(GROUND.slope_at(z), [0, 0, -0.1])


def test_long_boxes_follow_the_ground():
    parts = along(GROUND, jnp.zeros(1), 0.5, (10.0, 40.0), 0.1, 0.25, (0.3, WALL))
    (level,), ((sloping, lean),) = parts.upright, parts.turned
    for boxes, (start, end) in ((level, (10.0, 20.0)), (sloping, (20.0, 40.0))):
        z, half = boxes.centre[0, 2], boxes.half[0, 2]
        np.testing.assert_allclose([z - half, z + half], [start, end])
        # The lower face is 0.5 m above the ground.
        np.testing.assert_allclose(boxes.centre[0, 1] + 0.25, GROUND.level(z) - 0.5, rtol=1e-6)
    np.testing.assert_allclose(lean, [[0.0, -0.1]])


def test_only_leaves_have_gaps():
    material = jnp.array([FOLIAGE, WALL] * 2)
    balls = solids((jnp.arange(4.0), 0.0, 5.0), (1.0, 1.0, 1.0), 0.3, material)
    gaps = np.asarray(leaf_gaps(balls))[:, 0]
    assert (gaps[1::2] == 0).all()
    assert (gaps[::2] >= GAPS[0]).all()
    assert (gaps[::2] <= GAPS[1]).all()
    assert gaps[0] != gaps[2]


def test_colours_are_chosen_with_equal_shares():
    colours = ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    found = choose(colours, jnp.array([0.0, 0.34, 0.66, 0.67, 1.0]))
    np.testing.assert_array_equal(found[:, 0], [0.0, 0.5, 0.5, 1.0, 1.0])


def test_sides_alternate():
    np.testing.assert_array_equal(sides(4), [-1, 1, -1, 1])
