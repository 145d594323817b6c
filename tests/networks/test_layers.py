"""Layers with special code against those of Flax."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcfrnet_jax.networks.layers import DoublingConv


def test_doubling_convolution_and_its_gradients():
    random = np.random.default_rng(0)
    x, kernel, by = (random.normal(size=s) for s in ((2, 3, 5, 4), (3, 3, 4, 6), (2, 6, 10, 6)))
    variables = {"params": {"kernel": jnp.float32(kernel), "bias": jnp.arange(6.0)}}

    def result_and_gradients(module):
        result, transpose = jax.vjp(module.apply, variables, jnp.float32(x))
        return result, transpose(jnp.float32(by))

    padding = ((1, 2), (1, 2))
    flax_layer = nn.ConvTranspose(6, (3, 3), strides=(2, 2), padding=padding)
    found, expected = map(result_and_gradients, (DoublingConv(6), flax_layer))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)
