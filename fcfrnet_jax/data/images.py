"""Reads and writes image files, and depth maps in KITTI's PNG encoding."""

import os

import numpy as np

from fcfrnet_jax.data.encodings.png_encoder import encode
from fcfrnet_jax.files import atomic_path

# The KITTI depth benchmark stores uint16 = round(metres * 256); 0 means no measurement.
DEPTH_SCALE = 256.0
# Metres. Depths up to this count as missing, in the metrics as in the classical fill.
MIN_DEPTH = 0.1


def write_image(path: str | os.PathLike, image: np.ndarray) -> None:
    """Writes `image`, uint8 `[H, W, 3]` RGB or `[H, W]` gray, as a PNG.

    Raises:
      ValueError: another dtype or shape.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f"expected a uint8 image [H, W] or [H, W, 3], got {image.dtype} {image.shape}"
        )
    _write_png(path, image)


def write_depth(path: str | os.PathLike, depth: np.ndarray) -> None:
    """Writes `depth`, `[H, W]` metres with 0 = missing, as KITTI's 16-bit PNG.

    Raises:
      ValueError: another shape, or depths that are negative, not finite or over 255.996 m, the
        maximum of the format.
    """
    if depth.ndim != 2:
        raise ValueError(f"expected a depth map [H, W], got shape {depth.shape}")
    # Multiplying by a power of two is exact, also in float32.
    encoded = np.asarray(depth, depth.dtype if depth.dtype == np.float32 else np.float64)
    encoded = np.rint(encoded * encoded.dtype.type(DEPTH_SCALE))
    # False for NaN.
    if not (encoded.min() >= 0 and encoded.max() <= 65535):
        raise ValueError(
            f"{path}: a 16-bit depth PNG holds 0 to 255.996 m, got {depth.min()} to {depth.max()} m"
        )
    _write_png(path, encoded.astype(np.uint16))


def _write_png(path: str | os.PathLike, pixels: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode(pixels))


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Reads a colour or gray image file as uint8 `[H, W, 3]` RGB.

    Raises:
      ValueError: OpenCV cannot decode the file.
      OSError: the file cannot be opened.
    """
    try:
        return decode_image(np.fromfile(path, np.uint8))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def decode_image(data: bytes | np.ndarray) -> np.ndarray:
    """Decodes the content of a file as `read_image` does.

    Raises:
      ValueError: OpenCV cannot decode the data.
    """
    import cv2

    # As TensorFlow, which reads the training frames, this ignores the orientation in Exif data.
    pixels = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise ValueError("not a readable image")
    return np.ascontiguousarray(pixels[..., ::-1])


def read_depth(path: str | os.PathLike) -> np.ndarray:
    """Reads a 16-bit depth PNG of KITTI as float32 `[H, W]` metres, 0 = missing.

    Raises:
      ValueError: the file is not a single-channel 16-bit PNG.
      OSError: the file cannot be opened.
    """
    try:
        return decode_depth(np.fromfile(path, np.uint8))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def decode_depth(data: bytes | np.ndarray) -> np.ndarray:
    """Decodes the content of a file as `read_depth` does.

    Raises:
      ValueError: the data is not a single-channel 16-bit PNG.
    """
    return (depth_pixels(data) / np.float32(DEPTH_SCALE)).astype(np.float32)


def depth_pixels(data: bytes | np.ndarray) -> np.ndarray:
    """Decodes the content of a file as `read_depth` does, to uint16 `[H, W]`: 256 times the metres.

    Raises:
      ValueError: the data is not a single-channel 16-bit PNG.
    """
    import cv2

    pixels = _decode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise ValueError("not a readable image")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        raise ValueError(
            f"expected a 16-bit single-channel depth PNG, got {pixels.dtype} {pixels.shape}"
        )
    return pixels


def _decode(data: bytes | np.ndarray, flags: int) -> np.ndarray | None:
    """The pixels that OpenCV decodes, or None."""
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # no data, or more pixels than OpenCV's limit
        return None
