"""Several processes, on one machine or many, as one training job."""

import hashlib
import json
import os
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def start(coordinator: str = "", processes: int = 0, process: int = -1) -> None:
    """Joins the processes of a job; must run before anything else uses jax.

    Without arguments, a job of several processes is recognised by what Slurm, Open MPI or a TPU pod
    put into the environment, and a process alone stays alone.

    Args:
      coordinator: address of the first process, `host:port`; empty to have it found.
      processes: how many there are.
      process: the number of this one, from 0.

    Raises:
      ValueError: a coordinator without the other two, or the other way round.
      RuntimeError: the processes do not find each other.
    """
    given = (bool(coordinator), processes > 0, process >= 0)
    if any(given) and not all(given):
        raise ValueError(
            "coordinator, processes and process go together, got "
            f"{coordinator!r}, {processes} and {process}"
        )
    if coordinator:
        jax.distributed.initialize(coordinator, processes, process)
    elif _launched_as_several(os.environ):
        jax.distributed.initialize()


def _launched_as_several(environment: Any) -> bool:
    counts = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
    if any(int(environment.get(name, "1")) > 1 for name in counts):
        return True
    return "," in environment.get("TPU_WORKER_HOSTNAMES", "")


def check_agreement(settings: dict[str, Any]) -> None:
    """Raises ValueError, in every process, unless all have the same settings."""
    if jax.process_count() == 1:
        return
    text = json.dumps(settings, sort_keys=True, default=str)
    mine = np.frombuffer(hashlib.blake2b(text.encode(), digest_size=8).digest(), np.uint32)
    everyones = np.asarray(multihost_utils.process_allgather(mine)).reshape(-1, len(mine))
    others = [i for i, theirs in enumerate(everyones) if not np.array_equal(theirs, everyones[0])]
    if others:
        named = ", ".join(map(str, others))
        raise ValueError(f"the config of process {named} is not that of process 0")


def gather(rows: np.ndarray, total: int) -> np.ndarray:
    """Brings the rows of all processes together, of which process p has every P-th from p on.

    Args:
      rows: float32 `[N, ...]` of this process.
      total: the number of rows of all.

    Returns:
      `[total, ...]` in their order, in every process.
    """
    count = jax.process_count()
    if count == 1:
        return rows
    padded = np.zeros((-(-total // count), *rows.shape[1:]), np.float32)
    padded[: len(rows)] = rows
    everyones = np.asarray(multihost_utils.process_allgather(padded))
    return everyones.swapaxes(0, 1).reshape(-1, *rows.shape[1:])[:total]
