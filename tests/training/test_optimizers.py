"""Schedules and optimizers against values by hand and in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import CoarseToFineSpec
from fcfrnet_jax.training.optimizers import decay_mask, make_optimizer, make_schedule

RATE = 0.1
GRADIENT = {"conv": {"kernel": np.float32([[3, -4]]), "bias": np.float32([12])}}
PARAMS = {"conv": {"kernel": np.float32([[1, -2]]), "bias": np.float32([0.5])}}


def schedule_values(steps, name, **settings):
    schedule = make_schedule(name, RATE, **settings)
    return [float(schedule(step)) for step in steps]


def after(optimizer, updates):
    """The parameters after some updates with the same gradient."""
    params = jax.tree.map(jnp.asarray, PARAMS)
    state = optimizer.init(params)
    for _ in range(updates):
        changes, state = optimizer.update(GRADIENT, state, params)
        params = optax.apply_updates(params, changes)
    return params["conv"]


def constant(name, **settings):
    return make_optimizer(name, make_schedule("constant", RATE), **settings)


def test_constant_after_its_warm_up():
    values = schedule_values([0, 1, 2, 3, 4, 1000], "constant", warmup_steps=4)
    np.testing.assert_allclose(values, [0.025, 0.05, 0.075, 0.1, 0.1, 0.1], rtol=1e-6)


def test_a_tenth_after_every_ten_steps():
    values = schedule_values([0, 9, 10, 19, 20, 30], "step", decay_every=10)
    np.testing.assert_allclose(values, [0.1, 0.1, 0.01, 0.01, 0.001, 0.0001], rtol=1e-5)


def test_warm_up_counts_among_the_steps_between_decays():
    values = schedule_values([0, 1, 2, 3], "step", decay_every=2, decay_factor=0.5, warmup_steps=4)
    np.testing.assert_allclose(values, [0.025, 0.05, 0.0375, 0.05], rtol=1e-6)


def test_cosine_falls_from_the_warm_up_to_the_end():
    values = schedule_values([0, 1, 2, 4, 6, 10, 11], "cosine", warmup_steps=2, total_steps=10)
    falling = [0.1, 0.05 * (1 + np.sqrt(0.5)), 0.05, 0.0, 0.0]
    np.testing.assert_allclose(values, [0.05, 0.1, *falling], atol=1e-8)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("linear", {}, "unknown schedule 'linear'; the choices are constant, step, cosine"),
        ("constant", {"warmup_steps": -1}, "must not be negative, got -1"),
        ("step", {}, "decay_every of 1 step or more, got None"),
        ("step", {"decay_every": 3, "decay_factor": 10}, r"in \(0, 1\], got 10"),
        ("cosine", {}, "beyond the warm-up of 0 steps, got None"),
        ("cosine", {"warmup_steps": 5, "total_steps": 5}, "warm-up of 5 steps, got 5"),
    ],
)
def test_a_schedule_that_makes_no_sense(name, settings, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(name, RATE, **settings)


def test_a_learning_rate_is_positive():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        make_schedule("constant", 0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rmsprop", {}, "unknown optimizer 'rmsprop'; the choices are adam, adamw, sgd"),
        ("adam", {"weight_decay": 0.1}, "adamw and sgd alone"),
        ("sgd", {"weight_decay": -0.1}, "must not be negative"),
        ("sgd", {"clip_norm": 0.0}, "None for no clipping, got 0.0"),
        ("sgd", {"momentum": 1.0}, r"in \[0, 1\)"),
        ("adam", {"eps": 0.0}, "eps above 0"),
    ],
)
def test_an_optimizer_that_makes_no_sense(name, settings, message):
    with pytest.raises(ValueError, match=message):
        constant(name, **settings)


def test_sgd_with_momentum():
    params = after(constant("sgd", momentum=0.5), 2)
    # The second step is half as long again.
    for kind, gradient in GRADIENT["conv"].items():
        expected = PARAMS["conv"][kind] - RATE * 2.5 * gradient
        np.testing.assert_allclose(params[kind], expected, rtol=1e-6)


def adam_by_hand(value, gradient, updates, decay=0.0, b1=0.9, b2=0.999, eps=1e-8):
    first = second = np.zeros_like(value)
    for step in range(1, updates + 1):
        first = b1 * first + (1 - b1) * gradient
        second = b2 * second + (1 - b2) * gradient**2
        direction = first / (1 - b1**step) / (np.sqrt(second / (1 - b2**step)) + eps)
        value = value - RATE * (direction + decay * value)
    return value


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.3)])
def test_adam_decays_kernels_alone(name, decay):
    params = after(constant(name, weight_decay=decay), 3)
    values, gradients = PARAMS["conv"], GRADIENT["conv"]
    for kind, own_decay in (("kernel", decay), ("bias", 0.0)):
        expected = adam_by_hand(values[kind], gradients[kind], 3, own_decay)
        # Float32 knows 1 - 0.999 to five digits.
        np.testing.assert_allclose(params[kind], expected, atol=1e-4 * RATE)


@pytest.mark.parametrize(("limit", "factor"), [(6.5, 0.5), (14.0, 1.0)])
def test_clipping_by_the_norm_of_all_gradients(limit, factor):
    # That norm is sqrt(3^2 + 4^2 + 12^2) = 13.
    params = after(constant("sgd", clip_norm=limit, momentum=0.0), 1)
    for kind, gradient in GRADIENT["conv"].items():
        expected = PARAMS["conv"][kind] - RATE * factor * gradient
        np.testing.assert_allclose(params[kind], expected, rtol=1e-6)


def test_the_mask_is_that_of_the_convolutions():
    params = models.variable_shapes(CoarseToFineSpec(50, width=4))["params"]
    # A convolution's kernel alone has four axes.
    assert decay_mask(params) == jax.tree.map(lambda leaf: leaf.ndim == 4, params)
