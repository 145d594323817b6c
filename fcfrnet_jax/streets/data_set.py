"""Datasets of rendered frames in the layout of KITTI's depth benchmark."""

import dataclasses
import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import jax

from fcfrnet_jax.files import (
    differing,
    is_temporary,
    read_json,
    remove,
    remove_temporaries,
    sync,
    write_json,
)
from fcfrnet_jax.locks import lock, lock_file
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.frame import RenderedFrame, render_scene
from fcfrnet_jax.streets.frame_files import (
    FOLDERS,
    Place,
    calibration_path,
    frame_paths,
    write_calibration,
    write_frame,
)

VERSION = 4  # incremented whenever the rendered frames change
MARKER = "rendered.json"
SPACING = 1.0  # metres between the frames of a drive
MAX_DRIVE = 10
# Opens a progress display, given the number of frames and how many of them exist already. Yields a
# function that advances the display by a number of frames.
Show = Callable[[int, int], AbstractContextManager[Callable[[int], None]]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """The content of a dataset. The same plan always gives the same frames.

    Attributes:
      train: the number of frames in the `train` split, in drives with frames one metre apart.
      val: the number of frames in the `val` split, each of a different street.
      selection: how many frames of `val`, the first ones, are also in the selection.
      drive_length: the number of frames in a drive, at most `MAX_DRIVE`: streets are finite.
      seed: the random seed of the streets.
      camera, lidar: the sensors; images are rendered uncropped.

    Raises:
      ValueError: no frames, a negative number, a selection larger than `val`, or a drive length out
        of range.
    """

    train: int
    val: int
    selection: int
    drive_length: int = 10
    seed: int = 0
    camera: Camera = KITTI
    lidar: Lidar = HDL64

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.selection) < 0 or not self.train + self.val:
            raise ValueError(
                f"cannot render {self.train} frames for train, {self.val} for val and "
                f"{self.selection} for the selection"
            )
        if self.selection > self.val:
            raise ValueError(
                f"the selection is part of val: cannot select {self.selection} of {self.val} frames"
            )
        if not 1 <= self.drive_length <= MAX_DRIVE:
            raise ValueError(
                f"the drive length must be 1 to {MAX_DRIVE} frames, got {self.drive_length}"
            )


