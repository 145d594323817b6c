"""Measures everything on an accelerator, within a time budget, next to PyTorch.

    python benchmarks/accelerator.py --minutes 9 --output results
    python benchmarks/accelerator.py --output results --report

Writes each result to `results.jsonl` in the output folder as soon as it is there, and tables to
`tables.md` at the end. A later call with the same folder measures what is missing; with
`--again`, also what failed. An item that fails is recorded and does not end the run. Results of
another device, or of a rehearsal, are set aside in the same folder.

Needs jax, flax and optax; PyTorch for the comparisons, and orbax for the compact model. The items
are in `benchmarks/accelerators/plan.py`. With `--toy`, one of each kind runs on a small
network, to rehearse on a CPU.
"""

import argparse
import importlib.util
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.accelerators.group import Group
from benchmarks.accelerators.plan import Item, make_plan, seconds_of
from benchmarks.accelerators.report import COLUMNS, tables
from benchmarks.accelerators.results import FILE, Results, Row
from benchmarks.accelerators.toy import make_toy_plan
from benchmarks.accelerators.worker import WorkerError, Workers


def run(options: argparse.Namespace) -> Results:
    """Measures the items that are missing in the output folder, as far as the time goes.

    Raises:
      SystemExit: jax runs on another platform than the required one.
      WorkerError: jax does not start.
    """
    results = Results(options.output)
    end = time.monotonic() + 60 * options.minutes
    workers = Workers(options.output)
    try:
        with ThreadPoolExecutor() as pool:
            torch = pool.submit(_describe_torch, workers)
            described = workers.get("jax").request("describe", 120)
            about = [{"key": "about/torch", "result": found} for found in torch.result()]
        described |= {"toy": True} if options.toy else {}
        print(json.dumps(described), flush=True)
        if options.require not in (None, described["platform"]):
            raise SystemExit(f"Error: jax runs on {described['platform']}")
        results.begin(described)
        for row in about:
            results.add(row)
        late: list[Item] = []
        for group in _missing(options, results):
            items: list[Item] = []
            for item in group:
                fits = seconds_of([*items, item]) <= end - time.monotonic()
                (items if fits else late).append(item)
            if items:
                Group(items, workers, results, end).measure()
        if late:
            print(f"{len(late)} items not begun, for lack of time: {_names(late)}", flush=True)
    finally:
        workers.close()
    return results


def _missing(options: argparse.Namespace, results: Results) -> list[list[Item]]:
    """The groups of the plan, without the items that are done or not asked for."""
    done = results.done(again=options.again)
    plan = make_toy_plan() if options.toy else make_plan()
    return [
        [
            item
            for item in group
            if item.key not in done and (not options.only or item.part in options.only)
        ]
        for group in plan
    ]


def _names(items: list[Item], shown: int = 5) -> str:
    more = ", ..." if len(items) > shown else ""
    return ", ".join(item.key for item in items[:shown]) + more


def _describe_torch(workers: Workers) -> list[Row]:
    """What PyTorch says of itself, if it starts."""
    if importlib.util.find_spec("torch"):
        try:
            return [workers.get("torch").request("describe", 120)]
        except WorkerError as error:
            print(f"torch: {error}", flush=True)
    return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--minutes", type=float, default=9, help="time budget")
    parser.add_argument("--require", metavar="PLATFORM", help="end unless jax runs on it: gpu, tpu")
    parser.add_argument(
        "--only", nargs="+", choices=tuple(COLUMNS), help="measure these parts only"
    )
    parser.add_argument("--again", action="store_true", help="repeat what failed")
    parser.add_argument("--toy", action="store_true", help="small networks, to rehearse")
    parser.add_argument("--report", action="store_true", help="only write the tables")
    options = parser.parse_args()
    try:
        if options.report and not (options.output / FILE).is_file():
            raise FileNotFoundError(f"{options.output} has no {FILE}")
        results = Results(options.output) if options.report else run(options)
        text = tables(results.rows)
        (options.output / "tables.md").write_text(text, encoding="utf-8")
    except (OSError, WorkerError) as error:
        sys.exit(f"Error: {error}")
    print(text)


if __name__ == "__main__":
    main()
