"""Arrays on eight virtual devices and the functions mapped over them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax import parallel


def batch_of(size):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (size, 4, 6, 3), dtype=np.uint8)
    return {"image": image, "sparse_depth": random.random((size, 4, 6, 1), np.float32)}


def test_replicated_arrays_are_copies_on_every_device():
    tree = {"a": np.arange(3.0)}
    copies = parallel.replicate(tree)
    assert len(copies["a"].sharding.device_set) == jax.local_device_count() == 8
    np.testing.assert_array_equal(copies["a"], np.tile(tree["a"], (8, 1)))


def test_unreplicate_copies_to_the_host():
    tree = {"a": np.arange(3.0, dtype=np.float32), "step": np.int32(4)}
    restored = parallel.unreplicate(parallel.replicate(tree))
    assert {type(leaf) for leaf in jax.tree.leaves(restored)} == {np.ndarray}
    jax.tree.map(np.testing.assert_array_equal, restored, tree)


@pytest.mark.parametrize("empty", [{}, None, ()])
def test_empty_trees_are_replicated(empty):
    assert parallel.replicate(empty) == empty


def test_shard_and_unshard_are_inverse():
    batch = batch_of(16)
    sharded = parallel.shard(batch)
    assert sharded["image"].shape == (8, 2, 4, 6, 3)
    jax.tree.map(np.testing.assert_array_equal, parallel.unshard(sharded), batch)


def test_a_batch_is_divisible_by_the_devices():
    with pytest.raises(ValueError, match="a batch of 6 frames is not divisible by the 8 devices"):
        parallel.shard(batch_of(6))


def test_mapped_functions_sum_over_all_devices():
    def total(numbers):
        return jax.lax.psum(jnp.sum(numbers), parallel.AXIS)

    numbers = parallel.shard({"a": np.arange(16)})["a"]
    for mapped in (parallel.map_local(total), parallel.map_global(total)):
        np.testing.assert_array_equal(mapped(numbers), np.full(8, 120))


def test_donated_buffers_are_reused():
    before = parallel.replicate(np.arange(3.0, dtype=np.float32))
    after = parallel.map_global(lambda leaf: leaf + 1, donate=True)(before)
    assert before.is_deleted()
    np.testing.assert_array_equal(parallel.unreplicate(after), [1, 2, 3])


def test_compiler_options_serve_every_shape():
    """Functions with options are compiled for each shape and dtype."""
    options = {"xla_cpu_enable_fast_math": False}
    mapped = parallel.map_local(lambda leaf: 2 * leaf, options)
    for dtype, size in ((np.float32, 8), (np.float32, 16), (np.int32, 16), (np.float32, 8)):
        found = mapped(parallel.shard({"a": np.arange(size, dtype=dtype)})["a"])
        assert found.dtype == dtype
        np.testing.assert_array_equal(np.ravel(found), 2 * np.arange(size))


def test_unknown_compiler_options_reach_the_compiler():
    mapped = parallel.map_local(lambda leaf: leaf, {"xla_no_such_option": True})
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        mapped(parallel.shard({"a": np.arange(8)})["a"])


def test_examples_are_mapped_one_by_one():
    def flip(example):
        return {
            "image": example["image"][:, ::-1],
            "height": jnp.asarray(example["image"].shape[0]),
        }

    batch = batch_of(16)
    found = parallel.unshard(parallel.map_examples(flip)(parallel.shard(batch)))
    np.testing.assert_array_equal(found["image"], batch["image"][:, :, ::-1])
    np.testing.assert_array_equal(found["height"], np.full(16, 4))


def test_one_process_agrees_with_itself_and_gathers_its_rows():
    parallel.check_agreement({"seed": 1})
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.testing.assert_array_equal(parallel.gather(rows, 3), rows)


@pytest.mark.parametrize(
    "own", [None, ValueError("mine"), KeyboardInterrupt("mine"), parallel.OtherProcessFailedError()]
)
def test_a_failure_of_one_process_is_one_of_all(own, monkeypatch):
    told = []

    def gather_json(value):
        told.append(value)
        return [None, "disk full", value]

    monkeypatch.setattr(jax, "process_count", lambda: 3)
    monkeypatch.setattr(parallel, "gather_json", gather_json)
    is_told = isinstance(own, ValueError | KeyboardInterrupt)
    message = "^mine$" if is_told else "^process 1: disk full$"

    def work():
        with parallel.ending_together():
            if own:
                raise own

    with pytest.raises(type(own) if is_told else ValueError, match=message):
        work()
    assert told == ["mine" if is_told else None]
