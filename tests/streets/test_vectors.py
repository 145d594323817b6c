"""Vectors stored as coordinates, against angles in float64."""

import numpy as np

from fcfrnet_jax.streets.vectors import turn_level

RNG = np.random.default_rng(0)


def test_positive_angles_turn_z_towards_x():
    angle, x, z = 0.3, *RNG.normal(size=(2, 7))
    turned = turn_level(x, z, np.cos(angle), np.sin(angle))
    heading = np.arctan2(x, z) + angle
    np.testing.assert_allclose(turned, np.hypot(x, z) * [np.sin(heading), np.cos(heading)])
