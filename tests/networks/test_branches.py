"""Mixing and fusing two branches, against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.networks.branches import (
    ChannelShuffle,
    ExchangeHalves,
    GatherHalves,
    channel_shuffle,
    energy_fusion,
)
from tests.numpy_branches import fused, shuffled


@given(st.integers(1, 6), st.integers(1, 3))
def test_channel_shuffle_interleaves(half, rows):
    x = np.arange(rows * 2 * half).reshape(rows, 2 * half)
    expected = np.stack([x[:, :half], x[:, half:]], axis=-1).reshape(rows, 2 * half)
    np.testing.assert_array_equal(channel_shuffle(jnp.asarray(x)), expected)


def test_channel_shuffle_refuses_an_odd_number_of_channels():
    with pytest.raises(ValueError, match=r"even number of channels, got shape \(2, 3\)"):
        channel_shuffle(jnp.zeros((2, 3)))


def test_each_branch_gets_half_of_the_shuffled_channels():
    first, second = np.random.default_rng(0).normal(size=(2, 1, 3, 4, 6))
    found = ChannelShuffle().apply({}, jnp.asarray(first), jnp.asarray(second))
    np.testing.assert_allclose(found, shuffled(first, second), rtol=1e-6)


def test_exchanged_halves_keep_their_positions():
    first, second = ExchangeHalves().apply({}, jnp.arange(6), 10 + jnp.arange(6))
    np.testing.assert_array_equal(first, [0, 1, 2, 13, 14, 15])
    np.testing.assert_array_equal(second, [10, 11, 12, 3, 4, 5])


def test_gathered_halves_are_the_shuffled_branches_in_another_order():
    first, second = np.arange(6), 10 + np.arange(6)
    found = GatherHalves().apply({}, jnp.asarray(first), jnp.asarray(second))
    # Even positions of the shuffled branches, then odd ones.
    expected = [np.concatenate([x[::2], x[1::2]]) for x in shuffled(first, second)]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=10)
@given(st.integers(1, 7), st.integers(1, 9), st.sampled_from([1, 3, 5]), st.integers(0, 99))
def test_energy_fusion_against_numpy(height, width, window, seed):
    a, b = np.random.default_rng(seed).standard_normal((2, 2, height, width, 3)).astype(np.float32)
    found = energy_fusion(jnp.asarray(a), jnp.asarray(b), window)
    np.testing.assert_array_equal(found, fused(a, b, window))


def test_energy_fusion_of_a_tie_keeps_the_first():
    a = jnp.ones((1, 4, 4, 2))
    np.testing.assert_array_equal(energy_fusion(a, -a), 2 * a)


def test_energy_fusion_compares_bfloat16_in_float32():
    a = jnp.full((1, 5, 5, 1), 1.0, jnp.bfloat16)
    # One entry differs by the smallest step of bfloat16: sums of 25 in bfloat16 would tie.
    b = a.at[0, 2, 2, 0].set(1.0078125)
    np.testing.assert_array_equal(energy_fusion(a, b), 2 * b)


@pytest.mark.parametrize("window", [0, -1, 4])
def test_energy_fusion_refuses_a_window_without_a_centre(window):
    with pytest.raises(ValueError, match=f"odd and positive, got {window}"):
        energy_fusion(jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 4, 4, 1)), window)


def test_energy_fusion_refuses_different_shapes():
    with pytest.raises(ValueError, match=r"equal shapes, got \(1, 4, 4, 1\) and \(1, 4, 4, 2\)"):
        energy_fusion(jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 4, 4, 2)))
