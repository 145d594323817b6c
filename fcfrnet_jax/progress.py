"""Progress bars with the processing rate, for long commands."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich import progress as bars
from rich.console import Console
from rich.text import Text

from fcfrnet_jax.text import printable


class _PlainConsole(Console):
    """A console that prints text as it is, except for characters that control the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a text for this console; also called for the strings in tables."""
        shown = printable(text, keep="\n").encode(self.encoding, "backslashreplace")
        return super().render_str(shown.decode(self.encoding), **options)


def console(
    *, stderr: bool = False, file: IO[str] | None = None, width: int | None = None
) -> Console:
    """Returns a console for text that may come from files or paths.

    It has no markup, emoji codes or highlights, and writes characters that are not printable or
    that the output cannot encode as escapes, see `text.printable`.

    Args:
      stderr: print to stderr instead of stdout.
      file: print to this file instead.
      width: characters per line; None for those of the terminal.
    """
    return _PlainConsole(
        stderr=stderr, file=file, width=width, markup=False, emoji=False, highlight=False
    )


class Advance:
    """Advances a bar of frames, and computes frames/s.

    Args:
      progress: the bars, of which the first is advanced.
      done: how many frames existed before.
    """

    def __init__(self, progress: bars.Progress, done: int) -> None:
        self._progress, self._done = progress, done
        self._start = time.monotonic()

    def __call__(self, count: int) -> None:
        """Counts frames that were processed now."""
        task = self._progress.tasks[0]
        since = task.completed + count - self._done
        rate = f"{since / max(time.monotonic() - self._start, 1e-9):.2f} frames/s"
        self._progress.update(task.id, advance=count, rate=rate)

    def keep(self, count: int) -> None:
        """Counts frames that existed before; they do not count for the rate."""
        self._done += count
        self._progress.update(self._progress.tasks[0].id, advance=count)


@contextmanager
def frames_progress(total: int, done: int = 0, *, label: str = "Evaluating") -> Iterator[Advance]:
    """Shows a progress bar with frames/s, and yields what advances it.

    Args:
      total: the number of frames.
      done: how many of them existed before; they do not count for the rate.
      label: text before the bar.
    """
    columns = (
        bars.TextColumn(printable(label), markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]}", markup=False),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console(stderr=True)) as progress:
        progress.add_task("", total=total, completed=done, rate="")
        yield Advance(progress, done)


class Progress:
    """A progress bar for training: step, loss, frames/s, share of time waiting for data, time left.

    Args:
      start: the first step, not 0 in a resumed run.
      total: the last step.
    """

    def __init__(self, start: int, total: int) -> None:
        columns = (
            bars.TextColumn("Training"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[status]}", markup=False),
            bars.TimeRemainingColumn(),
        )
        self._bar = bars.Progress(*columns, console=console(stderr=True))
        self._task = self._bar.add_task("", total=total, completed=start, status="")
        self._loss = ""
        self._frames, self._waited = 0, 0.0

    def __enter__(self) -> "Progress":
        self._bar.start()
        self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show_loss(self, loss: float) -> None:
        """Shows a new loss from the next step on."""
        self._loss = f"loss {loss:.4g}"

    def say(self, line: str) -> None:
        """Prints a line above the bar, or into a log where there is no terminal."""
        self._bar.console.print(line, soft_wrap=True)

    def advance(self, frames: int, waited: float) -> dict[str, float]:
        """Advances by one step.

        Args:
          frames: the frames of the step.
          waited: seconds spent waiting for its data.

        Returns:
          `frames_per_s` and `data_wait`, the share of time waiting for data, since the start.
        """
        self._frames += frames
        self._waited += waited
        seconds = max(time.monotonic() - self._since, 1e-9)
        speed = {"frames_per_s": self._frames / seconds, "data_wait": self._waited / seconds}
        rate = f"{speed['frames_per_s']:.2f} frames/s, {speed['data_wait']:.0%} waiting for data"
        self._bar.update(self._task, advance=1, status=f"{self._loss} {rate}")
        return speed
