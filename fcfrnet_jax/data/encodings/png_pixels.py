"""Inflates and verifies the compressed pixels of a PNG file without undoing its filters.

The checksums of a PNG are valid if a program wrote too few pixels, but no decoder reads such a
file. ISA-L inflates faster than the zlib of image libraries; `uncompressed` passes the result on to
a decoder. PNG: www.w3.org/TR/png, sections 7 to 10; deflate: RFC 1950 and 1951.
"""

import math
import struct
import sys
from collections.abc import Iterator

import numpy as np

from fcfrnet_jax.data.encodings.image_headers import PNG_SIGNATURE, ImageHeader, deflate
from fcfrnet_jax.data.encodings.png_encoder import chunk
from fcfrnet_jax.geometry import Size

_CHANNELS = {"gray": 1, "RGB": 3, "palette": 1, "gray and alpha": 2, "RGBA": 4}
# Adam7: first row and column, and the distance of rows and of columns, of each pass.
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_LAST_FILTER = 4
# Of a block of deflate, in bytes.
_LARGEST_BLOCK = 65535
# The position after the chunk IHDR, which comes first.
_IHDR_END = 33


def inflate(header: ImageHeader, pixels: bytes | memoryview) -> np.ndarray:
    """Inflates the pixels of a PNG and checks their number.

    Args:
      header, pixels: as returned by `image_headers.read_png`.

    Returns:
      uint8 `[N]`: the filtered rows, each after the byte of its filter.

    Raises:
      ValueError: too few pixels or a damaged stream. The message continues a sentence that begins
        with the name of the file.
    """
    passes = list(_passes(header))
    expected = sum(rows * length for rows, length in passes)
    inflater = deflate.decompressobj()
    try:
        # Decoders ignore data after the last row. A header may claim more than a number can hold.
        data = inflater.decompress(pixels, min(expected + 1, sys.maxsize))
    except deflate.error as error:  # type: ignore[misc]
        raise ValueError(f"is damaged: its pixels cannot be inflated ({error})") from error
    if len(data) < expected:
        raise ValueError(f"is damaged: it has {len(data)} of {expected} bytes of pixels")
    if len(data) == expected and not inflater.eof:
        raise ValueError("is damaged: its pixels have no end")
    stream = np.frombuffer(data, np.uint8, expected)
    start = 0
    for rows, length in passes:
        stop = start + rows * length
        highest = stream[start:stop:length].max()
        if highest > _LAST_FILTER:
            raise ValueError(f"is damaged: unknown filter {highest} of a row of pixels")
        start = stop
    return stream


def uncompressed(data: bytes, stream: np.ndarray) -> bytes:
    """The same PNG with its pixels in blocks that are not compressed, without other chunks.

    A decoder then only undoes the filters.

    Args:
      data: a PNG file without a palette.
      stream: the result of `inflate`.
    """
    # The checksum of the inflated pixels was verified, but the decoder verifies it again.
    parts: list[bytes | memoryview] = [b"\x78\x01"]
    for start in range(0, len(stream), _LARGEST_BLOCK):
        block = stream[start : start + _LARGEST_BLOCK]
        is_last = start + _LARGEST_BLOCK >= len(stream)
        parts += [struct.pack("<BHH", is_last, len(block), len(block) ^ 0xFFFF), block.data]
    parts.append(struct.pack(">I", deflate.adler32(stream)))
    pixels = chunk(b"IDAT", b"".join(parts))
    return b"".join((PNG_SIGNATURE, data[8:_IHDR_END], pixels, chunk(b"IEND", b"")))


def has_high_byte(header: ImageHeader, stream: np.ndarray, box: tuple[int, int, Size]) -> bool:
    """Whether a box of a 16-bit gray PNG certainly has a pixel of at least 256.

    A filter predicts the high byte of a pixel from the high bytes of its neighbours on the left and
    above. If these are 0, so is the prediction, and a difference that is not 0 means a high byte
    that is not 0.

    Args:
      header: of the file.
      stream: the result of `inflate`.
      box: the first row, the first column and (height, width).

    Returns:
      False if the pixels have to be decoded to know.
    """
    if header.interlaced:
        return False
    top, left, (height, width) = box
    rows = stream.reshape(header.size[0], -1)[top + 1 : top + height, 1:]
    return bool(rows[:, 2 * (left + 1) : 2 * (left + width) : 2].any())


def _passes(header: ImageHeader) -> Iterator[tuple[int, int]]:
    """Yields the number of rows and the bytes of a row of every pass that has pixels."""
    height, width = header.size
    bits = header.bits * _CHANNELS[header.colour]
    for top, left, down, right in _PASSES if header.interlaced else ((0, 0, 1, 1),):
        rows, columns = math.ceil((height - top) / down), math.ceil((width - left) / right)
        if rows > 0 and columns > 0:
            yield rows, 1 + math.ceil(columns * bits / 8)
