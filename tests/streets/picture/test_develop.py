"""The camera's response to light."""

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.streets.picture.develop import develop as develop_eagerly

develop = jax.jit(develop_eagerly)


def test_constant_light_develops_to_a_constant_plus_noise():
    image = np.asarray(develop(jax.random.key(3), jnp.full((3, 64, 96), 0.25)), np.float64)
    assert image.shape == (64, 96, 3)
    # A gamma of 2 maps 0.25 to half of white.
    assert abs(image.mean() - 127.5) < 1.5
    assert 0.3 < image.std() < 6.0


def test_brighter_light_gives_a_brighter_image():
    light = jnp.broadcast_to(jnp.linspace(0.0, 1.0, 12)[:, None, None, None], (12, 3, 32, 32))
    images = jax.vmap(develop, in_axes=(None, 0))(jax.random.key(0), light)
    means = np.asarray(images, np.float64).mean(axis=(1, 2, 3))
    assert (np.diff(means) > 2).all()


def test_noise_grows_with_light_and_is_new_for_each_key():
    levels = [np.asarray(develop(jax.random.key(5), jnp.full((3, 64, 64), v))) for v in (0.02, 0.5)]
    assert levels[0].std() < levels[1].std()
    other = np.asarray(develop(jax.random.key(6), jnp.full((3, 64, 64), 0.5)))
    correlation = np.corrcoef(levels[1].ravel(), other.ravel())[0, 1]
    assert abs(correlation) < 0.05


def test_an_edge_is_blurred_by_less_than_two_pixels():
    light = jnp.broadcast_to(jnp.where(jnp.arange(40) < 20, 0.1, 0.6), (3, 30, 40))
    row = np.asarray(develop(jax.random.key(1), light), np.float64).mean(axis=(0, 2))
    assert row[18] < row[19] - 1 < row[20] - 20
    np.testing.assert_allclose(row[[5, 30]], 255 * np.sqrt([0.0982, 0.5992]), atol=2)
