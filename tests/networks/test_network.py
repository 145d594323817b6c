"""The encoder and the decoder: variables and shapes of every network."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.network import RESNETS
from fcfrnet_jax.networks.specs import (
    RESNET_LAYERS,
    VARIANTS,
    CoarseToFineSpec,
    SparseToCoarseSpec,
)
from fcfrnet_jax.weights import convert
from tests import golden_data

SIZE = (2, 32, 48)
IMAGE = jax.ShapeDtypeStruct((*SIZE, 3), np.uint8)
DEPTH = jax.ShapeDtypeStruct((*SIZE, 1), np.float32)


def parameters(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("name", golden_data.STATE_SPEC)
def test_variables_are_those_of_the_released_code(name):
    released = golden_data.STATE_SPEC[name]
    kind, modality = name.split("_")
    spec_class = SparseToCoarseSpec if kind.startswith("std") else CoarseToFineSpec
    variables = models.variable_shapes(spec_class(int(kind[-2:]), modality))
    entries = convert.entries(flax.traverse_util.flatten_dict(variables, sep="/"))
    assert set(entries) == set(released)
    assert parameters(variables) == sum(int(np.prod(shape)) for shape in released.values())


@pytest.mark.parametrize(
    ("spec", "train"),
    [
        *((SparseToCoarseSpec(layers, width=4), layers == 18) for layers in RESNET_LAYERS),
        *((CoarseToFineSpec(n, width=4, variant=v), n == 18) for n in (18, 50) for v in VARIANTS),
    ],
)
def test_every_network_returns_a_depth_map(spec, train):
    network = models.build(spec)

    def apply(variables, image, depth):
        return network.apply(variables, image, depth, train, mutable="batch_stats")[0]

    output = jax.eval_shape(apply, models.variable_shapes(spec), IMAGE, DEPTH)
    assert (output.shape, output.dtype) == ((*SIZE, 1), jnp.float32)


@pytest.mark.parametrize(
    # Totals that torchvision documents, less the stem and the classifier.
    ("layers", "count"),
    [(18, 11_689_512 - 513_000), (34, 21_797_672 - 513_000), (50, 25_557_032 - 2_049_000)],
)
def test_encoder_is_the_resnet(layers, count):
    params = models.variable_shapes(SparseToCoarseSpec(layers))["params"]
    stem = 7 * 7 * 3 * 64 + 2 * 64
    assert parameters({f"conv{i}": params[f"conv{i}"] for i in range(2, 6)}) == count - stem


def test_paper_variant_has_skips_of_one_map():
    released, paper = (
        parameters(models.variable_shapes(CoarseToFineSpec(18, variant=variant))["params"])
        for variant in ("released", "paper")
    )
    halves = ((512, 128), (256, 64), (128, 64), (64, 64))
    assert released - paper == sum(9 * skip * out for skip, out in halves) + 64


def test_every_resnet_has_blocks():
    assert tuple(RESNETS) == RESNET_LAYERS


def test_width_scales_all_channels():
    narrow, wide = (
        models.variable_shapes(CoarseToFineSpec(18, width=w))["params"] for w in (16, 64)
    )
    for layer in ("conv5", "conv5_2", "convt3"):
        kernels = [leaf.size for leaf in jax.tree.leaves(narrow[layer]) if len(leaf.shape) == 4]
        assert 16 * sum(kernels) == sum(
            leaf.size for leaf in jax.tree.leaves(wide[layer]) if len(leaf.shape) == 4
        )
