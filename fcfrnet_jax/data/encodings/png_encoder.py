"""Encodes PNG files in a third of the time of OpenCV, at the same size.

Every row has the filter "Sub", the difference to the pixel on the left, and ISA-L compresses the
rows; docs/performance.md compares encoders. PNG: www.w3.org/TR/png, sections 5, 9 and 11.
"""

import struct

import numpy as np

from fcfrnet_jax.data.encodings.image_headers import PNG_SIGNATURE, deflate

_GRAY, _RGB = 0, 2
_SUB = 1
LEVEL = 1


def encode(pixels: np.ndarray) -> bytes:
    """Encodes uint8 `[H, W]` gray or `[H, W, 3]` RGB, or uint16 `[H, W]` gray as a PNG file."""
    height, width = pixels.shape[:2]
    assert pixels.dtype in (np.uint8, np.uint16)
    # PNG stores the high byte first.
    stored = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    rows = stored.view(np.uint8).reshape(height, -1)
    step = rows.shape[1] // width
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = _SUB
    filtered[:, 1 : 1 + step] = rows[:, :step]
    np.subtract(rows[:, step:], rows[:, :-step], out=filtered[:, 1 + step :])
    colour = _RGB if pixels.ndim == 3 else _GRAY
    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, colour, 0, 0, 0)
    compressed = deflate.compress(filtered, LEVEL)
    chunks = ((b"IHDR", header), (b"IDAT", compressed), (b"IEND", b""))
    return PNG_SIGNATURE + b"".join(chunk(kind, content) for kind, content in chunks)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG file, with its length and checksum."""
    checksum = deflate.crc32(content, deflate.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))
