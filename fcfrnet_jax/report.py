"""What an evaluation shows on the terminal: progress and the table of metrics."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich import progress as bars
from rich.console import Console
from rich.table import Table

from fcfrnet_jax.metrics import NAMES

LABELS = {
    "rmse_mm": "RMSE (mm)",
    "mae_mm": "MAE (mm)",
    "irmse_1_per_km": "iRMSE (1/km)",
    "imae_1_per_km": "iMAE (1/km)",
    "silog": "SILog (x100)",
    "abs_rel": "abs rel",
    "sq_rel": "sq rel",
    "delta1": "delta < 1.25",
    "delta2": "delta < 1.25^2",
    "delta3": "delta < 1.25^3",
}


@contextmanager
def frames_progress(
    total: int, done: int = 0, *, label: str = "Evaluating"
) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar with frames/s; yields the function that advances it.

    Args:
      total: the number of frames.
      done: how many of them were there before, which does not count for the speed.
      label: what is going on.
    """
    columns = (
        bars.TextColumn(label),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}"),
        bars.TimeRemainingColumn(),
    )
    start = time.monotonic()
    with bars.Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=total, completed=done, rate="")

        def advance(count: int) -> None:
            since = progress.tasks[0].completed + count - done
            rate = f"{since / (time.monotonic() - start):.2f} frames/s"
            progress.update(task, advance=count, rate=rate)

        yield advance


class Progress:
    """The bar of a training: step, loss, frames/s, the share of time waiting for data, time left.

    Args:
      start: the step from which training goes on.
      total: the last step.
    """

    def __init__(self, start: int, total: int) -> None:
        columns = (
            bars.TextColumn("Training"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[told]}"),
            bars.TimeRemainingColumn(),
        )
        self._bar = bars.Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=total, completed=start, told="")
        self._told = {"loss": ""}
        self._frames, self._waited = 0, 0.0

    def __enter__(self) -> "Progress":
        self._bar.start()
        self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def tell(self, loss: float) -> None:
        self._told["loss"] = f"loss {loss:.4g}"

    def advance(self, frames: int, waited: float) -> dict[str, float]:
        """Moves on by a step of `frames` whose data were waited for; returns the speed so far."""
        self._frames += frames
        self._waited += waited
        seconds = max(time.monotonic() - self._since, 1e-9)
        speed = {"frames_per_s": self._frames / seconds, "data_wait": self._waited / seconds}
        rate = f"{speed['frames_per_s']:.2f} frames/s, {speed['data_wait']:.0%} waiting for data"
        self._bar.update(self._task, advance=1, told=f"{self._told['loss']} {rate}")
        return speed


def print_table(result: dict[str, Any], workdir: Path) -> None:
    """Prints what `metrics.json` says in short: where the models come from, means, what to look at.

    Args:
      result: of `evaluate.run`.
      workdir: where everything was written.
    """
    console = Console()
    for setting, provenance in result["provenance"].items():
        console.print(f"Model {result[setting]}: {origin(provenance)}", soft_wrap=True)
    if result["metrics"]:
        title = f"Mean over the {result['frames']} frames of {result['split']}, {result['data']}:"
        console.print(title, soft_wrap=True)
        table = Table("", *result["metrics"])
        for measure in NAMES:
            row = (_rounded(values[measure]) for values in result["metrics"].values())
            table.add_row(LABELS[measure], *row)
        console.print(table)
    if result["skipped"]:
        count = len({item["name"] for item in result["skipped"]})
        console.print(f"Left out {count} frames with files that cannot be used; see metrics.json")
    console.print(f"Wrote metrics.json, predictions and panels to {workdir}", soft_wrap=True)


def origin(provenance: dict[str, Any]) -> str:
    """Says in words where weights come from, by the `provenance` of their checkpoint."""
    if {"coarse", "fine"} <= provenance.keys():
        return "; ".join(f"{stage} {origin(provenance[stage])}" for stage in ("coarse", "fine"))
    if "source" in provenance:
        return f"converted from {provenance['source']}"
    if "trained_steps" not in provenance:
        return "of unknown origin"
    settings = provenance.get("settings", {})
    data = settings.get("data_dir") or "sample scenes"
    if settings.get("source") == "synthetic":
        data = "rendered streets alone"
    return f"trained for {provenance['trained_steps']} steps on {data}"


def _rounded(value: float) -> str:
    return f"{value:.1f}" if value >= 100 else f"{value:.4g}"
