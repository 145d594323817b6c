"""Reads the calibration of the cameras."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from fcfrnet_jax.data.frame import Intrinsics
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.sensors.calibration.text import numbers, read_entries, read_text


def read_calibration(path: str | os.PathLike) -> dict[str, Intrinsics]:
    """Reads (fx, fy, cx, cy) of the rectified colour cameras from `calib_cam_to_cam.txt`.

    Returns:
      {"image_02": ..., "image_03": ...}, from P_rect_02 and P_rect_03 (row-major 3x4). A rig with a
      single camera has only one of them.

    Raises:
      ValueError: the line of a camera does not hold twelve numbers, a focal length is not positive,
        or there is no such line.
    """
    entries = read_entries(path)
    cameras = {}
    for camera in ("02", "03"):
        line = entries.get(f"P_rect_{camera}")
        if line is None:
            continue
        values = numbers(line)
        if len(values) != 12:
            raise ValueError(f"{path}: P_rect_{camera} must be 12 numbers, got {len(values)}")
        intrinsics = (values[0], values[5], values[2], values[6])
        cameras[f"image_{camera}"] = _plausible(intrinsics, f"{path}: P_rect_{camera}")
    if not cameras:
        raise ValueError(f"{path}: has neither P_rect_02 nor P_rect_03")
    return cameras


def read_intrinsics(path: str | os.PathLike) -> Intrinsics:
    """Reads (fx, fy, cx, cy) from a text file of a selection, a row-major 3x3 matrix.

    Raises:
      ValueError: the file does not hold nine numbers, or a focal length is not positive.
    """
    values = numbers(read_text(path))
    if len(values) != 9:
        raise ValueError(f"{path}: intrinsics must be 9 numbers, got {len(values)}")
    return _plausible((values[0], values[4], values[2], values[5]), f"{path}: intrinsics")


def _plausible(intrinsics: Intrinsics, where: str) -> Intrinsics:
    if not (all(map(math.isfinite, intrinsics)) and min(intrinsics[:2]) > 0):
        listed = ", ".join(f"{value:g}" for value in intrinsics)
        raise ValueError(
            f"{where}: expected positive focal lengths and finite numbers, got fx, fy, cx, cy = "
            f"{listed}; restore the file from the dataset"
        )
    return intrinsics


def frame_intrinsics(
    data_dir: Path, split: str, names: Sequence[str]
) -> tuple[dict[str, Intrinsics], dict[str, tuple[Path, str]]]:
    """Reads the intrinsics of frames.

    Returns:
      By name, (fx, fy, cx, cy) in pixels of the frames that have them, and of frames whose file
      cannot be read, the file and the reason.
    """
    read: dict[Path, dict[str, Intrinsics]] = {}
    failed: dict[Path, str] = {}
    in_drives = split not in layout.SELECTION_FOLDERS
    files = layout.intrinsics_files(data_dir, split, names)
    for path in dict.fromkeys(files.values()):
        try:
            read[path] = read_calibration(path) if in_drives else {"": read_intrinsics(path)}
        except OSError as error:
            failed[path] = f"cannot be read: {error.strerror}"
        except ValueError as error:
            failed[path] = f"is damaged: {str(error).removeprefix(f'{path}: ')}"
    intrinsics = {}
    for name, path in files.items():
        camera = name.split("/")[1] if in_drives else ""
        if camera in read.get(path, {}):
            intrinsics[name] = read[path][camera]
    broken = {name: (path, failed[path]) for name, path in files.items() if path in failed}
    return intrinsics, broken


def no_calibration(
    data_dir: Path, split: str, name: str, broken: Mapping[str, tuple[Path, str]]
) -> tuple[Path, str]:
    """The file in which the intrinsics of a frame were expected, and why there are none."""
    path = layout.expected_file(data_dir, split, "intrinsics", name, None)
    return broken.get(name, (path, f"is missing or lacks the camera, the calibration of {name}"))
