"""Measures everything on an accelerator, within a time budget, next to PyTorch.

    python benchmarks/accelerator.py --minutes 9 --output results
    python benchmarks/accelerator.py --output results --report

Writes each result to `results.jsonl` in the output folder as soon as it is there, and tables to
`tables.md` at the end. A later call with the same folder measures what is missing; with
`--again`, also what failed. An item that fails is recorded and does not end the run.

Needs jax, flax and optax; PyTorch for the comparisons, and orbax for the compact model. The items
are in `benchmarks/accelerators/plan.py`. With `--toy`, all of them run on small networks, to
rehearse on a CPU.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.accelerators.plan import Item, make_plan
from benchmarks.accelerators.report import tables
from benchmarks.accelerators.worker import Worker, WorkerError
from benchmarks.peers import TOLERANCE

Row = dict[str, Any]
ROUNDS = 5
# Seconds of calls between two readings of the clock, so that launches overlap.
READING = 0.3
# Workers of both frameworks share the memory.
ENVIRONMENT = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Results:
    """The results file: one JSON object per line, written at once."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "results.jsonl"
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        # A killed run may leave half a line.
        self.rows: list[Row] = [row for line in lines if (row := _parsed(line))]
        self._rewrite()

    def done(self, *, again: bool) -> set[str]:
        """The keys of the measured items; of the failed ones as well unless `again`."""
        return {row["key"] for row in self.rows if not (again and "error" in row)}

    def add(self, row: Row) -> None:
        self.rows = [old for old in self.rows if old["key"] != row["key"]] + [row]
        self._rewrite()

    def peak(self, dtype: str) -> float:
        """The measured rate of a matrix product in TFLOP/s, or NaN."""
        key = f"device/product {dtype} default"
        found = [row["result"]["tflop_per_s"] for row in self.rows if row["key"] == key]
        return found[0] if found else float("nan")

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".partial")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")
        temporary.replace(self._path)


def _parsed(line: str) -> Row | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


class Workers:
    """The processes of both frameworks, started when they are needed first."""

    def __init__(self, folder: Path):
        self.folder = folder
        # For items that compile the same program.
        self._compiled = tempfile.TemporaryDirectory()
        self._running: dict[tuple[str, str], Worker] = {}

    def get(self, framework: str, flags: str = "") -> Worker:
        """A worker with the given compiler flags. One with other flags is closed."""
        for key in [key for key in self._running if key[0] == framework]:
            if key[1] != flags or not self._running[key].alive:
                self._running.pop(key).close()
        key = (framework, flags)
        if key not in self._running:
            given = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
            environment = ENVIRONMENT | {"XLA_FLAGS": given}
            environment |= {"JAX_COMPILATION_CACHE_DIR": self._compiled.name}
            log = self.folder / f"{framework}.log"
            self._running[key] = Worker(framework, log, environment)
        return self._running[key]

    def close(self) -> None:
        while self._running:
            self._running.popitem()[1].close()
        self._compiled.cleanup()


def measure(item: Item, workers: Workers, results: Results, limit: float) -> Row:
    """Returns the result of an item.

    Raises:
      WorkerError: the item failed or took longer than `limit` seconds.
    """
    if item.call == "pair":
        return compare(item, workers, results, limit)
    arguments = dict(item.arguments)
    if item.call == "case":
        arguments["peak_tflop_per_s"] = results.peak(arguments["dtype"])
    return workers.get("jax", item.flags).request(item.call, limit, **arguments)


