"""Items of `accelerator.py` that are prepared together, by both frameworks at once."""

import importlib.util
import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accelerators.plan import PLAIN, Item, operations
from benchmarks.accelerators.results import Results, Row
from benchmarks.accelerators.worker import PREPARED, Worker, WorkerError, Workers

ROUNDS = 5
# Seconds of calls between two readings of the clock, so that launches overlap.
READING = 0.3
# Of the residual, between two contenders that both round; products of float32 may use TF32.
TOLERANCE = {"float32": 0.02, "bfloat16": 0.15}


@dataclass
class Started:
    """What is known of an item before it is measured.

    Attributes:
      seconds: spent on it in jax.
      result: a row, or what a worker answered in preparation.
      error: why there is none.
      worker: the process that prepared it in jax.
      rivals: the processes that prepared the other contenders.
      first_call_s: the seconds until a contender's first result, by its name.
      errors: what failed, by the contender's name.
    """

    seconds: float = 0.0
    result: Any = None
    error: str = ""
    worker: Worker | None = None
    rivals: dict[str, Worker] = field(default_factory=dict)
    first_call_s: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


class Group:
    """Items that are prepared together and measured one by one.

    Args:
      items: with the same compiler flags.
      end: when the time is over, as `time.monotonic`.
    """

    def __init__(self, items: Sequence[Item], workers: Workers, results: Results, end: float):
        self._items, self._workers, self._results, self._end = items, workers, results, end
        self._started = {item.key: Started() for item in items}

    def measure(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            rivals = pool.submit(self._prepare_rivals)
            for item in self._items:
                self._prepare(item)
            rivals.result()
        for item in self._items:
            self._finish(item)

    def _prepare_rivals(self) -> None:
        for item in self._items:
            for name in item.rivals if importlib.util.find_spec("torch") else ():
                if name != PLAIN:
                    self._prepare_rival(item, name)

    def _prepare_rival(self, item: Item, name: str) -> None:
        started = self._started[item.key]
        try:
            in_jax = name == PLAIN
            worker = self._workers.get("jax", item.flags) if in_jax else self._workers.get("torch")
            started.first_call_s[name] = self._prepare_case(worker, item, name)
            started.rivals[name] = worker
        except WorkerError as error:
            started.errors[name] = str(error)
            started.rivals.pop(name, None)

    def _prepare(self, item: Item) -> None:
        """Prepares an item in jax; what needs no turn of its own is then complete."""
        started = self._started[item.key]
        start = time.monotonic()
        try:
            worker = self._workers.get("jax", item.flags)
            if item.call == "pair":
                started.first_call_s["jax"] = self._prepare_case(worker, item, "jax")
                if PLAIN in item.rivals:
                    self._prepare_rival(item, PLAIN)
                started.result = PREPARED
            else:
                started.result = self._request(worker, item, item.call, **self._arguments(item))
            started.worker = worker
        except WorkerError as error:
            started.result, started.error = None, str(error)
        started.seconds += time.monotonic() - start
        if started.result is not PREPARED:
            self._record(item)

    def _arguments(self, item: Item) -> Row:
        arguments = dict(item.arguments)
        if item.call in ("case", "profile"):
            arguments["peak_tflop_per_s"] = self._results.peak(arguments["dtype"])
        if item.part == "profile":
            arguments["text"] = str(self._workers.folder / f"hlo_{item.name}.txt.gz")
        return arguments

    def _prepare_case(self, worker: Worker, item: Item, name: str) -> float:
        task, output = item.arguments["task"], str(self._output(item, name))
        case = _case(item, name)
        arguments = {"name": case, "contender": name, "task": task, "output": output}
        return self._request(worker, item, "prepare", **arguments)["first_call_s"]

    def _output(self, item: Item, name: str) -> Path:
        return self._workers.temporary / f"{_case(item, name).replace('/', ' ')}.npy"

    def _request(self, worker: Worker, item: Item, call: str, **arguments: Any) -> Any:
        # What hangs must not cost the time of all others.
        limit = min(3 * item.seconds + 30, max(5.0, self._end - time.monotonic()))
        return worker.request(call, limit, key=item.key, **arguments)

    def _finish(self, item: Item) -> None:
        """Measures a prepared item."""
        started = self._started[item.key]
        if started.result is not PREPARED or started.error:
            return
        start = time.monotonic()
        if started.worker is None or not started.worker.alive:
            # Ended by another item.
            self._prepare(item)
            if started.result is not PREPARED or started.error:
                return
        assert started.worker is not None
        try:
            if item.call == "pair":
                started.result = self._compare(item, started)
            else:
                started.result = self._request(started.worker, item, "resume")
        except (KeyError, OSError, ValueError, WorkerError) as error:
            started.result, started.error = None, f"{type(error).__name__}: {error}"
        started.seconds += time.monotonic() - start
        self._record(item)

    def _record(self, item: Item) -> None:
        started = self._started[item.key]
        row: Row = {"key": item.key, "part": item.part, "name": item.name}
        row |= {"error": started.error} if started.error else {"result": started.result}
        row["seconds"] = round(started.seconds, 1)
        self._results.add(row)
        text = started.error or json.dumps(started.result)
        print(f"{item.key}: {text[:1000]} ({row['seconds']} s)", flush=True)

    def _compare(self, item: Item, started: Started) -> Row:
        """Times a case in jax and in PyTorch, in turns; without PyTorch, in jax alone."""
        task = item.arguments["task"]
        assert started.worker is not None
        for name, worker in list(started.rivals.items()):
            if not worker.alive:
                # Ended by another case.
                self._prepare_rival(item, name)
        contenders = {"jax": started.worker, **started.rivals}
        result: Row = {"frames_per_s": {}, "relative_error": {}}
        result |= {"first_call_s": started.first_call_s, "errors": started.errors}
        wanted = np.load(self._output(item, "jax"))
        for name in contenders:
            output = np.load(self._output(item, name))
            self._output(item, name).unlink()
            relative = float(np.sqrt(np.mean((output - wanted) ** 2) / np.mean(wanted**2)))
            result["relative_error"][name] = relative
            if not relative < TOLERANCE[task["dtype"]]:
                started.errors[name] = f"computes something else: relative error {relative:.3g}"
        timer = _Timer(self, item, contenders, started.errors)
        try:
            rates = timer.rates(task["batch"])
            result["frames_per_s"] = rates
            scale = operations(task) / self._results.peak(task["dtype"])
            if scale == scale:
                result["share_of_peak"] = {name: rate * scale for name, rate in rates.items()}
            if task["batch"] == 1 and task["mode"] == "predict":
                result["latency_ms"] = timer.latencies()
        finally:
            timer.drop()
        return result

    def call(self, worker: Worker, item: Item, name: str, call: str, **arguments: Any) -> Any:
        """Calls a function of a worker with a prepared case."""
        return self._request(worker, item, call, name=_case(item, name), **arguments)


class _Timer:
    """Times the contenders of a pair; one that fails is left out."""

    def __init__(
        self, group: Group, item: Item, contenders: dict[str, Worker], errors: dict[str, str]
    ):
        self._group, self._item, self._errors = group, item, errors
        self._contenders = dict(contenders)

    def rates(self, batch: int) -> dict[str, float]:
        """Frames per second, the median of alternating readings."""
        self._each("settle")
        repeats = {
            name: max(1, round(READING / seconds))
            for name, seconds in self._each("call", repeats=2).items()
        }
        readings: list[dict[str, float]] = []
        for _ in range(ROUNDS):
            readings.append({})
            for name in list(self._contenders):
                readings[-1] |= self._one(name, "call", repeats=repeats[name])
        return {
            name: batch / statistics.median(found[name] for found in readings)
            for name in self._contenders
        }

    def latencies(self) -> dict[str, dict[str, float]]:
        """Percentiles of the milliseconds of single calls."""
        return {
            name: {f"p{q}": 1e3 * float(np.percentile(seconds, q)) for q in (50, 99)}
            for name, seconds in self._each("latencies", repeats=100).items()
        }

    def drop(self) -> None:
        self._each("drop")

    def _each(self, call: str, **arguments: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in list(self._contenders):
            found |= self._one(name, call, **arguments)
        return found

    def _one(self, name: str, call: str, **arguments: Any) -> dict[str, Any]:
        """The answer by the contender's name, or nothing if it failed."""
        worker = self._contenders[name]
        try:
            return {name: self._group.call(worker, self._item, name, call, **arguments)}
        except WorkerError as error:
            del self._contenders[name]
            if name == "jax" and call != "drop":
                raise
            self._errors[name] = str(error)
            return {}


def _case(item: Item, name: str) -> str:
    return f"{item.key} {name}"
