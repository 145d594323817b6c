"""Datasets of rendered frames in the layout of KITTI's depth benchmark."""

import dataclasses
import json
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from fcfrnet_jax.data.images import write_depth, write_image
from fcfrnet_jax.files import atomic_path, differing, read_json, write_json
from fcfrnet_jax.geometry import crop_box, crop_intrinsics
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.frame import RenderedFrame, render_scene

VERSION = 4  # incremented whenever the rendered frames change
MARKER = "rendered.json"
DATE = "2000_01_01"
FIRST_FRAME = 5  # the benchmark omits the first five frames of each drive
SPACING = 1.0  # metres between the frames of a drive
CROP = (352, 1216)  # rows and columns of the images in the selection
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


class Place(NamedTuple):
    """Where a frame is stored: split, drive, number in the drive; whether the selection has it."""

    split: str
    drive: int
    number: int
    selected: bool


def places(plan: Plan) -> Iterator[Place]:
    """Yields the frames of a dataset in rendering order."""
    for i in range(plan.train):
        drive, number = divmod(i, plan.drive_length)
        yield Place("train", 1 + drive, number, False)
    drives = -(-plan.train // plan.drive_length)
    for i in range(plan.val):
        yield Place("val", 1 + drives + i, 0, i < plan.selection)


def write_data_set(
    root: str | os.PathLike, plan: Plan, show: Show = lambda *_: nullcontext(lambda _: None)
) -> bool:
    """Writes a dataset, or the missing frames of one whose writing was interrupted.

    The frames are written to a hidden folder next to `root`, which is renamed to `root` when it is
    complete. A complete dataset is not touched. Several processes may write the same dataset: the
    first to finish wins.

    Args:
      root: the folder to create.
      plan: the content of the dataset.
      show: opens a progress display.

    Returns:
      False if the dataset existed already.

    Raises:
      ValueError: `root` or the hidden folder exists and is not this dataset.
      OSError: one of them cannot be written.
    """
    root = Path(root).absolute()
    if _holds(root, plan):
        return False
    growing = root.with_name(f".{root.name}.incomplete")
    try:
        if not _holds(growing, plan):
            write_json(growing / MARKER, settings(plan))
        _write_missing(growing, plan, show)
        os.rename(growing, root)
        _remove_remains(root)
    except OSError:
        # If another process has finished first, its result is the same.
        if not _holds(root, plan):
            raise
        shutil.rmtree(growing, ignore_errors=True)
    return True


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
    _write_calibration(root / "raw" / DATE / "calib_cam_to_cam.txt", plan.camera)
    every = list(places(plan))
    missing = [place for place in every if not all(path.is_file() for path in _paths(root, place))]
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
    _write_frame(root, place, _render(plan, place), plan.camera)


def _render(plan: Plan, place: Place) -> RenderedFrame:
    key = jax.random.fold_in(jax.random.key(plan.seed), place.drive)
    return render_scene(key, plan.camera, plan.lidar, SPACING * place.number)


def _paths(root: Path, place: Place) -> list[Path]:
    """Returns the files of a frame: sparse depth, ground truth, image; then the selection's."""
    drive, name = f"{DATE}_drive_{place.drive:04d}_sync", f"{FIRST_FRAME + place.number:010d}"
    depths = root / place.split / drive / "proj_depth"
    paths = [
        depths / "velodyne_raw" / "image_02" / f"{name}.png",
        depths / "groundtruth" / "image_02" / f"{name}.png",
        root / "raw" / DATE / drive / "image_02" / "data" / f"{name}.png",
    ]
    if not place.selected:
        return paths
    folder = root / "depth_selection" / "val_selection_cropped"
    return paths + [
        folder / kind / f"{drive}_{label}_{name}_image_02.{suffix}"
        for kind, label, suffix in (
            ("velodyne_raw", "velodyne_raw", "png"),
            ("groundtruth_depth", "groundtruth_depth", "png"),
            ("image", "image", "png"),
            ("intrinsics", "image", "txt"),
        )
    ]


def _write_frame(root: Path, place: Place, frame: RenderedFrame, camera: Camera) -> None:
    maps = [np.asarray(leaf) for leaf in (frame.sparse_depth, frame.ground_truth, frame.image)]
    whole, cropped = _paths(root, place)[:3], _paths(root, place)[3:]
    _write_maps(whole, maps)
    if not cropped:
        return
    size = (camera.height, camera.width)
    crop = (min(CROP[0], size[0]), min(CROP[1], size[1]))
    top, left = crop_box(size, crop)
    _write_maps(cropped[:3], [leaf[top : top + crop[0], left : left + crop[1]] for leaf in maps])
    fx, fy, cx, cy = crop_intrinsics(camera.intrinsics, top, left)
    matrix = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    _write_text(cropped[3], " ".join(f"{value:.6f}" for value in matrix) + "\n")


def _write_maps(paths: Sequence[Path], maps: Sequence[np.ndarray]) -> None:
    for path, leaf in zip(paths[:2], maps[:2], strict=True):
        write_depth(path, leaf)
    write_image(paths[2], maps[2])


def _write_calibration(path: Path, camera: Camera) -> None:
    projection = np.concatenate([camera.matrix(), np.zeros((3, 1))], axis=1)
    _write_text(
        path,
        f"S_rect_02: {camera.width:.6e} {camera.height:.6e}\n"
        f"P_rect_02: {' '.join(f'{value:.6e}' for value in projection.ravel())}\n",
    )


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _remove_remains(root: Path) -> None:
    """Removes temporary files of `files.atomic_path` that killed processes have left."""
    for path in root.rglob(".*"):
        path.unlink(missing_ok=True)
