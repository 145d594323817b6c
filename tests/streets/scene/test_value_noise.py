"""Procedural patterns."""

import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.scene.value_noise import joints, mark, value_noise


def test_noise_interpolates_the_values_at_lattice_points():
    points = np.random.default_rng(0).uniform(-20, 20, (3, 500)).astype(np.float32)
    noise = np.asarray(value_noise(*points))
    assert ((noise >= 0) & (noise < 1)).all()
    assert abs(noise.mean() - 0.5) < 0.05
    cell = np.floor(points)
    t = points - cell
    weight = t * t * (3 - 2 * t)
    expected = 0.0
    for corner in np.ndindex(2, 2, 2):
        share = np.prod(np.where(np.array(corner)[:, None], weight, 1 - weight), axis=0)
        expected += share * np.asarray(value_noise(*(cell + np.array(corner)[:, None])))
    np.testing.assert_allclose(noise, expected, atol=1e-5)


@pytest.mark.parametrize("footprint", [0.01, 0.1, 0.4, 3.0])
def test_lines_keep_their_share_of_the_area(footprint):
    position = jnp.linspace(0.0, 50.0, 5001)[:-1]
    share = joints(position, 0.5, 0.05, footprint).mean()
    assert abs(share - 0.2) < 0.045
    single = mark(position - 25.0, 0.3, footprint).sum() * 0.01
    assert single == pytest.approx(0.6, abs=0.02)
