"""Verifies the compressed pixels of a PNG file without undoing its filters.

The checksums of a PNG are valid if a program wrote too few pixels, but no decoder reads such a
file. Inflating takes about three quarters of the time of decoding; see docs/data.md.
PNG: www.w3.org/TR/png, sections 7 to 10.
"""

import math
import zlib
from collections.abc import Iterator

import numpy as np

from fcfrnet_jax.data.image_headers import ImageHeader
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


def inflate(header: ImageHeader, pixels: bytes) -> np.ndarray:
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
    inflater = zlib.decompressobj()
    try:
        # Decoders ignore data after the last row.
        data = inflater.decompress(pixels, expected + 1)
    except zlib.error as error:
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