def places(plan: Plan) -> Iterator[Place]:
    """Yields the frames of a dataset in rendering order."""
    for i in range(plan.train):
        drive, number = divmod(i, plan.drive_length)
        yield Place("train", 1 + drive, number, False)
    drives = -(-plan.train // plan.drive_length)
    for i in range(plan.val):
        yield Place("val", 1 + drives + i, 0, i < plan.selection)


def write_data_set(
    root: str | os.PathLike,
    plan: Plan,
    show: Show = lambda *_: nullcontext(lambda _: None),
    *,
    alone: bool = False,
) -> bool:
    """Writes a dataset, or the missing frames of one whose writing was interrupted.

    The frames are written to a hidden folder next to `root`, which is renamed to `root` when it is
    complete. A complete dataset is not touched. Several processes may write the same dataset: the
    first to finish wins. What killed processes have left is removed when no other process writes.

    Args:
      root: the folder to create.
      plan: the content of the dataset.
      show: opens a progress display.
      alone: refuse to write while another process writes to `root`.

    Returns:
      False if the dataset existed already.

    Raises:
      ValueError: `root` or the hidden folder exists and is not this dataset.
      BlockingIOError: with `alone`, another process writes to `root`.
      OSError: one of them cannot be written.
    """
    root = Path(root).absolute()
    if _holds(root, plan) and not (_growing(root).exists() or lock_file(root).exists()):
        return False
    try:
        with lock(lock_file(root), root, shared=not alone, clean=lambda: _clean(root, plan)):
            return _write(root, plan, show)
    except BlockingIOError:
        raise
    except OSError:
        # Leftovers beside a dataset that may only be read do no harm.
        if not _holds(root, plan):
            raise
        return False


def files_of(root: Path, plan: Plan) -> list[Path]:
    """The files of a complete dataset."""
    frames = [path for place in places(plan) for path in frame_paths(root, place)]
    return [root / MARKER, calibration_path(root), *frames]


def repair(root: Path, plan: Plan) -> None:
    """Writes the missing files of a dataset that was complete; several processes may do this."""
    write_json(root / MARKER, settings(plan))
    _write_missing(root, plan, lambda *_: nullcontext(lambda _: None))


def _growing(root: Path) -> Path:
    return root.with_name(f".{root.name}.incomplete")


def _write(root: Path, plan: Plan, show: Show) -> bool:
    growing = _growing(root)
    if _holds(root, plan):
        return False
    try:
        if not _holds(growing, plan):
            write_json(growing / MARKER, settings(plan))
        _write_missing(growing, plan, show)
        for folder in growing.rglob("*/"):
            sync(folder)
        os.rename(growing, root)
        sync(root.parent)
    except OSError:
        # If another process has finished first, its result is the same.
        if not _holds(root, plan):
            raise
    return True


def _clean(root: Path, plan: Plan) -> None:
    """Removes what killed processes have left; only while no other process writes."""
    growing = _growing(root)
    for folder in (root, growing):
        for path in folder.rglob(".*"):
            if is_temporary(path):
                remove(path)
    remove_temporaries(growing)
    if not (growing.is_dir() and root.exists() and _holds(root, plan)):
        return
    # Without the marker it is what a process had begun when another one finished first.
    if {path.name for path in growing.iterdir()} <= {MARKER, *FOLDERS}:
        remove(growing)


def settings(plan: Plan) -> dict[str, Any]:
    """Returns the content of the marker file, as it is read back from JSON."""
    described = {"version": VERSION} | dataclasses.asdict(plan)
    return json.loads(json.dumps(described))


def _holds(root: Path, plan: Plan) -> bool:
    """Returns whether `root` is this dataset; False if it does not exist or is empty.

    Raises:
      ValueError: `root` holds something else.
    """
    marker = root / MARKER
    wanted = settings(plan)
    # Before the marker is looked for: a process that fills the folder at this moment writes the
    # marker first.
    free = not root.exists() or (root.is_dir() and _is_free(root))
    if marker.is_file():
        found = read_json(marker, "delete the folder, or use another one")
        if found == wanted:
            return True
        changed = [
            f"another {name}"
            if isinstance(wanted.get(name), dict)
            else f"{name} is {found.get(name)}, not {wanted.get(name)}"
            for name in differing(found, wanted)
        ]
        what = f"holds a different dataset of rendered frames: {'; '.join(changed)}"
    elif free or not root.exists():
        return False
    else:
        what = f"exists and is not a dataset of rendered frames (it has no {MARKER})"
    raise ValueError(f"{root} {what}; delete it or use another folder")


def _is_free(folder: Path) -> bool:
    """Returns whether a folder is empty, apart from a marker that is just being written."""
    return all(path.name.startswith(f".{Path(MARKER).stem}.") for path in folder.iterdir())


def _write_missing(root: Path, plan: Plan, show: Show) -> None:
    write_calibration(root, plan.camera)
    every = list(places(plan))
    missing = [
        place for place in every if not all(path.is_file() for path in frame_paths(root, place))
    ]
    threads = os.cpu_count() or 1
    with (
        show(len(every), len(every) - len(missing)) as advance,
        ThreadPoolExecutor(threads) as pool,
    ):
        writing: deque[Future] = deque()
        for number, place in enumerate(missing):
            # On CPUs most of a frame is rendered by one core. The first frame is rendered alone,
            # so that the renderer is compiled once.
            writing.append(pool.submit(_render_frame, root, plan, place))
            if len(writing) > (threads if number else 0):
                writing.popleft().result()
                advance(1)
        for written in writing:
            written.result()
            advance(1)


def _render_frame(root: Path, plan: Plan, place: Place) -> None:
    write_frame(root, place, _render(plan, place), plan.camera)


def _render(plan: Plan, place: Place) -> RenderedFrame:
    key = frame_key(plan, place)
    return render_scene(key, plan.camera, plan.lidar, SPACING * place.number)


def frame_key(plan: Plan, place: Place) -> jax.Array:
    """Returns the random key of the street of a frame."""
    return jax.random.fold_in(jax.random.key(plan.seed), place.drive)
