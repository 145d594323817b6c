"""The training loop: updates, records, validation and snapshots."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from fcfrnet_jax import parallel
from fcfrnet_jax.networks.models import Variables
from fcfrnet_jax.progress import Progress
from fcfrnet_jax.training.journal import Journal
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.training.state import TrainState
from fcfrnet_jax.training.update import Metrics, Update

T = TypeVar("T")
# The step, the metrics and the index of a batch.
Unchecked = tuple[int, Metrics, np.ndarray]


@dataclass(frozen=True)
class Intervals:
    """The length of a run and how often it records, validates and saves, in steps.

    Each interval also ends at the last step; an interval of 0 means only there.
    """

    total: int
    log_every: int
    validate_every: int
    save_every: int

    def due(self, every: int, step: int) -> bool:
        """Whether something that happens at an interval happens at a step, counted from 1."""
        return step == self.total or (every > 0 and step % every == 0)


@dataclass(frozen=True)
class Source:
    """The source of the training examples.

    Attributes:
      batches: opens the endless batches at a step, counted from 0. Each is this process's share of
        a batch: the `index` of its examples, int64 or int32 `[b]`, and its sharded inputs.
      name: returns the name of the example with an index, for messages.
      epoch: number of examples in an epoch; 0 if they never repeat.
    """

    batches: Callable[[int], Iterator[tuple[np.ndarray, parallel.Batch]]]
    name: Callable[[int], str]
    epoch: int


class Best(NamedTuple):
    """The best validation so far.

    Attributes:
      value: its selecting metric; infinite before the first validation.
      step: its step; None if it is unknown.
    """

    value: float = np.inf
    step: int | None = None


@dataclass(frozen=True)
class Run:
    """The parts of a training run that the loop calls.

    Attributes:
      train_step: `update.make_update`, mapped over all devices.
      frozen: the replicated frozen variables of the step.
      source: the source of the batches.
      validate: evaluates a state, given on the host; returns the metrics to record and the one that
        selects the best model, where smaller is better.
      keep_best: called with the step and the state when that metric is the smallest so far.
      describe: returns a line about a validation: its step, its metrics and the best so far.
      snapshots: where the state is saved.
      journal: where metrics are recorded; None in all processes except the first.
      intervals: when to record, validate and save.
    """

    train_step: Update
    frozen: Variables
    source: Source
    validate: Callable[[int, TrainState], tuple[dict[str, float], float]]
    keep_best: Callable[[int, TrainState], None]
    describe: Callable[[int, dict[str, float], Best], str]
    snapshots: Snapshots
    journal: Journal | None
    intervals: Intervals


def train(
    run: Run, state: TrainState, best: Best, *, validate_start: bool = False
) -> tuple[TrainState, Best]:
    """Trains until the end of the run.

    On SIGTERM, training stops after the current step and saves a snapshot.

    Args:
      run: what to train with.
      state: the state to start from, on the host.
      best: the best validation so far.
      validate_start: whether to validate before the first update.

    Returns:
      The last state, on the host, and the best validation.

    Raises:
      ValueError: the loss or the gradient is not finite; the newest snapshot is from an earlier
        step.
      OSError: a snapshot cannot be written.
    """
    intervals = run.intervals
    start = int(state.step)
    replicated = parallel.replicate(state)
    batches = _timed(run.source.batches(start))
    unchecked: Unchecked | None = None
    with Progress(start, intervals.total) as progress, _termination() as asked_to_stop:
        if validate_start:
            best = _validate(run, start, state, best, progress)
        for step in range(start + 1, intervals.total + 1):
            (index, inputs), waited = next(batches)
            replicated, metrics = run.train_step(replicated, run.frozen, inputs)
            # Checks the previous step, so that the devices never wait for the host.
            _check_finite(run, unchecked)
            unchecked = (step, metrics, index)
            stop = asked_to_stop(step)
            if intervals.due(intervals.log_every, step):
                _check_finite(run, unchecked)
                _record(run, step, metrics)
                progress.show_loss(float(_first(metrics["loss"])))
            if intervals.due(intervals.validate_every, step):
                _check_finite(run, unchecked)
                best = _validate(run, step, parallel.unreplicate(replicated), best, progress)
            if intervals.due(intervals.save_every, step) or stop:
                _check_finite(run, unchecked)
                kept = {"state": parallel.unreplicate(replicated), "best": np.array(best.value)}
                run.snapshots.save(step, kept)
            speed = progress.advance(len(index) * jax.process_count(), waited)
            if run.journal and intervals.due(intervals.log_every, step):
                run.journal.show(step, speed)
            if stop:
                break
    run.snapshots.wait()
    return parallel.unreplicate(replicated), best


def restore(snapshots: Snapshots, state: TrainState) -> tuple[TrainState, float]:
    """Returns the state and the best metric of the newest snapshot, else `state` and infinity."""
    kept = {"state": jax.tree.map(np.asarray, state), "best": np.array(np.inf)}
    found = snapshots.restore(kept) or kept
    return found["state"], float(found["best"])


def _first(leaf: jax.Array) -> np.ndarray:
    return np.asarray(leaf.addressable_shards[0].data).reshape(-1)[0]


def _check_finite(run: Run, unchecked: Unchecked | None) -> None:
    """Raises ValueError if the loss or the gradient of a step is not finite."""
    if unchecked is None:
        return
    step, metrics, index = unchecked
    for name in ("loss", "gradient_norm"):
        value = _first(metrics[name])
        if not np.isfinite(value):
            frames = ", ".join(run.source.name(i) for i in index)
            run.snapshots.wait()
            kept = run.snapshots.steps()
            intact = f"the snapshot of step {kept[-1]} is intact" if kept else "no snapshot exists"
            what = f"the {name.replace('_', ' ')} is {value} at step {step}"
            raise ValueError(f"{what}, on the frames {frames}; {intact}")


def _record(run: Run, step: int, metrics: Metrics) -> None:
    if run.journal:
        run.journal.record(step, {name: float(_first(metrics[name])) for name in sorted(metrics)})


def _validate(run: Run, step: int, state: TrainState, best: Best, progress: Progress) -> Best:
    """Validates, records and tells the metrics, and returns the best validation so far."""
    metrics, selecting = run.validate(step, state)
    if selecting < best.value:
        run.keep_best(step, state)
        best = Best(selecting, step)
    if run.journal:
        run.journal.record(step, metrics)
        progress.say(run.describe(step, metrics, best))
    return best


def _timed(batches: Iterator[T]) -> Iterator[tuple[T, float]]:
    """Yields each batch with the seconds spent waiting for it."""
    while True:
        start = time.monotonic()
        batch = next(batches)
        yield batch, time.monotonic() - start


@contextmanager
def _termination() -> Iterator[Callable[[int], bool]]:
    """Yields a function that returns, given a step, whether the job was asked to stop."""
    if jax.process_count() > 1:
        # JAX's coordinator receives the signal and stops all processes at the same step.
        yield multihost_utils.reached_preemption_sync_point
        return
    received = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(True))
    try:
        yield lambda _: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
