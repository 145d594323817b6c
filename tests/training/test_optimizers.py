"""Schedules and optimizers compared with their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import CoarseToFineSpec
from fcfrnet_jax.training.optimizers import (
    check_plateau,
    decay_mask,
    make_optimizer,
    make_schedule,
)

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


@pytest.mark.parametrize("warmup_steps", [0, 1, 90])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("constant", {}), ("step", {"decay_every": 40}), ("cosine", {"total_steps": 200})],
)
def test_every_step_follows_the_formula(name, settings, warmup_steps):
    steps = np.arange(210)
    schedule = make_schedule(name, RATE, warmup_steps=warmup_steps, **settings)
    count = steps.astype(np.float64)
    warm_up = np.minimum((count + 1) / max(warmup_steps, 1), 1)
    done = np.clip((count - warmup_steps) / (200 - warmup_steps), 0, 1)
    decay = {
        "constant": 1.0,
        "step": 0.1 ** np.floor(count / 40),
        "cosine": 0.5 + 0.5 * np.cos(np.pi * done),
    }
    # Near the end of a cosine the differences are relative to the peak.
    found = jax.vmap(schedule)(steps)
    np.testing.assert_allclose(found, RATE * warm_up * decay[name], rtol=1e-6, atol=1e-7 * RATE)


def test_step_multiplies_after_decay_every_steps():
    values = schedule_values([0, 9, 10, 19, 20], "step", decay_every=10, decay_factor=0.5)
    np.testing.assert_allclose(values, [0.1, 0.1, 0.05, 0.05, 0.025], rtol=1e-6)


# Names of the optimizer's state in the snapshots of version 0.1.
MOMENTS = ["mu.conv.bias", "mu.conv.kernel", "nu.conv.bias", "nu.conv.kernel"]


@pytest.mark.parametrize(
    ("name", "settings", "names"),
    [
        ("adam", {}, ["0.count", *(f"0.{name}" for name in MOMENTS), "1.count"]),
        (
            "adamw",
            {"weight_decay": 0.1, "clip_norm": 1.0},
            ["1.count", *(f"1.{name}" for name in MOMENTS), "3.count"],
        ),
        ("sgd", {}, ["0.trace.conv.bias", "0.trace.conv.kernel", "1.count"]),
        ("sgd", {"momentum": 0.0, "weight_decay": 0.1}, ["1.count"]),
    ],
)
@pytest.mark.parametrize(
    "schedule",
    [
        make_schedule("constant", RATE, warmup_steps=2),
        make_schedule("step", RATE, decay_every=3),
        make_schedule("cosine", RATE, warmup_steps=2, total_steps=9),
    ],
)
def test_state_names_are_those_of_older_snapshots(schedule, name, settings, names):
    state = make_optimizer(name, schedule, **settings).init(PARAMS)
    leaves = jax.tree_util.tree_leaves_with_path(state)
    found = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    assert found == names


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("linear", {}, "unknown schedule 'linear'; the choices are constant, step, cosine"),
        ("constant", {"warmup_steps": -1}, "must not be negative, got -1"),
        ("step", {}, "decay_every of 1 step or more, got None"),
        (
            "step",
            {"decay_every": 3, "decay_factor": 10},
            r"decay_factor must be in \(0, 1\], got 10",
        ),
        ("cosine", {}, "beyond the warm-up of 0 steps, got None"),
        ("cosine", {"warmup_steps": 5, "total_steps": 5}, "warm-up of 5 steps, got 5"),
    ],
)
def test_invalid_schedules_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        make_schedule(name, RATE, **settings)


def test_the_learning_rate_must_be_positive():
    with pytest.raises(ValueError, match="must be positive and finite, got 0"):
        make_schedule("constant", 0)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rmsprop", {}, "unknown optimizer 'rmsprop'; the choices are adam, adamw, sgd"),
        (
            "adam",
            {"weight_decay": 0.1},
            "adam cannot use weight_decay=0.1: .* only adamw and sgd support it",
        ),
        (
            "sgd",
            {"weight_decay": -0.1},
            "sgd cannot use weight_decay=-0.1: it must be finite and at least 0",
        ),
        ("sgd", {"clip_norm": 0.0}, "None for no clipping, got 0.0"),
        ("sgd", {"momentum": 1.0}, r"must be in \[0, 1\) .* got 0.9, 0.999, 1.0 and"),
        ("adam", {"eps": 0.0}, "eps positive and finite, got .* and 0.0"),
    ],
)
def test_invalid_optimizers_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        constant(name, **settings)


def test_sgd_with_momentum():
    params = after(constant("sgd", momentum=0.5), 2)
    # The second step is 1.5 times as long.
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
def test_adam_decays_only_kernels(name, decay):
    params = after(constant(name, weight_decay=decay), 3)
    values, gradients = PARAMS["conv"], GRADIENT["conv"]
    for kind, own_decay in (("kernel", decay), ("bias", 0.0)):
        expected = adam_by_hand(values[kind], gradients[kind], 3, own_decay)
        # In float32, 1 - 0.999 has five correct digits.
        np.testing.assert_allclose(params[kind], expected, atol=1e-4 * RATE)


@pytest.mark.parametrize(("limit", "factor"), [(6.5, 0.5), (14.0, 1.0)])
def test_clipping_by_the_norm_of_all_gradients(limit, factor):
    # That norm is sqrt(3^2 + 4^2 + 12^2) = 13.
    params = after(constant("sgd", clip_norm=limit, momentum=0.0), 1)
    for kind, gradient in GRADIENT["conv"].items():
        expected = PARAMS["conv"][kind] - RATE * factor * gradient
        np.testing.assert_allclose(params[kind], expected, rtol=1e-6)


def test_decay_mask_selects_the_convolutions():
    params = models.variable_shapes(CoarseToFineSpec(50, width=4))["params"]
    # Only convolution kernels have four axes.
    assert decay_mask(params) == jax.tree.map(lambda leaf: leaf.ndim == 4, params)


def test_plateau_is_constant_and_then_a_cosine():
    schedule = make_schedule("plateau", 0.1, warmup_steps=10, total_steps=1000)
    np.testing.assert_allclose([schedule(4), schedule(10), schedule(700)], [0.05, 0.1, 0.1])
    np.testing.assert_allclose([schedule(850), schedule(1000)], [0.05, 0.0], atol=1e-7)


def test_the_length_of_a_plateau_may_change_before_its_decay():
    check_plateau(700, 1000, 2000)
    check_plateau(990, 1000, 1000)
    with pytest.raises(ValueError, match=r"from 1000 to 500 at step 400.*ends at step 350"):
        check_plateau(400, 1000, 500)
