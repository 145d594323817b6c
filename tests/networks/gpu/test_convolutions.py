"""Forms for GPUs against the plain convolutions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.gpu.convolutions import (
    FEW,
    PatchConv,
    double_convolve_by_phases,
)
from fcfrnet_jax.networks.gpu.parts import GpuParts
from fcfrnet_jax.networks.layers import DoublingConv, double_convolve
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from tests.random_weights import random_variables

BOTH = TwoStageSpec(SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4))
RNG = np.random.default_rng(0)


def array(*shape):
    return RNG.normal(size=shape)


def output_and_gradients(layer, variables, x, weights):
    def loss(variables, x):
        y = layer.apply(variables, x)
        return jnp.sum(weights * y), y

    return jax.grad(loss, argnums=(0, 1), has_aux=True)(variables, x)


@pytest.mark.parametrize("use_bias", [True, False])
def test_doubling_by_phases(use_bias):
    with jax.enable_x64(True):
        x, weights = array(2, 3, 5, 4), array(2, 6, 10, 3)
        plain, phases = (
            DoublingConv(3, use_bias, convolve=form)
            for form in (double_convolve, double_convolve_by_phases)
        )
        variables = plain.init(jax.random.key(0), x)
        assert jax.tree.map(jnp.shape, variables) == jax.tree.map(
            jnp.shape, phases.init(jax.random.key(0), x)
        )
        found = output_and_gradients(phases, variables, x, weights)
        wanted = output_and_gradients(plain, variables, x, weights)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12), found, wanted)


@pytest.mark.parametrize(("channels", "strides"), [(1, 1), (3, 1), (FEW + 1, 1), (3, 2)])
def test_products_with_patches(channels, strides):
    with jax.enable_x64(True):
        x = array(2, 6, 8, channels)
        settings = {"kernel_size": (3, 3), "strides": (strides, strides), "padding": 1}
        plain, patches = nn.Conv(5, **settings), PatchConv(5, **settings)
        variables = plain.init(jax.random.key(0), x)
        weights = array(*plain.apply(variables, x).shape)
        found = output_and_gradients(patches, variables, x, weights)
        wanted = output_and_gradients(plain, variables, x, weights)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12), found, wanted)


def test_no_zeros_are_inserted_and_few_channels_are_not_convolved():
    lowered = jax.jit(double_convolve_by_phases).trace(array(1, 4, 6, 8), array(3, 3, 8, 4))
    text = lowered.lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 1
    assert "lhs_dilate" not in text.replace("lhs_dilate = [1, 1]", "")
    stem = PatchConv(5, (3, 3), strides=(1, 1), padding=1)
    x = array(1, 4, 6, 3)
    variables = stem.init(jax.random.key(0), x)
    text = jax.jit(stem.apply).trace(variables, x).lower(lowering_platforms=("cuda",)).as_text()
    assert "stablehlo.convolution" not in text


@pytest.mark.usefixtures("short_resnet")
def test_a_network_keeps_its_variables_and_its_depth():
    image = RNG.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    depth = RNG.uniform(1, 80, (2, 32, 48, 1)).astype(np.float32)
    variables = random_variables(BOTH)
    networks = [models.build(BOTH, parts=parts) for parts in (models.Parts, GpuParts)]
    assert models.shapes_of(networks[0]) == models.shapes_of(networks[1])
    wanted, found = (jax.jit(network.apply)(variables, image, depth) for network in networks)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-2), found, wanted)
