"""Packed layers and networks against unpacked ones."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.branches import ChannelShuffle
from fcfrnet_jax.networks.fold import fold
from fcfrnet_jax.networks.layers import DoublingConv, Head
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.networks.tpu.norm import PackedNorm
from fcfrnet_jax.networks.tpu.operations import shuffle_branches
from fcfrnet_jax.networks.tpu.packing import (
    ArrangedDoublingConv,
    PackedConv,
    PackedHead,
    PackingConv,
    is_shifted,
    pairs_of_double_rows,
    pairs_of_runs,
    pixels_of_double_rows,
    unpack,
)
from fcfrnet_jax.networks.tpu.parts import PackedParts
from tests import golden_data
from tests.random_weights import random_variables

COARSE = SparseToCoarseSpec(18, width=8)
FINE = CoarseToFineSpec(18, width=4)


def array(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pack(x, shifted=False):
    """Packs pixels to pairs; outside the image, shifted pairs have zeros."""
    if shifted:
        x = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    parts = [x[:, :, q::2] for q in (0, 1)]
    return np.stack(parts, axis=-1).reshape(*parts[0].shape[:3], -1)


def pixels(x):
    """Unpacks pairs, shifted or not."""
    return unpack(x)[:, :, 1:-1] if is_shifted(x) else unpack(x)


def variables_of(layer, x):
    """Random variables, including the bias."""
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: array(leaf.size, *leaf.shape), shapes)


def with_garbage_outside(x):
    """Sets the pixels of shifted pairs that are not part of the image to a large number."""
    batch, rows, columns, channels = x.shape
    inside = pack(np.ones((batch, rows, 2 * columns - 2, channels // 2)), shifted=True)
    return np.where(inside > 0, x, np.float32(1e6))


@given(
    batch=st.integers(1, 2),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    channels=st.integers(1, 3),
    shifted=st.booleans(),
)
@settings(max_examples=20)
def test_unpacking_is_the_inverse_of_packing(batch, rows, columns, channels, shifted):
    x = array(0, batch, 4 * rows, 4 * columns, channels)
    packed = pack(x, shifted)
    assert packed.shape == (batch, 4 * rows, 2 * columns + shifted, 2 * channels)
    assert is_shifted(packed) == shifted
    np.testing.assert_array_equal(pixels(packed), x)


def test_packed_arrays_are_concatenated_and_sliced_like_unpacked_ones():
    x, y = array(0, 1, 4, 8, 2), array(1, 1, 4, 8, 6)
    joined = jnp.concatenate([pack(x), pack(y)], axis=-1)
    np.testing.assert_array_equal(unpack(joined), jnp.concatenate([x, y], axis=-1))
    np.testing.assert_array_equal(unpack(pack(y)[..., :6]), y[..., :3])


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("use_bias", [False, True])
def test_convolutions(shifted, size, use_bias):
    x = array(0, 2, 6, 32, 3)
    same = {"use_bias": use_bias, "padding": size // 2}
    variables = variables_of(nn.Conv(5, (size, size), **same), x)
    packed = pack(x, shifted)
    if shifted:
        packed = with_garbage_outside(packed)
    found = PackedConv(5, (size, size), **same).apply(variables, packed)
    expected = nn.Conv(5, (size, size), **same).apply(variables, x)
    # A 3x3 kernel shifts the pairs, or shifts them back.
    assert is_shifted(found) == (shifted != (size == 3))
    np.testing.assert_allclose(pixels(found), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shifted", [False, True])
def test_gradients_of_convolutions(shifted):
    x, by_result = array(0, 2, 6, 32, 3), array(1, 2, 6, 32, 5)
    variables = variables_of(nn.Conv(5, (3, 3), padding=1), x)

    def found(variables, x):
        packed = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0))) if shifted else x
        pairs = packed.reshape(2, 6, -1, 2, 3).swapaxes(3, 4).reshape(2, 6, -1, 6)
        return pixels(PackedConv(5, (3, 3), padding=1).apply(variables, pairs))

    _, gradients = jax.vjp(found, variables, x)
    _, expected = jax.vjp(nn.Conv(5, (3, 3), padding=1).apply, variables, x)
    same = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-4)
    jax.tree.map(same, gradients(by_result), expected(by_result))


def test_convolutions_of_pixels():
    x = array(0, 2, 6, 32, 3)
    variables = variables_of(nn.Conv(5, (3, 3), padding=1), x)
    found = pairs_of_runs(PackingConv(5).apply(variables, x))
    expected = nn.Conv(5, (3, 3), padding=1).apply(variables, x)
    np.testing.assert_allclose(unpack(found), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [1, 3])
def test_convolutions_that_halve_the_size(size):
    x = array(0, 2, 6, 32, 3)
    same = {"strides": (2, 2), "padding": size // 2}
    variables = variables_of(nn.Conv(5, (size, size), **same), x)
    found = PackedConv(5, (size, size), **same).apply(variables, pack(x))
    expected = nn.Conv(5, (size, size), **same).apply(variables, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_convolutions_that_double_the_size(packed):
    x = array(0, 2, 4, 6, 3)
    variables = variables_of(DoublingConv(5), x)
    found = ArrangedDoublingConv(5, packed).apply(variables, x)
    found = unpack(pairs_of_double_rows(found)) if packed else pixels_of_double_rows(found)
    expected = DoublingConv(5).apply(variables, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("packed", [False, True])
def test_the_head_convolves_the_concatenated_arrays(packed):
    x, y = array(0, 2, 6, 32, 3), array(1, 2, 6, 32, 2)
    joined = jnp.concatenate([x, y], axis=-1)
    variables = variables_of(nn.Conv(1, (1, 1)), joined)
    parts = [with_garbage_outside(pack(x, shifted=True)), pack(y)] if packed else [x, y]
    found = (PackedHead if packed else Head)().apply(variables, parts)
    expected = nn.Conv(1, (1, 1)).apply(variables, joined)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pixels", [1, 2])
def test_shuffled_branches(pixels):
    x, y = array(0, 1, 4, 8, 6), array(1, 1, 4, 8, 6)
    if pixels == 1:
        found = shuffle_branches(x, y, pixels=1)
    else:
        found = map(unpack, shuffle_branches(pack(x), pack(y), pixels=2))
    for one, expected in zip(found, ChannelShuffle().apply({}, x, y), strict=True):
        np.testing.assert_array_equal(one, expected)


@pytest.mark.parametrize("width", [6, 7])
@pytest.mark.parametrize("places", [(1, 1), (1, 2), (2, 1), (8, 2)])
@pytest.mark.parametrize("train", [False, True])
def test_normalisation(width, places, train):
    """On two devices. An odd number of pairs is shifted."""
    before, after = places
    # [device, B, H, W, before, after, C], where `before` and `after` count pixels.
    apart = array(0, 2, 2, 4, width, before, after, 3)
    packed = apart.swapaxes(-1, -2).reshape(2, 2, 4, width, -1)
    plain = apart.reshape(2, 2, 4, -1, 3)
    shifted = places == (1, 2) and width == 7
    if shifted:
        plain = plain[:, :, :, 1:-1]
    settings = {"use_running_average": not train, "axis_name": "devices"}

    def normalised(norm, x):
        apply = partial(norm.apply, mutable="batch_stats")
        variables = variables_of(norm.clone(axis_name=None), x[0])
        variables = jax.tree.map(np.abs, variables)
        on_devices = jax.jit(jax.vmap(apply, in_axes=(None, 0), axis_name="devices"))
        return on_devices(variables, x)

    found, statistics = normalised(PackedNorm(before=before, after=after, **settings), packed)
    expected, wanted = normalised(
        nn.BatchNorm(momentum=0.9, use_fast_variance=False, **settings), plain
    )
    found = found.reshape(*apart.shape[:-2], 3, after).swapaxes(-1, -2).reshape(2, 2, 4, -1, 3)
    same = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
    same(found[:, :, :, 1:-1] if shifted else found, expected)
    jax.tree.map(same, statistics, wanted)


@pytest.mark.nightly
@pytest.mark.usefixtures("short_resnet")
@pytest.mark.parametrize(("spec", "remat"), [(COARSE, False), (FINE, True)])
def test_training_in_float64(spec, remat):
    """Loss, statistics and gradients of two devices that share their statistics."""
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (2, 1, 16, 32, 3), dtype=np.uint8)
    depth, truth = random.uniform(1, 80, (2, 2, 1, 16, 32, 1))

    def losses(parts, variables, *inputs):
        network = models.build(spec, dtype=np.float64, remat=remat, parts=parts)
        network = network.clone(axis_name="devices")

        def loss(params, image, depth, truth):
            known = variables | {"params": params}
            found, new = network.apply(known, image, depth, True, mutable="batch_stats")
            return jnp.mean(jnp.square(found - truth)), new

        step = jax.value_and_grad(loss, has_aux=True)
        in_axes = (None, 0, 0, 0)
        return jax.vmap(step, in_axes, axis_name="devices")(variables["params"], *inputs)

    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, random_variables(spec))
        expected, found = (
            jax.jit(partial(losses, parts))(variables, image, depth, truth)
            for parts in (Parts, PackedParts)
        )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * np.abs(b).max()),
        found,
        expected,
    )


def test_networks_in_float64():
    """In float64, only the formulas can make a difference."""
    spec = TwoStageSpec(COARSE, FINE)
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    depth = random.uniform(1, 80, (1, 32, 48, 1)).astype(np.float32)
    with jax.enable_x64(True):
        variables = fold(spec, jax.tree.map(np.float64, random_variables(spec)))
        plain, packed = (
            models.build(spec, dtype=np.float64, folded=True, parts=parts)
            for parts in (Parts, PackedParts)
        )
        wanted = models.shapes_of(packed)
        assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, wanted)
        expected = jax.jit(plain.apply)(variables, image, depth)
        found = jax.jit(packed.apply)(variables, image, depth)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), found, expected)


@pytest.mark.parametrize("name", golden_data.ONE_QUICK)
def test_golden_depth(name):
    golden = golden_data.load(name)
    spec, variables = golden_data.model(name, int(golden["seed"]))
    image = golden_data.image(golden, spec)
    network = models.build(spec, folded=True, parts=PackedParts)
    depth = jax.jit(network.apply)(fold(spec, variables), image, golden["depth"])
    difference = np.maximum(depth, 0.9) - golden["pred_eval"]
    assert 1e3 * np.sqrt(np.mean(np.square(difference, dtype=np.float64))) < 0.05
    assert 1e3 * np.abs(difference).max() < 0.5
