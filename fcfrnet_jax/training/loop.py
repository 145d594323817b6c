"""The training loop: batches in, updates, records, validation and snapshots out."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from fcfrnet_jax import parallel
from fcfrnet_jax.progress import Progress
from fcfrnet_jax.training.journal import Journal
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.training.state import TrainState


@dataclass(frozen=True)
class Schedule:
    """When things happen, in steps: after every so many updates, and at the end."""

    total: int
    log_every: int
    validate_every: int
    save_every: int

    def due(self, every: int, step: int) -> bool:
        return step == self.total or (every > 0 and step % every == 0)


@dataclass(frozen=True)
class Source:
    """Where the examples come from.

    Attributes:
      batches: opens the endless batches at a step, counted from 0: for each the `index` of its
        examples, int64 or int32 `[b]`, and its sharded inputs, of this process's share.
      name: tells which example an index means.
      epoch: the number of examples after which they come again; 0 = they never do.
    """

    batches: Callable[[int], Iterator[tuple[np.ndarray, parallel.Batch]]]
    name: Callable[[int], str]
    epoch: int


@dataclass(frozen=True)
class Run:
    """What the loop works with.

    Attributes:
      train_step: of `update.make_train_step`.
      frozen: its replicated frozen variables.
      source: of the batches.
      validate: measures a state on the host; returns figures to record, and the one that is the
        smaller the better.
      keep_best: called with step and state when that one is the smallest so far.
      journal: None in all processes but the first.
    """

    train_step: Callable
    frozen: Any
    source: Source
    validate: Callable[[int, TrainState], tuple[dict[str, float], float]]
    keep_best: Callable[[int, TrainState], None]
    snapshots: Snapshots
    journal: Journal | None
    schedule: Schedule


def train(run: Run, state: TrainState, best: float) -> tuple[TrainState, bool]:
    """Trains from `state`, on the host, to the end of the schedule, or until asked to stop.

    A SIGTERM ends the loop after the step in progress, with a snapshot.

    Args:
      best: the smallest figure of validation so far.

    Returns:
      The last state, on the host, and whether it is the end of the schedule.

    Raises:
      ValueError: a loss or a gradient that is not finite; the newest snapshot is from before it.
      OSError: a snapshot cannot be written.
    """
    schedule = run.schedule
    start = step = int(state.step)
    replicated = parallel.replicate(state)
    batches = _timed(run.source.batches(start))
    unchecked: tuple | None = None
    with Progress(start, schedule.total) as progress, _termination() as asked_to_stop:
        for step in range(start + 1, schedule.total + 1):
            (index, inputs), waited = next(batches)
            replicated, metrics = run.train_step(replicated, run.frozen, inputs)
            # One step behind, so that the devices never wait for the host.
            _check_finite(run, unchecked)
            unchecked = (step, metrics, index)
            stop = asked_to_stop(step)
            if schedule.due(schedule.log_every, step) or stop:
                _check_finite(run, unchecked)
                _record(run, step, metrics)
                progress.show_loss(float(_first(metrics["loss"])))
            if schedule.due(schedule.validate_every, step):
                _check_finite(run, unchecked)
                best = _validate(run, step, parallel.unreplicate(replicated), best)
            if schedule.due(schedule.save_every, step) or stop:
                _check_finite(run, unchecked)
                kept = {"state": parallel.unreplicate(replicated), "best": np.array(best)}
                run.snapshots.save(step, kept)
            speed = progress.advance(len(index) * jax.process_count(), waited)
            if run.journal and schedule.due(schedule.log_every, step):
                run.journal.show(step, speed)
            if stop:
                break
    run.snapshots.wait()
    return parallel.unreplicate(replicated), step == schedule.total


def restore(snapshots: Snapshots, state: TrainState) -> tuple[TrainState, float]:
    """The state and best figure of the newest snapshot, or `state` and infinity without one."""
    kept = {"state": jax.tree.map(np.asarray, state), "best": np.array(np.inf)}
    found = snapshots.restore(kept) or kept
    return found["state"], float(found["best"])


def _first(leaf: jax.Array) -> np.ndarray:
    return np.asarray(leaf.addressable_shards[0].data).reshape(-1)[0]


def _check_finite(run: Run, unchecked: tuple | None) -> None:
    if unchecked is None:
        return
    step, metrics, index = unchecked
    for name in ("loss", "gradient_norm"):
        value = _first(metrics[name])
        if not np.isfinite(value):
            frames = ", ".join(run.source.name(i) for i in index)
            run.snapshots.wait()
            kept = run.snapshots.steps()
            intact = f"the snapshot of step {kept[-1]} is intact" if kept else "no snapshot yet"
            what = f"the {name.replace('_', ' ')} is {value} at step {step}"
            raise ValueError(f"{what}, on the frames {frames}; {intact}")


def _record(run: Run, step: int, metrics: dict[str, jax.Array]) -> None:
    if run.journal:
        run.journal.record(step, {name: float(_first(metrics[name])) for name in sorted(metrics)})


def _validate(run: Run, step: int, state: TrainState, best: float) -> float:
    figures, decisive = run.validate(step, state)
    if run.journal:
        run.journal.record(step, figures)
    if decisive < best:
        run.keep_best(step, state)
    return min(best, decisive)


def _timed(batches: Iterator[Any]) -> Iterator[tuple[Any, float]]:
    """Each batch with the seconds that it was waited for."""
    while True:
        start = time.monotonic()
        batch = next(batches)
        yield batch, time.monotonic() - start


@contextmanager
def _termination() -> Iterator[Callable[[int], bool]]:
    """Yields a function that tells at a step whether the job was asked to end."""
    if jax.process_count() > 1:
        # jax's coordinator sees the signal, and has all processes stop at the same step.
        yield multihost_utils.reached_preemption_sync_point
        return
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(True))
    try:
        yield lambda _: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
