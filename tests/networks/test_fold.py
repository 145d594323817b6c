"""Folded variables give the same depth without normalisation and shuffles."""

import jax
import numpy as np
import pytest

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.fold import fold
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from tests.random_weights import random_variables

COARSE = SparseToCoarseSpec(18, width=8)
SPECS = (
    SparseToCoarseSpec(50, "gd", width=4, base="fill"),
    CoarseToFineSpec(50, "gd", width=4),
    CoarseToFineSpec(18, width=4, variant="paper"),
    TwoStageSpec(COARSE, CoarseToFineSpec(18, width=8)),
)


def inputs():
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    return image, random.uniform(1, 80, (2, 32, 48, 1)).astype(np.float32)


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


# ResNet-50 takes longer to compile, and folding treats all layers alike.
@pytest.mark.parametrize(
    "spec", [*(pytest.param(spec, marks=pytest.mark.slow) for spec in SPECS[:2]), *SPECS[2:]]
)
@pytest.mark.usefixtures("short_resnet")
def test_same_depth_in_float64(spec):
    """In float64, only the formulas can make a difference."""
    with jax.enable_x64(True):
        variables = jax.tree.map(np.float64, random_variables(spec))
        network = models.build(spec, dtype=np.float64)
        folded = models.build(spec, dtype=np.float64, folded=True)
        expected = jax.jit(network.apply)(variables, *inputs())
        found = jax.jit(folded.apply)(fold(spec, variables), *inputs())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-4), found, expected)


@pytest.mark.parametrize("spec", SPECS)
def test_variables_are_those_of_the_folded_network(spec):
    folded = models.build(spec, folded=True)
    assert shapes(fold(spec, random_variables(spec))) == shapes(models.shapes_of(folded))


def test_the_arguments_are_not_changed():
    variables = random_variables(COARSE)
    fold(COARSE, variables)
    jax.tree.map(np.testing.assert_array_equal, variables, random_variables(COARSE))
