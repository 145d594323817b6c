"""The depth maps of every kind of network, and the evaluation step on eight virtual devices."""

import dataclasses

import jax
import numpy as np
import pytest

from fcfrnet_jax import parallel
from fcfrnet_jax.evaluation.depth_maps import depth_maps, make_eval_step
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from tests import tiny_networks
from tests.random_weights import random_variables

FINE = tiny_networks.FINE
VARIABLES = tiny_networks.variables_of(FINE)


def batch_of(size, *extra):
    """A batch of `size` frames of 32x48 pixels; `extra` names further depth maps."""
    random = np.random.default_rng(0)
    truth, other = random.uniform(1, 120, (2, size, 32, 48, 1)).astype(np.float32)
    sparse = np.where(random.random(truth.shape) < 0.1, truth, 0)
    image = random.integers(0, 256, (size, 32, 48, 3), dtype=np.uint8)
    batch = {"image": image, "sparse_depth": sparse, "ground_truth": truth}
    return batch | dict.fromkeys(extra, other)


def evaluated(network, variables, batch):
    step = make_eval_step(network)
    copies = parallel.replicate(variables, jax.local_devices())
    return parallel.unshard(step(copies, parallel.shard(batch)))


def test_eight_devices_equal_one():
    batch = batch_of(8, "coarse_depth")
    maps, metrics = evaluated(FINE, VARIABLES, batch)
    alone = jax.jit(lambda v, b: depth_maps(FINE, v, b))(VARIABLES, batch)
    assert maps.keys() == alone.keys() == metrics.keys() == {"fill", "coarse", "fine"}
    for name in maps:
        np.testing.assert_allclose(maps[name], alone[name], rtol=1e-5, atol=1e-3)


def test_metrics_are_those_of_each_frame():
    batch = batch_of(8, "coarse_depth")
    maps, metrics = evaluated(FINE, VARIABLES, batch)
    for name, depth in maps.items():
        error = depth.astype(np.float64) - batch["ground_truth"]
        rmse = 1000 * np.sqrt(np.mean(error**2, axis=(1, 2, 3)))
        np.testing.assert_allclose(metrics[name]["rmse_mm"], rmse, rtol=1e-5)


def test_a_two_stage_network_gives_both_depths_clipped():
    network = models.TwoStage(tiny_networks.COARSE, FINE)
    variables, batch = tiny_networks.variables_of(network), batch_of(2)
    # Large weights, so that many depths are out of range.
    variables["params"] = jax.tree.map(lambda leaf: 20 * leaf, variables["params"])
    maps = depth_maps(network, variables, batch)
    outputs = network.apply(variables, batch["image"], batch["sparse_depth"])
    for name, depth, most in zip(("coarse", "fine"), outputs, (100, 85), strict=True):
        assert ((depth < 0.9) | (depth > most)).any()
        np.testing.assert_allclose(maps[name], np.clip(depth, 0.9, most), rtol=1e-6)


def test_without_a_network_the_fill_is_evaluated():
    maps, metrics = evaluated(None, {}, batch_of(8))
    assert maps.keys() == metrics.keys() == {"fill"}
    assert metrics["fill"]["rmse_mm"].shape == (8,)


def test_stored_coarse_depth_is_clipped_and_not_changed_otherwise():
    batch = batch_of(2, "coarse_depth")
    maps = depth_maps(None, {}, batch)
    np.testing.assert_array_equal(maps["coarse"], np.clip(batch["coarse_depth"], 0.9, 100))


def test_each_map_is_clipped_to_the_range_of_its_network_and_the_others_to_that_of_the_data():
    fine = FINE.clone(spec=dataclasses.replace(FINE.spec, min_depth=3.0, max_depth=4.0))
    maps = depth_maps(fine, VARIABLES, batch_of(2, "coarse_depth"), (5.0, 6.0))
    for name, (low, high) in {"fill": (5, 6), "coarse": (5, 6), "fine": (3, 4)}.items():
        assert low <= maps[name].min() <= maps[name].max() <= high
    wide = depth_maps(None, {}, batch_of(2, "coarse_depth"))
    for name in ("fill", "coarse"):
        np.testing.assert_array_equal(maps[name], np.clip(wide[name], 5, 6))


def test_a_fine_network_without_coarse_depth_refines_the_fill():
    batch = batch_of(2)
    maps = depth_maps(FINE, VARIABLES, batch)
    expected = FINE.apply(VARIABLES, batch["image"], maps["fill"])
    np.testing.assert_array_equal(maps["coarse"], maps["fill"])
    np.testing.assert_allclose(maps["fine"], np.clip(expected, 0.9, 85), rtol=1e-6)


class Sum(models.CoarseToFine):
    """Shows what it gets."""

    def __call__(self, image, depth, train=False, sparse_depth=None):
        return depth + sparse_depth


def test_a_fine_network_gets_the_coarse_and_the_sparse_depth():
    batch = batch_of(2, "coarse_depth")
    maps = depth_maps(Sum(FINE.spec), {}, batch)
    expected = batch["coarse_depth"] + batch["sparse_depth"]
    np.testing.assert_allclose(maps["fine"], np.clip(expected, 0.9, 85), rtol=1e-6)


@pytest.mark.usefixtures("short_resnet")
def test_a_depth_only_network_needs_no_image():
    spec = SparseToCoarseSpec(18, "d", width=4)
    network, variables, batch = models.build(spec), random_variables(spec), batch_of(8)
    del batch["image"]
    maps, metrics = evaluated(network, variables, batch)
    assert maps.keys() == metrics.keys() == {"fill", "coarse"}
    expected = jax.jit(network.apply)(variables, None, batch["sparse_depth"])
    np.testing.assert_allclose(maps["coarse"], np.clip(expected, 0.9, 100), rtol=1e-3)
