"""Normalisation in one pass against that of Flax."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcfrnet_jax.networks.gpu.norm import OnePassNorm

RNG = np.random.default_rng(0)
SETTINGS = {"momentum": 0.9, "epsilon": 1e-3}
BOTH = (
    partial(nn.BatchNorm, use_fast_variance=False, **SETTINGS),
    partial(OnePassNorm, **SETTINGS),
)


def trained(layer, variables, x, weights):
    """The output, the running statistics and the gradients of parameters and input."""

    def loss(params, x):
        given = {"params": params, "batch_stats": variables["batch_stats"]}
        y, changed = layer.apply(given, x, mutable=["batch_stats"])
        return jnp.sum(weights * y), (y, changed)

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(variables["params"], x)


def variables_of(layer, x, mean):
    variables = layer.init(jax.random.key(0), x)
    draws = jax.tree.map(lambda leaf: RNG.uniform(0.5, 2.0, leaf.shape), variables)
    return draws | {"batch_stats": draws["batch_stats"] | {"mean": mean}}


def test_training_equals_flax():
    with jax.enable_x64(True):
        x, weights = RNG.normal(3.0, 2.0, (2, 2, 4, 5, 3))
        plain, fast = (norm(use_running_average=False) for norm in BOTH)
        variables = variables_of(plain, x, RNG.normal(3.0, 1.0, 3))
        shapes = partial(jax.tree.map, jnp.shape)
        assert shapes(fast.init(jax.random.key(0), x)) == shapes(variables)
        wanted, found = (trained(layer, variables, x, weights) for layer in (plain, fast))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-9), found, wanted)


def test_prediction_equals_flax():
    x = RNG.normal(3.0, 2.0, (2, 4, 5, 3)).astype(np.float32)
    plain, fast = (norm(use_running_average=True) for norm in BOTH)
    variables = variables_of(plain, x, RNG.normal(3.0, 1.0, 3))
    wanted, found = (layer.apply(variables, x) for layer in (plain, fast))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_large_mean_costs_no_digits():
    """Without the running mean, the difference of squares would have no correct digit."""
    exact = RNG.normal(3000.0, 0.5, (2, 16, 16, 3))
    layer = OnePassNorm(use_running_average=False)
    variables = layer.init(jax.random.key(0), exact.astype(np.float32))
    variables["batch_stats"]["mean"] = np.full(3, 2999.5)
    found, _ = layer.apply(variables, exact.astype(np.float32), mutable=["batch_stats"])
    wanted = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_statistics_are_those_of_all_devices():
    x = RNG.normal(1.0, 2.0, (4, 2, 3, 3, 2)).astype(np.float32)
    layer = OnePassNorm(use_running_average=False, axis_name="devices")
    variables = layer.init(jax.random.key(0), x[0])
    apply = partial(layer.apply, variables, mutable=["batch_stats"])
    found, _ = jax.vmap(apply, axis_name="devices")(x)
    alone = OnePassNorm(use_running_average=False)
    wanted, _ = alone.apply(variables, x.reshape(-1, *x.shape[2:]), mutable=["batch_stats"])
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-5)