def compare(item: Item, workers: Workers, results: Results, limit: float) -> Row:
    """Times a case in jax and in PyTorch, in turns; without PyTorch, in jax alone."""
    task = item.arguments["task"]
    contenders = {"jax": workers.get("jax")}
    if importlib.util.find_spec("torch"):
        contenders |= dict.fromkeys(item.rivals, workers.get("torch"))
    end = time.monotonic() + limit
    result: Row = {"frames_per_s": {}, "relative_error": {}, "first_call_s": {}, "errors": {}}
    outputs: dict[str, np.ndarray] = {}
    try:
        for name, worker in list(contenders.items()):
            path = workers.folder / f"{name}.npy"
            try:
                left = max(1.0, end - time.monotonic())
                ready = worker.request("prepare", left, name=name, task=task, output=str(path))
                outputs[name] = np.load(path)
                result["first_call_s"][name] = ready["first_call_s"]
            except WorkerError as error:
                if name == "jax":
                    raise
                result["errors"][name] = str(error)
                del contenders[name]
            finally:
                path.unlink(missing_ok=True)
        for name, output in outputs.items():
            wanted = outputs["jax"]
            relative = float(np.sqrt(np.mean((output - wanted) ** 2) / np.mean(wanted**2)))
            result["relative_error"][name] = relative
            if not relative < TOLERANCE[task["dtype"]]:
                result["errors"][name] = f"computes something else: relative error {relative:.3g}"
        result["frames_per_s"] = _rates(contenders, task["batch"], end)
        if task["batch"] == 1 and task["mode"] == "predict":
            result["latency_ms"] = {
                name: _latencies(worker, name, end) for name, worker in contenders.items()
            }
    finally:
        for worker in set(contenders.values()):
            if worker.alive:
                worker.request("drop", 30)
    return result


def _rates(contenders: dict[str, Worker], batch: int, end: float) -> dict[str, float]:
    """Frames per second, the median of alternating readings."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    repeats = {
        name: max(1, round(READING / worker.request("call", _left(end), name=name, repeats=2)))
        for name, worker in contenders.items()
    }
    for _ in range(ROUNDS):
        for name, worker in contenders.items():
            arguments = {"name": name, "repeats": repeats[name]}
            seconds[name].append(worker.request("call", _left(end), **arguments))
    return {name: batch / statistics.median(found) for name, found in seconds.items()}


def _latencies(worker: Worker, name: str, end: float) -> dict[str, float]:
    found = worker.request("latencies", _left(end), name=name, repeats=100)
    return {f"p{q}": 1e3 * float(np.percentile(found, q)) for q in (50, 99)}


def _left(end: float) -> float:
    return max(5.0, end - time.monotonic())


def run(options: argparse.Namespace) -> Results:
    """Measures the items that are missing in the output folder, as far as the time goes."""
    results = Results(options.output)
    end = time.monotonic() + 60 * options.minutes
    workers = Workers(options.output)
    try:
        for framework in ("jax", "torch"):
            if framework == "jax" or importlib.util.find_spec("torch"):
                described = workers.get(framework).request("describe", 120)
                results.add({"key": f"about/{framework}", "result": described})
        done = results.done(again=options.again)
        for item in make_plan(options.toy):
            left = end - time.monotonic()
            if item.key in done or (options.only and item.part not in options.only):
                continue
            if left < item.seconds:
                print(f"{item.key}: not begun, {left:.0f} s are left", flush=True)
                continue
            start = time.monotonic()
            row: Row = {"key": item.key, "part": item.part, "name": item.name}
            try:
                row["result"] = measure(item, workers, results, left)
            except WorkerError as error:
                row["error"] = str(error)
            row["seconds"] = round(time.monotonic() - start, 1)
            results.add(row)
            print(f"{item.key}: {row.get('error') or json.dumps(row['result'])}", flush=True)
    finally:
        workers.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--minutes", type=float, default=9, help="time budget")
    parser.add_argument("--only", nargs="+", metavar="PART", help="measure these parts only")
    parser.add_argument("--again", action="store_true", help="repeat what failed")
    parser.add_argument("--toy", action="store_true", help="small networks, to rehearse")
    parser.add_argument("--report", action="store_true", help="only write the tables")
    options = parser.parse_args()
    results = Results(options.output) if options.report else run(options)
    text = tables(results.rows)
    (options.output / "tables.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
