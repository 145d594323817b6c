"""Compensates the motion of a scanner during a scan.

A spinning scanner takes 0.1 s for a scan, in which a car moves by a metre or two. The model: the
velocity and the rotation rate are constant during the scan.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcfrnet_jax.sensors.calibration.calibration import check_rigid
from fcfrnet_jax.sensors.calibration.kitti import UNIT_FILE, read_rigid
from fcfrnet_jax.sensors.calibration.text import matrix, read_text

# Positions in a line of KITTI's oxts files: roll and pitch in rad, the velocity forward, left and
# upward in m/s, and the rates about the unit's axes in rad/s. Forward and left are parallel to the
# ground, whereas the unit's axes are tilted by roll and pitch.
_OXTS_NUMBERS, _OXTS_TILT, _OXTS_VELOCITY, _OXTS_RATES = 30, (3, 4), slice(8, 11), slice(17, 20)


@dataclass(frozen=True, eq=False)
class Motion:
    """The motion of a scanner, in its own frame.

    Attributes:
      velocity: `[3]` m/s.
      rotation_rate: `[3]` rad/s about the axes, positive counter-clockwise.

    Raises:
      ValueError: other shapes, or values that are not finite.
    """

    velocity: np.ndarray
    rotation_rate: np.ndarray

    def __post_init__(self) -> None:
        for name in ("velocity", "rotation_rate"):
            value = getattr(self, name)
            if np.shape(value) != (3,) or not np.isfinite(value).all():
                raise ValueError(f"{name} must be three finite numbers, got {value}")


def compensate(points: np.ndarray, times: np.ndarray, motion: Motion) -> np.ndarray:
    """Returns the points of a static scene as seen from the scanner's pose at time 0.

    Args:
      points: `[N, 3]` metres, each in the scanner's frame at its time.
      times: `[N]` seconds, 0 = when the image was taken.
      motion: of the scanner.

    Returns:
      float64 `[N, 3]` metres.

    Raises:
      ValueError: the shapes do not fit together.
    """
    points, times = np.asarray(points, np.float64), np.asarray(times, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or times.shape != points.shape[:1]:
        raise ValueError(
            f"expected points [N, 3] and times [N], got {list(points.shape)} and "
            f"{list(times.shape)}"
        )
    rate = np.asarray(motion.rotation_rate, np.float64)
    moved = _rotate(points, rate, times)
    return moved + times[:, None] * np.asarray(motion.velocity, np.float64)


def _rotate(points: np.ndarray, rate: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Rotates each point by its time times the rate (Rodrigues' formula)."""
    speed = float(np.linalg.norm(rate))
    if speed == 0:
        return points
    axis, angle = rate / speed, (speed * times)[:, None]
    along = (points @ axis)[:, None] * axis
    return along + np.cos(angle) * (points - along) + np.sin(angle) * np.cross(axis, points)


def azimuth_times(
    points: np.ndarray, *, period: float = 0.1, clockwise: bool = True, front: float = 0.0
) -> np.ndarray:
    """Derives the times of points from their azimuth, for scans that do not contain them.

    Args:
      points: `[N, 3]` metres in the scanner's frame, x forward, y to the left, z up.
      period: seconds per revolution.
      clockwise: whether the scanner turns clockwise as seen from above, as KITTI's does.
      front: the azimuth in radians, counter-clockwise from x, at which the image is taken. KITTI's
        cameras are triggered when the scanner faces forward.

    Returns:
      float64 `[N]` seconds, between `-period / 2` and `period / 2`, 0 at `front`.
    """
    azimuth = np.arctan2(points[:, 1], points[:, 0]) - front
    turns = np.remainder(azimuth / (2 * np.pi) + 0.5, 1.0) - 0.5
    return (-turns if clockwise else turns) * period


def motion_between(first: np.ndarray, second: np.ndarray, seconds: float) -> Motion:
    """Returns the motion that takes the scanner from one pose to another.

    Args:
      first, second: rigid motions `[4, 4]` from the scanner's frame to a fixed frame.
      seconds: from the first pose to the second.

    Raises:
      ValueError: a pose is not a rigid motion, or no time passes.
    """
    check_rigid(first, "the first pose")
    check_rigid(second, "the second pose")
    if not seconds > 0:
        raise ValueError(f"the seconds between two poses must be positive, got {seconds}")
    relative = np.linalg.inv(first) @ second
    rotation = relative[:3, :3]
    skew = rotation - rotation.T
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]]) / 2
    sine = float(np.linalg.norm(axis))
    angle = float(np.arctan2(sine, (np.trace(rotation) - 1) / 2))
    # The sine of a small angle is the angle.
    vector = axis * (angle / sine if sine > 1e-9 else 1.0)
    return Motion(relative[:3, 3] / seconds, vector / seconds)


def read_oxts(path: str | os.PathLike, imu_to_lidar: str | os.PathLike | None = None) -> Motion:
    """Reads the motion of KITTI's scanner from a file of its GPS/IMU unit.

    Args:
      path: `oxts/data/<frame>.txt`.
      imu_to_lidar: `calib_imu_to_velo.txt`, by default that of the drive's date.

    Raises:
      ValueError: a file is missing or damaged.
    """
    path = Path(path)
    if imu_to_lidar is None:
        # <date>/<drive>/oxts/data/<frame>.txt
        imu_to_lidar = path.absolute().parents[:4][-1] / UNIT_FILE
    lidar_from_imu = read_rigid(Path(imu_to_lidar))
    values = read_measurement(path)
    rotation = lidar_from_imu[:3, :3]
    lever = np.linalg.inv(lidar_from_imu)[:3, 3]
    roll, pitch = values[list(_OXTS_TILT)]
    level_from_unit = rotation_about(1, pitch) @ rotation_about(0, roll)
    # The scanner's velocity differs from the unit's by the rotation about it.
    velocity = level_from_unit.T @ values[_OXTS_VELOCITY]
    velocity = velocity + np.cross(values[_OXTS_RATES], lever)
    return Motion(rotation @ velocity, rotation @ values[_OXTS_RATES])


def rotation_about(axis: int, angle: float) -> np.ndarray:
    """Returns the counter-clockwise rotation `[3, 3]` about an axis by an angle in rad."""
    one, two = [i for i in range(3) if i != axis]
    # Counter-clockwise about y is from z to x.
    sine = np.sin(angle) * (-1 if axis == 1 else 1)
    matrix = np.eye(3)
    matrix[[one, two], [one, two]] = np.cos(angle)
    matrix[one, two], matrix[two, one] = -sine, sine
    return matrix


def read_measurement(path: str | os.PathLike) -> np.ndarray:
    """Reads the 30 numbers of a file of KITTI's GPS/IMU unit.

    Raises:
      ValueError: the file is missing or damaged.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    return matrix(text, (_OXTS_NUMBERS,), f"{path}: a measurement of the GPS/IMU unit")
