"""Turns an image, a raw scan and their calibration into the inputs of a model."""

from typing import NamedTuple

import numpy as np

from fcfrnet_jax.prediction import arrays
from fcfrnet_jax.prediction.arrays import Array
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.projection import project
from fcfrnet_jax.sensors.scans import Scan
from fcfrnet_jax.sensors.undistortion import undistort


class Recording(NamedTuple):
    """The inputs of a model.

    Attributes:
      image: uint8 `[H, W, 3]` RGB or `[H, W]` gray, undistorted; None if there is no image.
      sparse_depth: float32 `[H, W]` metres, 0 = missing.
    """

    image: np.ndarray | None
    sparse_depth: np.ndarray


def prepare(
    image: Array | None,
    points: Array | Scan,
    calibration: Calibration,
    *,
    remove_hidden: bool = True,
) -> Recording:
    """Undistorts an image and projects a scan into it.

    Args:
      image: uint8 `[H, W, 3]` RGB, or gray `[H, W, 1]` or `[H, W]`; None for models without one,
        if the calibration contains the size of the image.
      points: a scan, or `[N, 3]` or wider: x, y, z in metres in the scanner's frame. Points that
        are not finite and points at (0, 0, 0) are ignored.
      calibration: of the camera and the scanner.
      remove_hidden: see `sensors.projection.project`.

    Raises:
      ValueError: an array of another shape or dtype, an image of another size than that of the
        calibration, or no point in the image.
    """
    if image is None:
        if calibration.size is None:
            raise ValueError(
                "the calibration does not contain the size of the image; add it, or give the image"
            )
        size = calibration.size
    else:
        image = arrays.check_image(arrays.as_numpy(image, "image"))
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
            raise ValueError(
                "expected one image [H, W, 3], [H, W, 1] or [H, W], got shape "
                f"{list(image.shape)}; give the frames of a batch one after the other"
            )
        size = (image.shape[0], image.shape[1])
        image = undistort(image, calibration)
    if not isinstance(points, Scan):
        points = arrays.as_numpy(points, "points")
        if points.ndim == 2 and points.shape[1] >= 3:
            # Drivers mark missing echoes by (0, 0, 0).
            points = points[(points[:, :3] != 0).any(axis=1)]
    return Recording(image, project(points, calibration, size, remove_hidden=remove_hidden))


def lidar_from_camera(calibration: Calibration) -> np.ndarray:
    """Returns the rigid motion `[4, 4]` from the frame of point clouds to the scanner's.

    The frame of `pictures.point_clouds` has its origin at the centre of the camera. KITTI's
    calibrations are relative to camera 0, so that their projections contain a baseline.
    """
    camera = calibration.projection
    shift = np.eye(4)
    shift[:3, 3] = -np.linalg.solve(camera[:, :3], camera[:, 3])
    return np.linalg.inv(calibration.camera_from_lidar) @ shift
