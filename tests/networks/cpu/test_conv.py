"""Convolutions on CPUs against those of Flax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.networks.cpu.bfloat16 import by_bits, narrow, widen
from fcfrnet_jax.networks.cpu.conv import CpuConv, compiler_options, convolve_halving
from fcfrnet_jax.networks.cpu.winograd import transform_kernel


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def error(found, wanted):
    """Root mean square of the difference, relative to that of `wanted`."""
    found, wanted = np.float64(found), np.float64(wanted)
    return np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2))


def applied(module, kernel, bias, x):
    return module.apply({"params": {"kernel": kernel, "bias": bias}}, x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("predicts", [False, True])
def test_convolutions_that_use_winograd(predicts, dtype):
    x, kernel, bias = draw(2, 9, 10, 8), draw(3, 3, 8, 6, seed=1), draw(6)
    wanted = applied(nn.Conv(6, (3, 3), padding=1), kernel, bias, x)
    ours = CpuConv(6, (3, 3), padding=1, min_channels=4, predicts=predicts, dtype=dtype)
    found = applied(ours, transform_kernel(kernel) if predicts else kernel, bias, x)
    assert found.dtype == dtype
    assert error(found, wanted) < (2e-6 if dtype == "float32" else 0.02)


def halved(x, kernel):
    """The definition: every second one of the shifted and summed products, in float64."""
    size = len(kernel)
    _, height, width, _ = x.shape
    border = (size // 2, size // 2)
    padded = np.pad(np.float64(x), ((0, 0), border, border, (0, 0)))
    return sum(
        padded[:, i : i + height : 2, j : j + width : 2] @ kernel[i, j]
        for i in range(size)
        for j in range(size)
    )


@settings(max_examples=6)
@given(
    batch=st.integers(1, 2),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    size=st.sampled_from([1, 3]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_convolutions_of_stride_2(batch, rows, columns, size, dtype):
    x, kernel = draw(batch, rows, columns, 3), draw(size, size, 3, 5, seed=1)
    found = jax.jit(convolve_halving)(jnp.asarray(x, dtype), jnp.asarray(kernel, dtype))
    wanted = halved(x, kernel)
    assert found.dtype == dtype
    assert found.shape == wanted.shape
    assert error(found, wanted) < (1e-6 if dtype == "float32" else 0.02)


@pytest.mark.parametrize("padding", [1, "SAME"])
def test_only_prediction_in_bfloat16_uses_matrix_products(padding):
    x, kernel, bias = draw(2, 8, 8, 8), draw(3, 3, 8, 6), draw(6)
    shared = {"strides": (2, 2), "padding": padding, "dtype": jnp.bfloat16}
    wanted = applied(nn.Conv(6, (3, 3), **shared), kernel, bias, x)
    found = applied(CpuConv(6, (3, 3), **shared, predicts=True), kernel, bias, x)
    assert error(found, wanted) < 0.01
    trained = applied(CpuConv(6, (3, 3), **shared), kernel, bias, x)
    np.testing.assert_array_equal(trained, wanted)


@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 0.02), ("float32", 3e-5)])
def test_gradients_of_many_channels(dtype, most):
    x, kernel, gradient = draw(2, 16, 16, 128), draw(3, 3, 128, 64), draw(2, 16, 16, 64, seed=1)

    def gradients(module, dtype):
        conv = module(64, (3, 3), padding=1, use_bias=False)

        def output(x, kernel):
            return conv.apply({"params": {"kernel": kernel}}, x)

        backward = jax.jit(lambda x, kernel, by: jax.vjp(output, x, kernel)[1](by))
        return backward(*(jnp.asarray(array, dtype) for array in (x, kernel, gradient)))

    for found, wanted in zip(gradients(CpuConv, dtype), gradients(nn.Conv, "float32"), strict=True):
        assert error(found, wanted) < most


@pytest.mark.parametrize(
    "changed",
    [
        {"kernel_size": (1, 1)},
        {"strides": (2, 2)},
        {"padding": 0},
        {"features": 2},
        {"min_channels": 9},
    ],
)
def test_other_convolutions_are_those_of_flax(changed):
    asked = {"features": 6, "kernel_size": (3, 3), "padding": 1, "min_channels": 4} | changed
    ours = CpuConv(**asked)
    del asked["min_channels"]
    x = draw(1, 8, 8, 8)
    kernel = draw(*asked["kernel_size"], 8, asked["features"], seed=1)
    variables = {"params": {"kernel": kernel, "bias": draw(asked["features"])}}
    np.testing.assert_array_equal(nn.Conv(**asked).apply(variables, x), ours.apply(variables, x))


def test_bits_of_bfloat16():
    exact = draw(1000) * np.float32(2.0) ** np.arange(-500, 500).clip(-120, 120)
    exact = np.concatenate([exact, [0.0, -0.0, np.inf, -np.inf, np.nan]]).astype(np.float32)
    rounded = jnp.asarray(exact, jnp.bfloat16)
    wanted = np.asarray(rounded, np.float32)
    # No draw lies halfway between two values, where `jnp.asarray` rounds to even.
    found = narrow(jnp.asarray(exact), jnp.bfloat16)
    np.testing.assert_array_equal(np.asarray(found, np.float32), wanted)
    np.testing.assert_array_equal(widen(rounded), wanted)
    reversed_ = by_bits(lambda x: jnp.pad(x[::-1], (0, 1)), rounded)
    np.testing.assert_array_equal(np.asarray(reversed_, np.float32), np.pad(wanted[::-1], (0, 1)))


def test_float32_predictions_use_eigen():
    matrices = jnp.zeros((2, 512, 64)), jnp.zeros((2, 64, 64))

    def program(options):
        multiply = jax.jit(jnp.matmul, compiler_options=options)
        return multiply.lower(*matrices).compile().as_text()

    if "ynn" not in program({}):
        pytest.skip("this version of jax does not use YNNPACK here, with or without options")
    assert "ynn" not in program(compiler_options(jnp.dtype("float32")))


def test_networks_of_patches_predict_with_ynnpack():
    conv = nn.Conv(48, (3, 3))
    x = jnp.zeros((1, 44, 152, 48))
    lowered = jax.jit(conv.apply).lower(jax.eval_shape(conv.init, jax.random.key(0), x), x)
    if "ynn" not in lowered.compile().as_text():
        pytest.skip("this version of jax does not use YNNPACK here, with or without options")
    assert "ynn" in lowered.compile(compiler_options(x.dtype, patches=True)).as_text()


def test_bfloat16_needs_no_options():
    assert compiler_options(jnp.dtype("bfloat16")) == {}


def test_an_option_that_jax_does_not_know_is_left_out(monkeypatch):
    def refuse(*_):
        raise jax.errors.JaxRuntimeError("No such compile option")

    compiler_options.cache_clear()
    monkeypatch.setattr(jax.stages.Lowered, "compile", refuse)
    assert compiler_options(jnp.dtype("float32")) == {}
    compiler_options.cache_clear()
