"""Writes tiny trees in the layouts of the KITTI depth-completion benchmark."""

import re
import shutil
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import write_depth, write_image

DRIVE = "2011_09_26_drive_0009_sync"
SELECTION = "depth_selection/val_selection_cropped"
TEST = "depth_selection/test_depth_completion_anonymous"
SIZE = (9, 15)
INTRINSICS = (7.5, 7.0, 6.25, 3.5)
# The frames that `write_drive` and `write_val_selection` write by default.
DRIVE_NAMES = [f"{DRIVE}/image_02/{i:010d}" for i in (5, 6, 7)]
SELECTION_NAMES = [f"{DRIVE}_image_{i:010d}_image_02" for i in (5, 8, 13)]

# The folder of a run of pytest, and in it that of a worker.
RUN = re.compile(r"^.*/pytest-\d+/(popen-gw\d+/)?")

Size = tuple[int, int]


def generator(path: Path) -> np.random.Generator:
    """Seeds a generator with a path, as far as it is the same in every run of pytest."""
    return np.random.default_rng(zlib.crc32(RUN.sub("", str(path)).encode()))


def random_depth(path: Path, size: Size = SIZE, density: float = 0.2) -> Path:
    """Writes a depth map of 1 to 79 m whose content depends on its path alone."""
    rng = generator(path)
    depth = rng.integers(256, 79 * 256, size) / 256
    valid = rng.permutation(depth.size) < density * depth.size
    write_depth(path, depth * valid.reshape(size))
    return path


def random_image(path: Path, size: Size = SIZE) -> Path:
    """Writes an RGB image whose content depends on its path alone."""
    write_image(path, generator(path).integers(0, 256, (*size, 3), dtype=np.uint8))
    return path


def write_drive(
    data_dir: Path,
    split: str = "val",
    numbers: Iterable[int] = range(5, 8),
    drive: str = DRIVE,
    camera: str = "image_02",
    size: Size = SIZE,
) -> None:
    """Writes one camera of a drive as the benchmark's archives and the raw data unpack."""
    raw = data_dir / "raw" / drive[:10]
    write_calibration(raw / "calib_cam_to_cam.txt")
    for number in numbers:
        file = f"{camera}/{number:010d}.png"
        random_depth(
            data_dir / "data_depth_velodyne" / split / drive / "proj_depth/velodyne_raw" / file,
            size,
        )
        random_depth(
            data_dir / "data_depth_annotated" / split / drive / "proj_depth/groundtruth" / file,
            size,
        )
        random_image(raw / drive / camera / "data" / f"{number:010d}.png", size)


def write_calibration(path: Path) -> None:
    """Writes a calibration file whose colour cameras have `INTRINSICS`, the right one fx + 1."""
    fx, fy, cx, cy = INTRINSICS
    lines = ["calib_time: 09-Jan-2012 13:57:47", "P_rect_00: 1 0 1 0 0 1 1 0 0 0 1 0"]
    lines += [f"P_rect_02: {fx:e} 0 {cx:e} 44.857 0 {fy:e} {cy:e} 0.216 0 0 1 0.0027"]
    lines += [f"P_rect_03: {fx + 1:e} 0 {cx:e} -339.5 0 {fy:e} {cy:e} 2.2 0 0 1 0.0027"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_val_selection(
    folder: Path, numbers: Iterable[int] = (5, 8, 13), size: Size = SIZE
) -> None:
    """Writes a val selection whose files are named as the benchmark names them."""
    for number in numbers:
        name = f"{DRIVE}_{{}}_{number:010d}_image_02"
        random_image(folder / "image" / (name.format("image") + ".png"), size)
        random_depth(folder / "velodyne_raw" / (name.format("velodyne_raw") + ".png"), size)
        random_depth(
            folder / "groundtruth_depth" / (name.format("groundtruth_depth") + ".png"), size
        )
        _write_intrinsics(folder / "intrinsics" / (name.format("image") + ".txt"))


def write_test_selection(folder: Path, count: int = 3, size: Size = SIZE) -> None:
    """Writes an anonymous test selection: no ground truth, files named by number."""
    for number in range(count):
        random_image(folder / "image" / f"{number:010d}.png", size)
        random_depth(folder / "velodyne_raw" / f"{number:010d}.png", size)
        _write_intrinsics(folder / "intrinsics" / f"{number:010d}.txt")


def _write_intrinsics(path: Path) -> None:
    fx, fy, cx, cy = INTRINSICS
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{fx:f} 0.0 {cx:f} 0.0 {fy:f} {cy:f} 0.0 0.0 1.0\n")


def names(frames: list[Frame]) -> list[str]:
    return [frame.name for frame in frames]


def move(data_dir: Path, source: str, target: str) -> None:
    (data_dir / target).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(data_dir / source, data_dir / target)


def flat_coarse_maps(folder: Path, stems: Iterable[str]) -> Path:
    """Writes dense maps into one folder."""
    for stem in stems:
        random_depth(folder / f"{stem}.png", density=1.0)
    return folder
