"""Work on all devices and in all processes of a job. This is the only module that uses `pmap`."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

Batch = dict[str, Any]
# The axis over which mapped functions may sum, as in `jax.lax.psum(x, AXIS)`.
AXIS = "devices"


def map_local(
    function: Callable[..., Any], compiler_options: Mapping[str, Any] | None = None
) -> Callable[..., Any]:
    """Maps a function over the local devices, so that every process works on its own.

    Args:
      function: of arrays without the leading axis of devices.
      compiler_options: for the compiler; None or empty for the defaults.

    Returns:
      The same function of arrays with a leading axis of devices, as `replicate` and `shard` add.
    """
    mapped = jax.pmap(function, axis_name=AXIS, devices=jax.local_devices())
    # pmap takes no options, but what it lowers to does.
    return _compiled(mapped, dict(compiler_options)) if compiler_options else mapped


def map_global(function: Callable[..., Any], *, donate: bool = False) -> Callable[..., Any]:
    """Maps a function over the devices of all processes, which must all call it.

    Args:
      function: of arrays without the leading axis of devices.
      donate: give the buffers of the first argument to the result.
    """
    return jax.pmap(function, axis_name=AXIS, donate_argnums=(0,) if donate else ())


def _compiled(mapped: Any, options: dict[str, Any]) -> Callable[..., Any]:
    """The same function, compiled with options for each set of shapes and dtypes."""
    programs: dict[Any, Any] = {}

    def call(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        kind = structure, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if kind not in programs:
            programs[kind] = mapped.lower(*arguments).compile(options)
        return programs[kind](*arguments)

    return call


def map_examples(example: Callable[..., Batch]) -> Callable[[Batch], Batch]:
    """Maps a function of one example over sharded batches, on the devices that train on them.

    Args:
      example: maps the arrays of one example to those of another.

    Returns:
      A function of sharded batches. It returns before the devices have finished. Every process must
      call it equally often.
    """
    return map_global(jax.vmap(example))


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Copies arrays to every device, adding a leading axis of devices.

    Args:
      tree: the same in all processes.
      devices: the local devices for `map_local`; None, for `map_global`, means those of all
        processes.
    """
    if not jax.tree.leaves(tree):
        # pmap over several processes fails when there is nothing to return.
        return tree
    # With in_axes=None pmap itself copies, in every version of jax.
    counted = jnp.arange(jax.local_device_count())
    # Arrays mapped over another axis name would be another type, and compiled for again.
    copy = jax.pmap(lambda _, leaf: leaf, AXIS, in_axes=(0, None), devices=devices)
    return copy(counted, tree)


def shard(batch: dict[str, np.ndarray]) -> Batch:
    """Splits the leading axis of arrays over the local devices: `[B, ...]` to `[D, B / D, ...]`.

    Raises:
      ValueError: the batch size is not divisible by the number of devices.
    """
    devices = jax.local_device_count()
    size = len(next(iter(batch.values())))
    if size % devices:
        raise ValueError(f"a batch of {size} frames is not divisible by the {devices} devices here")
    return {name: leaf.reshape(devices, -1, *leaf.shape[1:]) for name, leaf in batch.items()}


def unshard(tree: Any) -> Any:
    """Copies arrays to the host and joins the axis of devices: `[D, b, ...]` to `[D * b, ...]`."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


def unreplicate(tree: Any) -> Any:
    """Copies the first local device's part of replicated arrays to the host, as NumPy arrays."""

    def first(leaf: jax.Array) -> np.ndarray:
        # Copied: on a CPU the array may share memory that the next step takes over.
        return np.array(leaf.addressable_shards[0].data).reshape(leaf.shape[1:])

    return jax.tree.map(first, tree)


def join_job(coordinator: str = "", processes: int = 0, process: int = -1) -> None:
    """Joins the processes of a job; must run before anything else uses jax.

    Without arguments, a job of several processes is recognised by the environment variables of
    Slurm, Open MPI or a TPU pod, and a process on its own stays on its own.

    Args:
      coordinator: address of the first process, `host:port`; empty to detect it.
      processes: the number of processes.
      process: the index of this one, from 0.

    Raises:
      ValueError: some of the three arguments without the others.
      RuntimeError: the processes do not find each other.
    """
    given = (bool(coordinator), processes > 0, process >= 0)
    if any(given) and not all(given):
        raise ValueError(
            "coordinator, processes and process must be given together, got "
            f"{coordinator!r}, {processes} and {process}"
        )
    if coordinator:
        jax.distributed.initialize(coordinator, processes, process)
    elif _launched_as_several(os.environ):
        jax.distributed.initialize()


def _launched_as_several(environment: Mapping[str, str]) -> bool:
    counts = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    if any(int(environment.get(name, "1")) > 1 for name in counts):
        return True
    return "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def check_agreement(settings: dict[str, Any]) -> None:
    """Raises ValueError, in every process, unless all processes have the same settings."""
    if jax.process_count() == 1:
        return
    text = json.dumps(settings, sort_keys=True, default=str)
    own = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), np.uint32)
    gathered = np.asarray(multihost_utils.process_allgather(own)).reshape(-1, len(own))
    others = [i for i, digest in enumerate(gathered) if not np.array_equal(digest, gathered[0])]
    if others:
        named = ", ".join(map(str, others))
        raise ValueError(f"the config of process {named} differs from that of process 0")


def gather(rows: np.ndarray, total: int) -> np.ndarray:
    """Collects the rows of all processes, where process p of P holds rows p, p + P, p + 2 P, ...

    Args:
      rows: float32 `[N, ...]` of this process.
      total: the number of rows of all processes.

    Returns:
      `[total, ...]` in order, in every process.
    """
    count = jax.process_count()
    if count == 1:
        return rows
    padded = np.zeros((-(-total // count), *rows.shape[1:]), np.float32)
    padded[: len(rows)] = rows
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    return gathered.swapaxes(0, 1).reshape(-1, *rows.shape[1:])[:total]
