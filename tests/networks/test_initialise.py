"""Initial variables for training."""

import jax
import numpy as np
import pytest

from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec

COARSE = SparseToCoarseSpec(18, width=16)
FINE = CoarseToFineSpec(18, width=16)


def leaves_of(tree, kind):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p): leaf for p, leaf in leaves if p[-1].key == kind}


@pytest.mark.parametrize("spec", [COARSE, FINE, TwoStageSpec(COARSE, FINE)])
def test_the_tree_is_that_of_the_network(spec):
    drawn = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), initial_variables(spec, 0))
    wanted = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), models.variable_shapes(spec))
    assert drawn == wanted


@pytest.mark.parametrize("scheme", ["resnet", "reference"])
def test_batchnorm_starts_as_the_identity(scheme):
    variables = initial_variables(FINE, 0, scheme)
    for kind, value in (("scale", 1), ("bias", 0), ("mean", 0), ("var", 1)):
        leaves = leaves_of(variables, kind)
        assert leaves
        assert all((leaf == value).all() for leaf in leaves.values())


def test_the_scheme_of_he():
    kernels = leaves_of(initial_variables(COARSE, 0)["params"], "kernel")
    last = kernels.pop("['convtf']['kernel']")
    assert last.std() == pytest.approx(1e-3, rel=0.5)
    for kernel in kernels.values():
        height, width, _, features = kernel.shape
        scaled = kernel / np.sqrt(2 / (height * width * features))
        # Five standard deviations of the estimate.
        assert scaled.std() == pytest.approx(1, rel=5 / np.sqrt(2 * kernel.size))
        assert abs(scaled.mean()) < 5 / np.sqrt(kernel.size)


def test_the_scheme_of_the_reference():
    kernels = leaves_of(initial_variables(COARSE, 0, "reference")["params"], "kernel")
    values = np.concatenate([kernel.ravel() for kernel in kernels.values()])
    assert values.std() == pytest.approx(1e-3, rel=0.01)


def test_training_starts_from_the_coarse_depth():
    depth = np.random.default_rng(0).uniform(5, 80, (1, 32, 48, 1)).astype(np.float32)
    image = np.full((1, 32, 48, 3), 128, np.uint8)
    apply = jax.jit(models.build(FINE).apply)
    fine = apply(initial_variables(FINE, 0), image, depth)
    assert np.abs(fine - depth).max() < 10


def test_an_array_depends_on_seed_and_name_alone():
    narrow = SparseToCoarseSpec(18, "d", width=16)
    deep = initial_variables(SparseToCoarseSpec(34, "d", width=16), 3)
    shallow, again = initial_variables(narrow, 3), initial_variables(narrow, 3)
    jax.tree.map(np.testing.assert_array_equal, shallow, again)
    for name, kernel in leaves_of(shallow["params"], "kernel").items():
        np.testing.assert_array_equal(kernel, leaves_of(deep["params"], "kernel")[name])


def test_all_arrays_differ():
    first, second = (leaves_of(initial_variables(COARSE, seed), "kernel") for seed in (0, 1))
    firsts = [leaf.ravel()[:8] / leaf.std() for leaf in (*first.values(), *second.values())]
    assert len({tuple(np.round(values, 3)) for values in firsts}) == len(first) + len(second)


def test_draws_do_not_change_between_versions():
    """A training that is repeated with a later version must start from the same weights."""
    kernel = initial_variables(COARSE, 7)["params"]["conv2"]["block0"]["conv1"]["kernel"]
    first = [-0.00187056, -0.1366369, -0.01150294]
    np.testing.assert_allclose(kernel[0, 0, 0, :3], first, rtol=1e-5)


def test_unknown_scheme():
    with pytest.raises(ValueError, match="'he'; the choices are resnet, reference"):
        initial_variables(COARSE, 0, "he")


def test_negative_seed():
    with pytest.raises(ValueError, match="must not be negative, got -1"):
        initial_variables(COARSE, -1)
