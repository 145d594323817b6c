"""Removes the distortion of a lens from images."""

import numpy as np

from fcfrnet_jax.sensors.calibration import Calibration, check_calibration


def undistort(image: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Returns the image that `calibration.projection` describes.

    Args:
      image: `[H, W]` or `[H, W, C]`, uint8, uint16 or float32.
      calibration: of its camera.

    Returns:
      An image of the same size and type. Pixels that the camera did not record are 0. Without
      distortion, the image itself.

    Raises:
      ValueError: the image has another size than the calibration.
    """
    import cv2

    check_calibration(calibration)
    distortion = calibration.distortion
    height, width = image.shape[:2]
    if calibration.size is not None and calibration.size != (height, width):
        expected = "x".join(map(str, calibration.size))
        raise ValueError(
            f"the calibration is for images of {expected}, got an image of {height}x{width}; use "
            "the calibration of this camera and resolution"
        )
    if distortion is None:
        return image
    model = cv2.fisheye if distortion.model == "equidistant" else cv2
    columns, rows = model.initUndistortRectifyMap(
        distortion.camera_matrix,
        np.asarray(distortion.coefficients, np.float64),
        distortion.rectification,
        calibration.projection[:, :3],
        (width, height),
        cv2.CV_32FC1,
    )
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR)
