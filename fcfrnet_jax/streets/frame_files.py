"""The files of a rendered frame, in the layout of KITTI's depth benchmark."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcfrnet_jax.data.images import write_depth, write_image
from fcfrnet_jax.files import atomic_path
from fcfrnet_jax.geometry import crop_box, crop_intrinsics
from fcfrnet_jax.sensors.camera import Camera
from fcfrnet_jax.streets.frame import RenderedFrame

DATE = "2000_01_01"
FIRST_FRAME = 5  # the benchmark omits the first five frames of each drive
CROP = (352, 1216)  # rows and columns of the images in the selection
FOLDERS = ("train", "val", "raw", "depth_selection")  # at the top of a dataset


class Place(NamedTuple):
    """Where a frame is stored: split, drive, number in the drive; whether the selection has it."""

    split: str
    drive: int
    number: int
    selected: bool


def frame_paths(root: Path, place: Place) -> list[Path]:
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


def write_frame(root: Path, place: Place, frame: RenderedFrame, camera: Camera) -> None:
    """Writes the files of a frame, with the crop of the selection if it is part of it."""
    maps = [np.asarray(leaf) for leaf in (frame.sparse_depth, frame.ground_truth, frame.image)]
    whole, cropped = frame_paths(root, place)[:3], frame_paths(root, place)[3:]
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


def calibration_path(root: Path) -> Path:
    """Returns the calibration file of the raw data."""
    return root / "raw" / DATE / "calib_cam_to_cam.txt"


def write_calibration(root: Path, camera: Camera) -> None:
    """Writes the calibration file of the raw data."""
    projection = np.concatenate([camera.matrix(), np.zeros((3, 1))], axis=1)
    _write_text(
        calibration_path(root),
        f"S_rect_02: {camera.width:.6e} {camera.height:.6e}\n"
        f"P_rect_02: {' '.join(f'{value:.6e}' for value in projection.ravel())}\n",
    )


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
