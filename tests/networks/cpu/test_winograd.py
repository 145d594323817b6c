"""Winograd F(4x4, 3x3) against the definition of a convolution, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.networks.cpu import winograd
from fcfrnet_jax.networks.cpu.winograd import (
    convolve,
    convolve_plain,
    convolve_strips,
    transform_kernel,
)


def definition(x, kernel):
    """Nine shifted products, with a border of zeros."""
    _, height, width, _ = x.shape
    x, kernel = np.float64(x), np.float64(kernel)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )


def draw(shape, features, seed=0):
    random = np.random.default_rng(seed)
    return (
        random.normal(size=shape).astype(np.float32),
        random.normal(size=(3, 3, shape[-1], features)).astype(np.float32),
    )


def error(found, wanted):
    """Root mean square of the difference, relative to that of `wanted`."""
    return np.sqrt(np.mean((np.float64(found) - wanted) ** 2) / np.mean(wanted**2))


sizes = st.integers(1, 21)


@settings(max_examples=6)
@given(
    shape=st.tuples(st.integers(1, 3), sizes, sizes, st.integers(1, 5)), features=st.integers(1, 5)
)
def test_every_size(shape, features):
    x, kernel = draw(shape, features)
    found = jax.jit(convolve)(x, transform_kernel(kernel))
    assert error(found, definition(x, kernel)) < 3e-6


@settings(max_examples=6)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(9, 40), sizes, st.integers(1, 5)),
    features=st.integers(1, 5),
    tile_rows=st.integers(1, 2),
)
def test_strips_of_every_size(shape, features, tile_rows):
    x, kernel = draw(shape, features)
    row = 4 * winograd.IN**2 * -(-shape[2] // winograd.OUT) * (shape[3] + features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "STRIP_BYTES", tile_rows * row)
        traced = jax.jit(convolve_strips).trace(x, transform_kernel(kernel))
    assert "dynamic_update_slice" in str(traced.jaxpr)
    found = traced.lower().compile()(x, transform_kernel(kernel))
    assert error(found, definition(x, kernel)) < 3e-6


def test_large_kernels_are_not_applied_in_strips(monkeypatch):
    monkeypatch.setattr(winograd, "STRIP_BYTES", 1)
    for features, strips in ((128, True), (129, False)):
        made = jax.make_jaxpr(convolve_strips)(
            np.zeros((1, 9, 9, 128)), np.zeros((36, 128, features))
        )
        assert ("dynamic_update_slice" in str(made)) == strips


@settings(max_examples=4)
@given(
    shape=st.tuples(st.integers(1, 3), sizes, sizes, st.integers(1, 5)), features=st.integers(1, 5)
)
def test_gradients_of_every_size(shape, features):
    """Against the definition, which is linear in the input and in the kernel."""
    with jax.enable_x64(True):
        x, kernel = (np.float64(array) for array in draw(shape, features))
        gradient = np.random.default_rng(1).normal(size=(*shape[:3], features))

        @jax.jit
        def result_and_gradients(x, kernel, gradient):
            found, transpose = jax.vjp(convolve_plain, x, kernel)
            return found, *transpose(gradient)

        found, by_x, by_kernel = map(np.asarray, result_and_gradients(x, kernel, gradient))
    assert error(found, definition(x, kernel)) < 1e-13
    dx, dk = draw(shape, features, seed=2)
    for by, change, changed in ((by_x, dx, (dx, kernel)), (by_kernel, dk, (x, dk))):
        expected = np.sum(gradient * definition(*changed))
        size = np.linalg.norm(gradient) * np.linalg.norm(definition(*changed))
        assert abs(np.sum(by * change) - expected) < 1e-12 * size


@pytest.mark.parametrize(("dtype", "most"), [("float64", 1e-14), ("float32", 3e-6)])
def test_error_of_many_channels(dtype, most):
    with jax.enable_x64(dtype == "float64"):
        x, kernel = (array.astype(dtype) for array in draw((1, 16, 16, 256), 64))
        found = convolve(x, transform_kernel(kernel))
        assert found.dtype == dtype
        assert error(found, definition(x, kernel)) < most


def test_bfloat16_products_are_summed_in_float32():
    x, kernel = draw((1, 16, 16, 256), 64)
    x = jnp.asarray(x, jnp.bfloat16)
    found = convolve(x, jnp.asarray(transform_kernel(kernel), jnp.bfloat16))
    assert found.dtype == jnp.float32
    assert 1e-3 < error(found, definition(x, kernel)) < 0.02
