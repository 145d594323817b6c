"""Progress bars with the rate of work, for long commands."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console


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
