"""Computation on all devices and in all processes of a job; the only module that uses `pmap`."""

import hashlib
import json
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from fcfrnet_jax.files import describe
from fcfrnet_jax.process import launched

P = ParamSpec("P")
T = TypeVar("T")
# Arrays of a batch by name.
Batch = dict[str, jax.Array]
# The name of the device axis in mapped functions, as in `jax.lax.psum(x, AXIS)`.
AXIS = "devices"
# Seconds without a sign of life after which a process of a job counts as dead.
_HEARTBEAT = 20


def map_local(
    function: Callable[P, T], compiler_options: Mapping[str, Any] | None = None
) -> Callable[P, T]:
    """Maps a function over the local devices; every process calls it independently.

    Args:
      function: takes arrays without the device axis.
      compiler_options: XLA options; None or empty for the defaults.

    Returns:
      The same function of arrays with a leading device axis, as `replicate` and `shard` add it.
    """
    mapped = jax.pmap(function, axis_name=AXIS, devices=jax.local_devices())
    # pmap takes no compiler options, but the lowered function does.
    return _compiled(mapped, dict(compiler_options)) if compiler_options else mapped


def map_global(function: Callable[P, T], *, donate: bool = False) -> Callable[P, T]:
    """Maps a function over the devices of all processes; all processes must call it.

    Args:
      function: takes arrays without the device axis.
      donate: reuse the buffers of the first argument for the result.
    """
    return jax.pmap(function, axis_name=AXIS, donate_argnums=(0,) if donate else ())


