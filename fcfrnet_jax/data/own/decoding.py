"""Decodes image files and NumPy files of any origin."""

import errno
import os
from pathlib import Path

import numpy as np

from fcfrnet_jax import numpy_files
from fcfrnet_jax.data.encodings import image_headers, png_pixels
from fcfrnet_jax.files import first_line, not_regular

# Names of the depth map in a file with several arrays.
_ARRAYS = ("sparse_depth", "depth")


def _check_regular(path: Path) -> None:
    fault = not_regular(path)
    if fault:
        raise ValueError(f"{path}: {fault}")


def decode(path: Path, flags: int, expected: str) -> np.ndarray:
    """Decodes an image file.

    Raises:
      ValueError: OpenCV cannot decode it, or a checksum of a PNG file is wrong.
      OSError: the file cannot be opened.
    """
    import cv2

    _check_regular(path)
    data = np.fromfile(path, np.uint8)
    try:
        png = image_headers.check_content(data.tobytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if png is not None:
        try:
            png_pixels.inflate(*png)
        except ValueError as error:
            raise ValueError(f"{path}: {error}; restore the file") from error
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error:  # no data, or more pixels than OpenCV's limit
        pixels = None
    if pixels is None:
        raise ValueError(
            f"{path}: not a readable image, expected {expected}; restore or convert the file"
        )
    return pixels


def read_png(path: Path) -> np.ndarray:
    """Reads a depth PNG as uint16 `[H, W]`.

    Raises:
      ValueError: a damaged file or another kind of image.
      OSError: the file cannot be opened.
    """
    import cv2

    pixels = decode(path, cv2.IMREAD_UNCHANGED, "a 16-bit depth PNG")
    if pixels.dtype != np.uint16 or pixels.ndim != 2:
        channels = 1 if pixels.ndim == 2 else pixels.shape[2]
        raise ValueError(
            f"{path}: expected a 16-bit single-channel depth PNG, got {channels} channels of "
            f"{8 * pixels.itemsize} bits"
        )
    return pixels


def read_array(path: Path) -> np.ndarray:
    """Reads the depth map of a `.npy` or `.npz` file, `[H, W]`, as it is stored.

    Raises:
      ValueError: a damaged file, none or several depth maps, or another shape or type.
      OSError: the file cannot be opened.
    """
    _check_regular(path)
    try:
        with path.open("rb") as stream:
            loaded = numpy_files.load(stream, _one_of)
            found = next(iter(loaded.values())) if isinstance(loaded, dict) else loaded
    except numpy_files.TooLargeError as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for damaged files
        # A wrong place in a file is EINVAL.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise ValueError(f"{path}: not a readable NumPy file ({first_line(error)})") from error
    if found.ndim == 3 and 1 in (found.shape[0], found.shape[-1]):
        found = found[..., 0] if found.shape[-1] == 1 else found[0]
    if found.ndim != 2 or not found.size or found.dtype.kind not in "iuf":
        raise ValueError(f"{path}: expected depth [H, W], got {found.dtype} {found.shape}")
    return found


def _one_of(names: list[str]) -> list[str]:
    named = [name for name in _ARRAYS if name in names] or (names if len(names) == 1 else [])
    if not named:
        raise ValueError(f"it holds {', '.join(names) or 'no arrays'}; call one depth")
    return named[:1]
