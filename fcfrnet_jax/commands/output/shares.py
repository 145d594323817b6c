"""The share of each process in an evaluation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from fcfrnet_jax import parallel, progress
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.evaluation.batches import Scan
from fcfrnet_jax.geometry import Size

# The name and the metrics of a frame, as in `metrics.json`.
Row = dict[str, Any]
RaiseBad = Callable[[Sequence[Frame], Sequence[BadFile]], None]
# In the folder of new results while a process ends because it has failed.
_FAILED = "failed"


class Watch:
    """Watches over the share of a process while it is measured.

    Attributes:
      bad: the bad files of the frames that were left out.
    """

    def __init__(
        self, share: Sequence[Frame], folder: Path, crop: Size, raise_bad: RaiseBad | None
    ) -> None:
        self.bad: list[BadFile] = []
        self._share, self._failed, self._raise_bad = share, folder / _FAILED, raise_bad
        # Without `raise_bad` nothing ends the run early.
        self._scan = Scan(share if raise_bad else [], crop)

    def leave_out(self, bad: list[BadFile]) -> None:
        """Ends the run; without `raise_bad`, remembers the bad files."""
        if self._raise_bad:
            self._raise_bad(self._share, bad)
        self.bad += bad

    def look(self) -> None:
        """Ends the run if the scan has found a bad file, or if another process has failed."""
        if self._raise_bad and self._scan.found_bad():
            self._raise_bad(self._share, [])
        if jax.process_count() > 1 and self._failed.exists():
            raise parallel.OtherProcessFailedError

    def close(self, failed: bool) -> None:
        """Ends the scan and, after a failure, tells the other processes."""
        self._scan.close()
        if failed and jax.process_count() > 1:
            self._failed.touch()


@contextmanager
def watched(
    share: Sequence[Frame], folder: Path, *, crop: Size, raise_bad: RaiseBad | None
) -> Iterator[Watch]:
    """Watches over a share, and ends what `Watch` does in the background.

    Args:
      share: the frames of this process.
      folder: one that all processes see.
      crop: (height, width) in pixels that must fit into each frame; 0 fits into any frame.
      raise_bad: raises a ValueError for the bad files of frames, of which some are known; None if
        frames with bad files are left out.
    """
    watch, failed = Watch(share, folder, crop, raise_bad), True
    try:
        yield watch
        failed = False
    finally:
        watch.close(failed)


@contextmanager
def shown_progress(
    watch: Watch, total: int, done: int = 0, *, label: str = "Evaluating"
) -> Iterator[Any]:
    """Yields the function that is called after each batch; the first process shows a bar.

    Args:
      watch: looks for failures after each batch.
      total, done, label: as in `progress.frames_progress`.
    """
    if jax.process_index():
        yield lambda _: watch.look()
        return
    with progress.frames_progress(total, done, label=label) as advance:

        def advance_and_look(count: int) -> None:
            watch.look()
            advance(count)

        yield advance_and_look


def gather(
    frames: Sequence[Frame], rows: list[Row], bad: list[BadFile]
) -> tuple[list[Row], list[BadFile]]:
    """Gathers what the processes have found, in the order of the frames.

    Args:
      frames: the frames of all processes.
      rows, bad: of this process.

    Returns:
      Those of all processes, the same in each.
    """
    position = {frame.name: i for i, frame in enumerate(frames)}
    told = [(item.frame.name, str(item.path), item.reason, item.too_small) for item in bad]
    everyones = parallel.gather_json([rows, told])
    rows = [row for found, _ in everyones for row in found]
    others = [
        BadFile(frames[position[name]], Path(path), reason, small and (small[0], small[1]))
        for _, items in everyones
        for name, path, reason, small in items
    ]
    return (
        sorted(rows, key=lambda row: position[row["name"]]),
        sorted(others, key=lambda item: position[item.frame.name]),
    )
