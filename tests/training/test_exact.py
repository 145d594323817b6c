"""Losses on exact depth, compared with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.networks.patches import TYPICAL_SCALE
from fcfrnet_jax.training.exact import SKY, SKY_WEIGHT, edge_error, log_error, scale_error
from fcfrnet_jax.training.losses import masked_l1_rmse

RNG = np.random.default_rng(0)


def test_log_error_is_relative_and_counts_the_sky_less():
    exact = np.array([10.0, 20.0, 0.0]).reshape(1, 1, 3, 1)
    depth = np.array([11.0, 20.0, 60.0]).reshape(1, 1, 3, 1)
    wanted = (np.log(1.1) + SKY_WEIGHT * np.log(SKY / 60.0)) / 3
    np.testing.assert_allclose(log_error(jnp.array(depth), jnp.array(exact)), wanted, rtol=1e-5)


def test_edge_error_does_not_see_a_wrong_scale():
    exact = RNG.uniform(2.0, 60.0, (1, 8, 9, 1)).astype(np.float32)
    np.testing.assert_allclose(edge_error(1.1 * exact, exact), 0.0, atol=1e-6)


def test_edge_error_of_a_step_that_is_missed():
    exact = np.full((1, 8, 8, 1), 10.0, np.float32)
    exact[:, :, 4:] = 20.0
    # Of the horizontal neighbours at 1, 2 and 4 pixels, 1/7, 2/6 and 4/4 are across the step.
    wanted = np.log(2.0) * (1 / 7 + 2 / 6 + 1) / 6
    found = edge_error(jnp.full_like(exact, 10.0), jnp.array(exact))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_scale_error_is_least_at_the_mean_error_and_leaves_the_depth_alone():
    exact = RNG.uniform(2.0, 60.0, (1, 8, 9, 1)).astype(np.float32)
    depth = exact * np.exp(RNG.laplace(0.0, 0.1, exact.shape)).astype(np.float32)
    best = np.log(np.mean(np.abs(np.log(depth) - np.log(exact))) / TYPICAL_SCALE)
    at, of_depth = jax.value_and_grad(scale_error, argnums=(0, 1))(
        jnp.full(exact.shape, best), jnp.array(depth), jnp.array(exact)
    )[1]
    np.testing.assert_allclose(np.sum(at), 0.0, atol=1e-5)
    assert np.any(at)
    assert not np.any(of_depth)


def test_l1_rmse_and_its_gradient():
    depth = RNG.uniform(1.0, 9.0, (2, 4, 5, 1)).astype(np.float32)
    target = RNG.uniform(1.0, 9.0, depth.shape).astype(np.float32) * (RNG.random(depth.shape) < 0.5)

    def direct(depth: jax.Array) -> jax.Array:
        error = (depth - target)[target > 0]
        return jnp.mean(jnp.abs(error)) + 0.7 * jnp.sqrt(jnp.mean(error**2))

    wanted = jax.value_and_grad(direct)(jnp.array(depth))
    found = jax.value_and_grad(lambda depth: masked_l1_rmse(depth, target, rmse_weight=0.7))(depth)
    np.testing.assert_allclose(found[0], wanted[0], rtol=1e-5)
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-6)
