"""Data sets of rendered frames in the layout of KITTI's depth benchmark, written frame by frame."""

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
from fcfrnet_jax.files import atomic_path, write_json
from fcfrnet_jax.geometry import Size, crop_box, crop_intrinsics
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar, thinned
from fcfrnet_jax.streets.frame import Frame, render_scene

VERSION = 4  # goes up whenever the frames change
MARKER = "rendered.json"
DATE = "2000_01_01"
FIRST_FRAME = 5  # the benchmark leaves out the first five frames of a drive
SPACING = 1.0  # metres from one frame of a drive to the next
CROP = (352, 1216)  # of the selection
MAX_DRIVE = 10
# Called with the number of frames and how many of them are there already.
Show = Callable[[int, int], AbstractContextManager[Callable[[int], None]]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a data set consists of. The same plan makes the same frames, one by one.

    Attributes:
      train: frames of the `train` split, in drives of `drive_length` frames, a metre apart.
      val: frames of the `val` split, each of a street of its own.
      selection: the first so many frames of `val` are in the selection as well.
      drive_length: at most `MAX_DRIVE` frames, as streets do not go on for ever.
      seed: of the streets.
      camera, lidar: of the uncropped pictures.

    Raises:
      ValueError: no frames at all, a negative number, a selection larger than `val`, or a drive of
        an impossible length.
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
                f"the selection is a part of val: it cannot have {self.selection} of {self.val}"
            )
        if not 1 <= self.drive_length <= MAX_DRIVE:
            raise ValueError(
                f"a drive has 1 to {MAX_DRIVE} frames, got a drive length of {self.drive_length}"
            )


class Place(NamedTuple):
    """Where a frame goes, and what it shows: `number` metres into the street of its drive."""

    split: str
    drive: int
    number: int
    selected: bool


def places(plan: Plan) -> Iterator[Place]:
    """The frames of a data set, in the order in which they are rendered."""
    for i in range(plan.train):
        drive, number = divmod(i, plan.drive_length)
        yield Place("train", 1 + drive, number, False)
    drives = -(-plan.train // plan.drive_length)
    for i in range(plan.val):
        yield Place("val", 1 + drives + i, 0, i < plan.selection)


def scaled_rig(size: Size, lidar: Lidar = HDL64) -> tuple[Camera, Lidar]:
    """KITTI's camera with a picture of another size, (height, width), and a scanner that fits.

    The view stays the same; in smaller pictures echoes cover as large a share as in KITTI's.
    """
    share = size[0] / KITTI.height
    return KITTI.scaled(*size), thinned(lidar, share) if share < 1.0 else lidar


def write_data_set(
    root: str | os.PathLike, plan: Plan, show: Show = lambda *_: nullcontext(lambda _: None)
) -> bool:
    """Writes a data set, or what is missing of it after an earlier attempt.

    It grows in a hidden folder beside `root`, which takes its place when all is there. A finished
    data set is left alone. Processes that write the same one do not disturb each other: the first
    to finish wins.

    Args:
      root: the folder to make.
      plan: what it consists of.
      show: opens a display of the progress, which gives a function to advance it by some frames.

    Returns:
      False if the data set was there already.

    Raises:
      ValueError: `root`, or the hidden folder, holds anything but this data set.
      OSError: they cannot be written.
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
        # Another process may have finished first; then its result is as good as this one.
        if not _holds(root, plan):
            raise
        shutil.rmtree(growing, ignore_errors=True)
    return True


def settings(plan: Plan) -> dict[str, Any]:
    """What the marker of a data set tells of it, as JSON gives it back."""
    described = {"version": VERSION} | dataclasses.asdict(plan)
    return json.loads(json.dumps(described))


def _holds(root: Path, plan: Plan) -> bool:
    """Whether the folder is of this data set; False where nothing stands in its way.

    Raises:
      ValueError: anything else is there.
    """
    marker = root / MARKER
    wanted = settings(plan)
    # In this order: a process that fills the folder meanwhile has written the marker first.
    free = not root.exists() or (root.is_dir() and _is_free(root))
    if marker.is_file():
        found = json.loads(marker.read_text(encoding="utf-8"))
        if found == wanted:
            return True
        changed = [
            f"another {name}"
            if isinstance(wanted.get(name), dict)
            else f"{name} was {found.get(name)}, is {wanted.get(name)}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]
        what = f"holds another data set of rendered frames: {'; '.join(changed)}"
    elif free or not root.exists():
        return False
    else:
        what = f"exists and is no data set of rendered frames (it has no {MARKER})"
    raise ValueError(f"{root} {what}; delete it or name another folder")


def _is_free(folder: Path) -> bool:
    """Whether there is nothing in a folder but a marker that a process is about to write."""
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
            # A CPU renders most of a frame on one core. The first one compiles, for all.
            writing.append(pool.submit(_render_frame, root, plan, place))
            if len(writing) > (threads if number else 0):
                writing.popleft().result()
                advance(1)
        for written in writing:
            written.result()
            advance(1)


def _render_frame(root: Path, plan: Plan, place: Place) -> None:
    _write_frame(root, place, _render(plan, place), plan.camera)


def _render(plan: Plan, place: Place) -> Frame:
    key = jax.random.fold_in(jax.random.key(plan.seed), place.drive)
    return render_scene(key, plan.camera, plan.lidar, SPACING * place.number)


def _paths(root: Path, place: Place) -> list[Path]:
    """The files of a frame: sparse depth, ground truth and image, and those of the selection."""
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


def _write_frame(root: Path, place: Place, frame: Frame, camera: Camera) -> None:
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
    """Removes what `files.atomic_path` leaves of a file when the process is killed."""
    for path in root.rglob(".*"):
        path.unlink(missing_ok=True)
