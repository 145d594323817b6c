"""Networks of patches: their arrangement, their convex combinations and their folded form."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.networks import models, patches, select
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.specs import (
    CoarseToFineSpec,
    SparseToCoarseSpec,
    TwoStageSpec,
    spec_from_json,
    spec_to_json,
)

RNG = np.random.default_rng(0)
SETTINGS = {"layers": 10, "width": 8, "patch": 4}
COARSE = SparseToCoarseSpec(modality="d", base="fill", keep_measured=True, **SETTINGS)
SPEC = TwoStageSpec(COARSE, CoarseToFineSpec(**SETTINGS))
# Neither side is a multiple of more than eight patches' pixels.
SIZE = (1, 40, 88)


def inputs() -> tuple[np.ndarray, np.ndarray]:
    image = RNG.integers(0, 255, (*SIZE, 3), np.uint8)
    sparse = RNG.uniform(2.0, 80.0, (*SIZE, 1)) * (RNG.random((*SIZE, 1)) < 0.05)
    return image, sparse.astype(np.float32)


def used_variables() -> models.Variables:
    """Initial variables with statistics, biases and a last layer as after some training."""

    def use(path: tuple, leaf: np.ndarray) -> np.ndarray:
        if path[-1].key == "kernel":
            return leaf * np.float32(20 if path[-2].key == HEAD else 1)
        return leaf + RNG.uniform(0.1, 0.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(use, initial_variables(SPEC, 0))


@pytest.fixture(scope="module")
def variables() -> models.Variables:
    return used_variables()


def test_patches_hold_their_pixels_in_order():
    x = np.arange(2 * 4 * 6).reshape(1, 4, 6, 2)
    found = np.asarray(patches.to_patches(jnp.array(x), 2))
    assert found.shape == (1, 2, 3, 8)
    np.testing.assert_array_equal(found[0, 1, 2], x[0, 2:4, 4:6].ravel())


def test_from_patches_is_the_inverse_of_to_patches():
    x = RNG.random((2, 8, 12, 1)).astype(np.float32)
    np.testing.assert_array_equal(patches.from_patches(patches.to_patches(x, 4), 4), x)


def test_a_function_of_pixels_computes_the_same_in_the_arrangement_of_patches():
    x, y = RNG.random((2, 1, 8, 12, 1)).astype(np.float32)
    found = patches.pixelwise(lambda a, b: a - 2 * b, 4, jnp.array(x), jnp.array(y))
    np.testing.assert_allclose(found, x - 2 * y, rtol=1e-6)


def test_scan_maps_are_four_for_each_pixel():
    sparse = np.array([0.0, 10.0], np.float32).reshape(1, 1, 1, 2)
    dense, base = (np.full_like(sparse, value) for value in (2.0, 3.0))
    found = patches.scan_maps(*map(jnp.array, (sparse, dense, base)), (0.9, 85.0))
    measured = [0.75, 0.25 * np.log(10), 1.0, np.log(10) - 2]
    np.testing.assert_allclose(found[0, 0, 0], [0.75, 0, 0, 0, *measured], rtol=1e-6)


def test_mix_weights_with_the_softmax():
    logits, values = RNG.normal(size=(2, 5, 3, 4))
    weights = np.exp(logits) / np.exp(logits).sum(axis=0)
    found = patches.mix(list(map(jnp.array, logits)), list(map(jnp.array, values)))
    np.testing.assert_allclose(found, (weights * values).sum(axis=0), rtol=1e-5)


def test_neighbours_are_shifted_copies_with_a_repeated_border():
    x = RNG.random((1, 5, 6, 1))
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), "edge")
    found = patches.neighbours(jnp.array(x), 2)
    assert len(found) == patches.NEIGHBOURS
    np.testing.assert_allclose(found[0], padded[:, :5, :6], rtol=1e-6)
    np.testing.assert_allclose(found[5], padded[:, 2:7, 4:], rtol=1e-6)


def test_without_a_residual_depths_stay_between_those_of_the_base():
    head = RNG.normal(scale=3.0, size=(1, 3, 4, patches.outputs(4))).astype(np.float32)
    head[..., 0] = 0.0
    base = RNG.uniform(1.0, 4.0, (1, 12, 16, 1)).astype(np.float32)
    found = patches.combine(jnp.array(head), patches.to_patches(jnp.array(base), 4), 4)
    assert base.min() <= found.min()
    assert found.max() <= base.max()


def test_a_uniform_base_and_residual_give_their_sum_at_every_patch():
    head = np.zeros((1, 3, 4, patches.outputs(2)), np.float32)
    head[..., 0] = 0.5
    # Only the share of the base itself has no residual.
    share = np.exp(patches.OWN) / (patches.NEIGHBOURS + np.exp(patches.OWN))
    found = patches.combine(jnp.array(head), jnp.full((1, 3, 4, 4), 2.0), 2)
    np.testing.assert_allclose(found, 2.0 + 0.5 * (1.0 - share), rtol=1e-5)


def test_the_folded_network_predicts_the_same(variables):
    image, sparse = inputs()
    plain = jax.jit(models.build(SPEC).apply)(variables, image, sparse)
    network, folded, _ = select.for_prediction(SPEC, variables)
    found = jax.jit(network.apply)(folded, image, sparse)
    assert np.std(plain[1]) > 1.0
    for one, other in zip(found, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.slow
def test_measured_depths_are_kept_in_prediction_only(variables):
    image, sparse = inputs()
    network = models.build(SPEC)
    kept = network.apply(variables, image, sparse)[1]
    near = (sparse > 0) & (sparse < 1.0 * kept + 1e-3)
    np.testing.assert_array_equal(np.asarray(kept)[near], sparse[near])
    trained, _ = network.apply(variables, image, sparse, train=True, mutable=["batch_stats"])
    assert np.mean(np.asarray(trained[1])[near] == sparse[near]) < 0.1


def test_a_frame_without_measurements_gets_finite_depth(variables):
    image, sparse = inputs()
    coarse, fine = models.build(SPEC).apply(variables, image, 0 * sparse)
    assert np.isfinite(coarse).all()
    assert np.isfinite(fine).all()


def test_the_spec_survives_json():
    assert spec_from_json(spec_to_json(SPEC)) == SPEC


def test_without_image_input_the_network_keeps_its_size_and_needs_no_image():
    spec = dataclasses.replace(SPEC, fine=CoarseToFineSpec(modality="d", **SETTINGS))
    assert not spec.uses_image
    image, sparse = inputs()
    variables = initial_variables(spec, 0)
    network, folded, _ = select.for_prediction(spec, variables)
    fine = jax.jit(network.apply)(folded, None, sparse)[1]
    with_image = models.build(spec).apply(variables, image, sparse)[1]
    np.testing.assert_allclose(fine, with_image, rtol=1e-4)
    sizes = [
        [leaf.shape for leaf in jax.tree.leaves(initial_variables(s, 0))] for s in (spec, SPEC)
    ]
    # Only the first layer of the branch of the image reads another number of channels.
    assert sum(one != other for one, other in zip(*sizes, strict=True)) == 1


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (CoarseToFineSpec, {"modality": "d"}, "modality='d' .* needs patch=2 or 4"),
        (
            SparseToCoarseSpec,
            {"modality": "rgb", "patch": 4},
            "patch=4 needs a modality with depth, got 'rgb'",
        ),
    ],
)
def test_inputs_that_a_form_cannot_use_are_refused(kind, settings, message):
    with pytest.raises(ValueError, match=message):
        kind(**settings)


def test_an_unknown_patch_is_refused():
    with pytest.raises(ValueError, match="patch must be one of 1, 2, 4, got 3"):
        CoarseToFineSpec(patch=3)