def _compiled(mapped: Any, options: dict[str, Any]) -> Callable[..., Any]:
    """Compiles a mapped function with options, once for each set of shapes and dtypes."""
    programs: dict[Any, Any] = {}

    def call(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        kind = structure, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if kind not in programs:
            programs[kind] = mapped.lower(*arguments).compile(options)
        return programs[kind](*arguments)

    return call


def map_examples(example: Callable[..., Batch]) -> Callable[[Batch], Batch]:
    """Maps a function of one example over sharded batches.

    Args:
      example: maps the arrays of an example to those of another.

    Returns:
      A function of sharded batches, which runs asynchronously. All processes must call it equally
      often.
    """
    return map_global(jax.vmap(example))


def replicate(tree: T, devices: Sequence[jax.Device] | None = None) -> T:
    """Copies arrays to every device, adding a leading device axis.

    Args:
      tree: the arrays, the same in all processes.
      devices: the local devices for `map_local`; None, for `map_global`, for those of all
        processes.
    """
    if not jax.tree.leaves(tree):
        # pmap over several processes fails if there is nothing to return.
        return tree
    # With in_axes=None, pmap itself makes the copies in every version of JAX.
    counted = jnp.arange(jax.local_device_count())
    # With another axis name the arrays would have another type and cause a recompilation.
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
    parts = {name: leaf.reshape(devices, -1, *leaf.shape[1:]) for name, leaf in batch.items()}
    # Mapped functions accept NumPy arrays and copy them to the devices.
    return cast(Batch, parts)


def unshard(tree: T) -> T:
    """Copies arrays to the host and merges the device axis: `[D, b, ...]` to `[D * b, ...]`."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


def unreplicate(tree: T) -> T:
    """Copies replicated arrays from the first local device to the host, as NumPy arrays."""

    def first(leaf: jax.Array) -> np.ndarray:
        # On CPUs np.asarray may share the buffer, which the next step reuses by donation.
        return np.array(leaf.addressable_shards[0].data).reshape(leaf.shape[1:])

    return jax.tree.map(first, tree)


def join_job(
    coordinator: str = "", processes: int = 0, process: int = -1, timeout: int = 300
) -> None:
    """Joins the processes of a job. Must be called before anything else uses JAX.

    Without arguments, a job of several processes is detected from the environment variables of
    Slurm, Open MPI or a TPU pod. In a single process nothing happens. JAX ends this process if the
    others do not join.

    Args:
      coordinator: address of the first process, `host:port`; empty to detect it.
      processes: number of processes.
      process: index of this process, from 0.
      timeout: seconds to wait for the others.
    """
    initialize = partial(
        jax.distributed.initialize,
        initialization_timeout=timeout,
        heartbeat_timeout_seconds=_HEARTBEAT,
    )
    if coordinator:
        initialize(coordinator, processes, process)
    elif launched(os.environ)[1] > 1:
        initialize()


def end_on_sigterm() -> None:
    """Lets SIGTERM end this process of a job; jax only notes it, for those who ask for it."""
    if jax.process_count() > 1 and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def check_agreement(settings: dict[str, Any], what: str = "config") -> None:
    """Raises ValueError in every process unless all processes have the same settings.

    Args:
      settings: JSON values.
      what: what the message calls them.
    """
    if jax.process_count() == 1:
        return
    text = json.dumps(settings, sort_keys=True, default=str)
    own = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), np.uint32)
    gathered = np.asarray(multihost_utils.process_allgather(own)).reshape(-1, len(own))
    others = [i for i, digest in enumerate(gathered) if not np.array_equal(digest, gathered[0])]
    if others:
        named = ", ".join(map(str, others))
        raise ValueError(f"the {what} of process {named} differs from that of process 0")


def check_shared_folder(folder: Path) -> None:
    """Raises ValueError in every process unless all see the folder that the first one sees.

    All processes must call it, and the folder must exist for the first one. Otherwise what the
    others write, or what they are to read later, would be lost.
    """
    if jax.process_count() == 1:
        return
    # A new name is not in any cache of a network file system.
    mark = folder / f".job-{gather_json(uuid.uuid4().hex)[0]}"
    first = jax.process_index() == 0
    if first:
        mark.touch()
    try:
        check_agreement({})  # every process waits for the mark
        check_agreement({"sees the mark": mark.exists()}, "workdir")
    except ValueError as error:
        raise ValueError(
            f"{error}; all processes need the same workdir, on a file system that they share"
        ) from error
    finally:
        if first:
            mark.unlink(missing_ok=True)


def gather(rows: np.ndarray, total: int) -> np.ndarray:
    """Gathers the rows of all processes; process p of P holds the rows p, p + P, p + 2 P, ...

    Args:
      rows: float32 `[N, ...]`, the rows of this process.
      total: number of rows of all processes.

    Returns:
      `[total, ...]` in order, the same in every process.
    """
    count = jax.process_count()
    if count == 1:
        return rows
    padded = np.zeros((-(-total // count), *rows.shape[1:]), np.float32)
    padded[: len(rows)] = rows
    gathered = np.asarray(multihost_utils.process_allgather(padded))
    return gathered.swapaxes(0, 1).reshape(-1, *rows.shape[1:])[:total]


def gather_json(value: Any) -> list[Any]:
    """Gathers a JSON value of each process, in the order of the processes; floats stay exact."""
    if jax.process_count() == 1:
        return [value]
    data = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.int32(data.size))).reshape(-1)
    padded = np.zeros(sizes.max(), np.uint8)
    padded[: data.size] = data
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(len(sizes), -1)
    return [json.loads(row[:size].tobytes()) for row, size in zip(rows, sizes, strict=True)]


class OtherProcessFailedError(Exception):
    """Raised by a process that ends its work because another one has failed."""


@contextmanager
def ending_together() -> Iterator[None]:
    """At the end of the block, waits for all processes, and fails in all if it failed in one.

    The block must not call functions for which all processes are needed.

    Raises:
      Exception, KeyboardInterrupt: that of this process.
      ValueError: another process failed; the message names it and has its message.
    """
    if jax.process_count() == 1:
        yield
        return
    own: Exception | KeyboardInterrupt | None = None
    try:
        yield
    except OtherProcessFailedError:
        pass
    except (Exception, KeyboardInterrupt) as error:
        own = error
    texts = gather_json(describe(own) if own else None)
    if own:
        raise own
    for index, text in enumerate(texts):
        if text is not None:
            raise ValueError(f"process {index}: {text}")
