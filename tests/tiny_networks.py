"""Networks that compile quickly.

The networks of two layers have everything that a training step handles.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcfrnet_jax.networks import layers, network
from fcfrnet_jax.networks.layers import ConvNormAct
from fcfrnet_jax.networks.models import CoarseToFine, SparseToCoarse
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec


def shorten_resnet(monkeypatch):
    """Leaves one block in each layer of ResNet-18, which compiles in half the time."""
    monkeypatch.setitem(network.RESNETS, 18, ((1, 1, 1, 1), layers.BasicBlock))


def two_layers(model, image, depth, train):
    parts = model.bound_parts(train)
    x = jnp.concatenate([image / 255.0, depth / 100.0], axis=-1).astype(model.dtype)
    block = ConvNormAct(6, parts.bound_conv, parts.norm)
    return nn.Conv(1, (1, 1))(block(x).astype(depth.dtype))


class TinyCoarse(SparseToCoarse):
    @nn.compact
    def __call__(self, image, depth, train=False):
        return 10.0 + 60.0 * two_layers(self, image, depth, train)


class TinyFine(CoarseToFine):
    @nn.compact
    def __call__(self, image, depth, train=False, sparse_depth=None):
        return depth + 20.0 * two_layers(self, image, depth, train)


COARSE = TinyCoarse(SparseToCoarseSpec(18, width=4))
FINE = TinyFine(CoarseToFineSpec(18, width=4))


def variables_of(network, seed=0):
    """Random variables for a network."""
    inputs = jnp.zeros((1, 16, 16, 3)), jnp.zeros((1, 16, 16, 1))
    shapes = jax.eval_shape(network.init, jax.random.key(0), *inputs)
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        offset = 1.0 if path[-1].key in ("scale", "var") else 0.0
        return np.float32(offset + 0.2 * random.uniform(-1, 1, leaf.shape))

    return jax.tree_util.tree_map_with_path(draw, shapes)
