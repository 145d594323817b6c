"""The poses of a scanner along a drive, from a file of poses or from KITTI's GPS/IMU unit."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcfrnet_jax.sensors.calibration.calibration import check_rigid, rigid
from fcfrnet_jax.sensors.calibration.kitti import read_rigid
from fcfrnet_jax.sensors.calibration.text import numbers, read_text
from fcfrnet_jax.sensors.motion import read_measurement, rotation_about

# Metres, for the Mercator projection.
_EARTH_RADIUS = 6378137.0


def read_poses(path: str | os.PathLike) -> list[np.ndarray]:
    """Reads poses in the format of KITTI's odometry benchmark.

    Args:
      path: a text file with a line for each frame: the first three rows of a matrix `[4, 4]`, 12
        numbers. Empty lines and comments from `#` on are ignored.

    Returns:
      The poses, float64 `[4, 4]`: rigid motions from the frame of the camera, or of whatever they
      were computed for, to a fixed frame.

    Raises:
      ValueError: the file is missing, empty or damaged.
    """
    path = Path(path)
    try:
        lines = read_text(path).split("\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    poses = []
    for count, line in enumerate(lines, 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        values = numbers(line)
        if len(values) != 12:
            found = len(values) or repr(line[:40])
            raise ValueError(
                f"{path}: line {count} must be a pose of 12 numbers, as in KITTI's odometry "
                f"benchmark, got {found}; convert the poses"
            )
        pose = np.concatenate([np.reshape(values, (3, 4)), [[0.0, 0.0, 0.0, 1.0]]])
        try:
            check_rigid(pose, "the pose")
        except ValueError as error:
            raise ValueError(f"{path}: line {count}: {error}") from error
        poses.append(pose)
    if not poses:
        raise ValueError(f"{path}: holds no poses, expected a line of 12 numbers for each scan")
    return poses


def read_unit_poses(
    paths: Sequence[str | os.PathLike], imu_to_lidar: str | os.PathLike
) -> list[np.ndarray]:
    """Reads the poses of KITTI's scanner from the files of its GPS/IMU unit.

    Latitude and longitude become metres by the Mercator projection at the first latitude, and the
    angles roll, pitch and yaw a rotation, as in the development kit of KITTI's raw data.

    Args:
      paths: `oxts/data/<frame>.txt` of each frame.
      imu_to_lidar: `calib_imu_to_velo.txt` of the drive's date.

    Returns:
      For each frame the rigid motion `[4, 4]` from the scanner's frame to a frame with x to the
      east, y to the north and z upward, whose origin is the unit's first position.

    Raises:
      ValueError: a file is missing or damaged.
    """
    imu_from_lidar = np.linalg.inv(read_rigid(Path(imu_to_lidar)))
    poses: list[np.ndarray] = []
    scale, origin = 0.0, np.zeros(3)
    for path in paths:
        latitude, longitude, altitude, roll, pitch, yaw = read_measurement(path)[:6]
        scale = scale or float(np.cos(np.radians(latitude)))
        north = np.log(np.tan(np.radians(90.0 + latitude) / 2))
        east = np.radians(longitude)
        position = np.array([scale * _EARTH_RADIUS * east, scale * _EARTH_RADIUS * north, altitude])
        if not poses:
            origin = position
        rotation = rotation_about(2, yaw) @ rotation_about(1, pitch) @ rotation_about(0, roll)
        poses.append(rigid(rotation, position - origin) @ imu_from_lidar)
    return poses
