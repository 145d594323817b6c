"""The content of the image files and depth maps of a frame, with what its header says."""

import os
import stat
from pathlib import Path

from fcfrnet_jax.data.encodings import image_headers
from fcfrnet_jax.data.encodings.image_headers import ImageHeader


def read_content(
    path: Path, is_depth: bool
) -> tuple[bytes, ImageHeader, bytes | memoryview | None]:
    """Reads a file of a frame.

    Args:
      path: the file.
      is_depth: whether it is a depth map, which must be a 16-bit PNG of one channel. Images are PNG
        or JPEG files with 8 bits per channel.

    Returns:
      The content, the header, and the compressed pixels of a PNG.

    Raises:
      ValueError: the file cannot be read or is of another kind; with the `reason` of a `BadFile`.
    """
    data = _read_bytes(path)
    signature = image_headers.PNG_SIGNATURE
    if data.startswith(image_headers.JPEG_START) and not is_depth:
        header, compressed = image_headers.read_jpeg_header(data), None
    elif signature.startswith(data[: len(signature)]):
        header, compressed = image_headers.read_png(data)
    else:
        raise ValueError("is not a PNG file" if is_depth else "is neither a PNG nor a JPEG file")
    found = f"is {header.bits}-bit {header.colour}"
    if is_depth and (header.bits, header.colour) != (16, "gray"):
        raise ValueError(f"{found}, expected a 16-bit single-channel depth PNG")
    if not is_depth and header.bits > 8:
        raise ValueError(f"{found}, expected an image with 8 bits per channel")
    if 0 in header.size:
        raise ValueError(f"has no pixels: {header.size[0]}x{header.size[1]} (height x width)")
    return data, header, compressed


def _read_bytes(path: Path) -> bytes:
    try:
        # Reading a pipe or a device might never end.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("is a folder" if path.is_dir() else "is not a regular file")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise ValueError("is empty: it has 0 bytes")
    return data
