"""Files of frames as OpenCV reads them."""

from pathlib import Path

import cv2
import numpy as np


def decoded(path: Path) -> np.ndarray:
    """The file as read by OpenCV: RGB, or float64 metres with a channel axis."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return pixels[..., ::-1] if pixels.ndim == 3 else pixels[..., None].astype(np.float64) / 256


def bottom_centre(array: np.ndarray, height: int, width: int) -> np.ndarray:
    left = (array.shape[1] - width) // 2
    return array[-height:, left : left + width]
