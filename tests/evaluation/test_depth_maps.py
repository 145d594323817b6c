"""The sharded steps on eight virtual devices."""

import jax
import numpy as np
import pytest

from fcfrnet_jax import parallel
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from tests.random_weights import random_variables

FINE = CoarseToFineSpec(18, width=4)
DEPTH_ONLY = SparseToCoarseSpec(18, "d", width=4)


def batch_of(size, **extra):
    random = np.random.default_rng(0)
    depth = random.uniform(1, 80, (4, size, 32, 48, 1)).astype(np.float32)
    sparse = np.where(random.random(depth[0].shape) < 0.1, depth[0], 0)
    image = random.integers(0, 256, (size, 32, 48, 3), dtype=np.uint8)
    batch = {"image": image, "sparse_depth": sparse, "ground_truth": depth[1]}
    return batch | {name: depth[2] for name in extra if extra[name]}


def evaluated(coarse, fine, variables, batch):
    step = parallel.make_eval_step(coarse, fine)
    return parallel.unshard(step(parallel.replicate(variables), parallel.shard(batch)))


def test_eight_devices_equal_one():
    network, variables = models.build(FINE), {"fine": random_variables(FINE)}
    batch = batch_of(8, coarse_depth=True)
    maps, _ = evaluated(None, network, variables, batch)
    alone = jax.jit(lambda v, b: parallel.depth_maps(None, network, v, b))(variables, batch)
    assert maps.keys() == alone.keys() == {"fill", "coarse", "fine"}
    for name in maps:
        np.testing.assert_allclose(maps[name], alone[name], rtol=1e-5, atol=1e-3)


def test_stages_that_keep_measured_depths_equal_the_two_stage_model():
    coarse = SparseToCoarseSpec(18, width=4, keep_measured=True)
    spec = TwoStageSpec(coarse, FINE)
    variables, batch = random_variables(spec), batch_of(2)
    stages = {
        stage: {kind: tree[stage] for kind, tree in variables.items()}
        for stage in ("coarse", "fine")
    }
    maps = parallel.depth_maps(models.build(coarse), models.build(FINE), stages, batch)
    outputs = models.build(spec).apply(variables, batch["image"], batch["sparse_depth"])
    for name, depth, most in zip(("coarse", "fine"), outputs, (100, 85), strict=True):
        expected = np.clip(depth, 0.9, most)
        np.testing.assert_allclose(maps[name], expected, rtol=1e-5, atol=1e-3)
        kept = (maps[name] == np.clip(batch["sparse_depth"], 0.9, most)).mean()
        assert kept > 0.02


def test_without_networks_there_is_the_fill():
    maps, metrics = evaluated(None, None, {}, batch_of(8))
    assert maps.keys() == metrics.keys() == {"fill"}
    assert metrics["fill"]["rmse_mm"].shape == (8,)


def test_stored_coarse_depth_is_evaluated_as_it_is():
    batch = batch_of(8, coarse_depth=True)
    maps, _ = evaluated(None, None, {}, batch)
    np.testing.assert_array_equal(maps["coarse"], np.clip(batch["coarse_depth"], 0.9, 100))


def test_a_depth_only_network_needs_no_image():
    batch = batch_of(8)
    del batch["image"]
    variables = {"coarse": random_variables(DEPTH_ONLY)}
    maps, _ = evaluated(models.build(DEPTH_ONLY), None, variables, batch)
    assert maps["coarse"].shape == (8, 32, 48, 1)


def test_replicated_arrays_are_copies_on_every_device():
    tree = {"a": np.arange(3.0)}
    copies = parallel.replicate(tree)
    assert len(copies["a"].sharding.device_set) == jax.local_device_count() == 8
    np.testing.assert_array_equal(copies["a"], np.tile(tree["a"], (8, 1)))


def test_shard_and_unshard_are_inverse():
    batch = batch_of(16)
    restored = parallel.unshard(parallel.shard(batch))
    jax.tree.map(np.testing.assert_array_equal, restored, batch)


def test_a_batch_must_divide():
    with pytest.raises(ValueError, match="a batch of 6 frames does not divide by the 8 devices"):
        parallel.shard(batch_of(6))
