"""Reads a calibration in any of the supported formats."""

import os
from pathlib import Path

import numpy as np

from fcfrnet_jax.sensors.calibration import kitti, named
from fcfrnet_jax.sensors.calibration.calibration import Calibration
from fcfrnet_jax.sensors.calibration.text import numbers, read_entries, read_text

_NAMED = (".json", ".yaml", ".yml")
# No camera is farther from its scanner, in metres.
_FARTHEST = 50.0


def read_calibration(
    path: str | os.PathLike,
    *,
    camera: str = "02",
    extrinsics: str | os.PathLike | None = None,
) -> Calibration:
    """Reads the calibration of a camera and a scanner.

    Args:
      path: one of
        - KITTI's raw data: `calib_cam_to_cam.txt`, or the folder of a date that contains it.
        - KITTI's object, tracking or odometry benchmark: a .txt file with P0 to P3.
        - JSON with K (3x3) and T_cam_lidar (4x4), and possibly P, distortion (the coefficients),
          distortion_model, width and height.
        - YAML of ROS's `camera_info`, as its calibrator or `rostopic echo` writes it. T_cam_lidar
          may be added to the file.
      camera: the camera of KITTI, "00" to "03"; 02 and 03 are the colour cameras.
      extrinsics: a file with T_cam_lidar, if `path` does not contain it: JSON or YAML with
        T_cam_lidar, a text file of 12 or 16 numbers, or KITTI's `calib_velo_to_cam.txt`, which is
        the default for the raw data.

    Raises:
      ValueError: a file is missing, damaged or of an unknown format, or values are missing or
        invalid. The message is one line that starts with the path.
    """
    path = Path(path)
    if camera not in kitti.CAMERAS:
        raise ValueError(f"camera must be one of {', '.join(kitti.CAMERAS)}, got {camera!r}")
    try:
        read = _read(path, camera, None if extrinsics is None else Path(extrinsics))
    except OSError as error:
        failed = error.filename or path
        raise ValueError(f"{failed}: cannot be read: {error.strerror}; check the path") from error
    distance = np.linalg.norm(read.camera_from_lidar[:3, 3])
    if distance > _FARTHEST:
        raise ValueError(
            f"{extrinsics or path}: T_cam_lidar has a translation of {distance:.4g} m, expected "
            f"the metres from the scanner to the camera, at most {_FARTHEST:g}; convert millimetres"
        )
    return read


def _read(path: Path, camera: str, extrinsics: Path | None) -> Calibration:
    if path.is_dir():
        path = path / kitti.CAMERA_FILE
    if path.suffix.lower() in _NAMED:
        lidar = None if extrinsics is None else _read_extrinsics(extrinsics)
        return named.calibration(named.read_values(path), path, lidar)
    entries = read_entries(path)
    try:
        if any(name.startswith("P_rect_") for name in entries):
            return kitti.read_raw(path, camera, extrinsics)
        if "P0" in entries or "P2" in entries:
            if extrinsics is not None:
                raise ValueError("contains them, so extrinsics must be empty; remove it")
            return kitti.read_benchmark(path, camera)
    except ValueError as error:
        # Readers name the file that is at fault; checks of values do not know it.
        message = str(error)
        known = message.startswith((str(path), str(path.parent), str(extrinsics)))
        raise ValueError(message if known else f"{path}: {message}") from error
    raise ValueError(
        f"{path}: found {', '.join(list(entries)[:8]) or 'nothing'}, expected P_rect_{camera} "
        f"(KITTI's raw data), P{int(camera)} (its benchmarks), or a {', '.join(_NAMED)} file"
    )


def _read_extrinsics(path: Path) -> np.ndarray:
    if path.suffix.lower() in _NAMED:
        return named.read_transform(named.read_values(path), path)
    if {"R", "T"} <= set(read_entries(path)):
        return kitti.read_rigid(path)
    lines = [line.partition("#")[0] for line in read_text(path).split("\n")]
    return named.transform(np.array(numbers(" ".join(lines))), path)
