"""Calibration files of KITTI's raw data and of its object, tracking and odometry benchmarks."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fcfrnet_jax.sensors.calibration.calibration import Calibration, rigid
from fcfrnet_jax.sensors.calibration.text import matrix, read_entries

CAMERAS = ("00", "01", "02", "03")
CAMERA_FILE = "calib_cam_to_cam.txt"
LIDAR_FILE = "calib_velo_to_cam.txt"
UNIT_FILE = "calib_imu_to_velo.txt"


def read_raw(path: Path, camera: str, lidar_file: Path | None = None) -> Calibration:
    """Reads the calibration of the raw data; its images are rectified.

    Args:
      path: `calib_cam_to_cam.txt`.
      camera: "00" to "03".
      lidar_file: by default `calib_velo_to_cam.txt` in the same folder.

    Raises:
      ValueError: an entry is missing or damaged.
    """
    entries = read_entries(path)
    projection = _entry(entries, (f"P_rect_{camera}",), (3, 4), path)
    # Camera 0 is the reference; the projections of the others contain their baseline to it.
    rectification = _entry(entries, ("R_rect_00",), (3, 3), path)
    lidar_path = lidar_file or path.with_name(LIDAR_FILE)
    camera_from_lidar = rigid(rectification) @ read_rigid(lidar_path)
    size = None
    if f"S_rect_{camera}" in entries:
        width, height = _entry(entries, (f"S_rect_{camera}",), (2,), path)
        size = int(height), int(width)
    return Calibration(projection, camera_from_lidar, size)


def read_benchmark(path: Path, camera: str) -> Calibration:
    """Reads a file of the object, tracking or odometry benchmark; their images are rectified.

    The files do not contain the size of the image.

    Args:
      path: the file, with P0 to P3, `Tr_velo_to_cam` or `Tr`, and R0_rect except in odometry, whose
        `Tr` includes the rectification.
      camera: "00" to "03".

    Raises:
      ValueError: an entry is missing or damaged.
    """
    entries = read_entries(path)
    projection = _entry(entries, (f"P{int(camera)}",), (3, 4), path)
    lidar = _entry(entries, ("Tr_velo_to_cam", "Tr_velo_cam", "Tr"), (3, 4), path)
    camera_from_lidar = rigid(lidar[:, :3], lidar[:, 3])
    if "R0_rect" in entries or "R_rect" in entries:
        camera_from_lidar = (
            rigid(_entry(entries, ("R0_rect", "R_rect"), (3, 3), path)) @ camera_from_lidar
        )
    return Calibration(projection, camera_from_lidar)


def read_rigid(path: Path) -> np.ndarray:
    """Reads the rigid motion `[4, 4]` of `calib_velo_to_cam.txt` or `calib_imu_to_velo.txt`.

    Raises:
      ValueError: the file is missing, or R or T is missing or damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file; copy it from the raw data")
    entries = read_entries(path)
    return rigid(_entry(entries, ("R",), (3, 3), path), _entry(entries, ("T",), (3,), path))


def _entry(
    entries: Mapping[str, str], names: tuple[str, ...], shape: tuple[int, ...], path: Path
) -> np.ndarray:
    name = next((name for name in names if name in entries), None)
    if name is None:
        found = ", ".join(entries) or "nothing"
        raise ValueError(f"{path}: expected {' or '.join(names)}, found {found}; restore the file")
    return matrix(entries[name], shape, f"{path}: {name}")
