"""The headers of PNG and JPEG files and the checksums of PNG, without the pixels.

PNG: www.w3.org/TR/png, sections 5 and 11; JPEG: ITU-T T.81, annex B.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from fcfrnet_jax.geometry import Size

try:
    from isal import isal_zlib as deflate
except ImportError:  # slower
    import zlib as deflate  # type: ignore[no-redef]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PNG_COLOURS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray and alpha", 6: "RGBA"}
# The bits per sample that each colour type allows.
_PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
# Compressed pixels may be a thousand times smaller than the image.
MAX_PIXELS = 200_000_000
_JPEG_COLOURS = {1: "gray", 3: "RGB"}
# Start-of-frame markers; the gaps are DHT, JPG and DAC.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


class TooLargeError(ValueError):
    """An image has more than `MAX_PIXELS`."""


@dataclass(frozen=True)
class ImageHeader:
    """The format of an image.

    Attributes:
      size: (height, width) in pixels.
      bits: bits per sample.
      colour: "gray", "RGB" or another name.
      interlaced: whether the pixels of a PNG are interlaced.
    """

    size: Size
    bits: int
    colour: str
    interlaced: bool = False


def read_png(data: bytes) -> tuple[ImageHeader, bytes | memoryview]:
    """Reads the header of a PNG file and verifies the checksums of all its chunks.

    Returns:
      The header, and the compressed pixels: the content of all IDAT chunks.

    Raises:
      ValueError: a truncated or damaged file, or more than `MAX_PIXELS`. The message continues a
        sentence that begins with the name of the file.
    """
    header, has_palette = b"", False
    pixels: list[memoryview] = []
    for kind, content in _png_chunks(data):
        header = bytes(content) if kind == b"IHDR" and not header else header
        has_palette |= kind == b"PLTE"
        if kind == b"IDAT":
            pixels.append(content)
    if len(header) != 13 or not pixels:
        raise ValueError(f"has no {'IDAT' if len(header) == 13 else 'IHDR'} chunk of a PNG")
    width, height, bits, colour, compression, filters, interlace = struct.unpack(">IIBBBBB", header)
    if bits not in _PNG_BITS.get(colour, ()) or compression or filters or interlace > 1:
        raise ValueError(f"has an invalid PNG header: {header.hex()}")
    _check_pixels((height, width))
    if colour == _PALETTE and not has_palette:
        raise ValueError("has no PLTE chunk, the palette of its colours")
    header_read = ImageHeader((height, width), bits, _PNG_COLOURS[colour], bool(interlace))
    return header_read, pixels[0] if len(pixels) == 1 else b"".join(pixels)


def read_jpeg_header(data: bytes) -> ImageHeader:
    """Reads the frame header of a JPEG file and checks that the file has an end marker.

    Raises:
      ValueError: as for `read_png`.
    """
    offset = len(JPEG_START)
    while offset + 4 <= len(data):
        mark, marker, length = struct.unpack_from(">BBH", data, offset)
        if marker == 0xFF:  # markers may be preceded by fill bytes
            offset += 1
            continue
        if mark != 0xFF or marker == _JPEG_SCAN:
            raise ValueError(f"is damaged at byte {offset}: no JPEG frame header before the pixels")
        if marker in _JPEG_FRAMES and offset + 10 <= len(data):
            if not data.rstrip(b"\0").endswith(_JPEG_END):
                raise ValueError(f"is truncated at byte {len(data)}: the JPEG has no end marker")
            bits, height, width, channels = struct.unpack_from(">BHHB", data, offset + 4)
            _check_pixels((height, width))
            colour = _JPEG_COLOURS.get(channels, f"{channels}-channel")
            return ImageHeader((height, width), bits, colour)
        offset += 2 + length
    raise ValueError(f"is truncated at byte {len(data)}, in the JPEG header")


def check_content(data: bytes) -> tuple[ImageHeader, bytes | memoryview] | None:
    """Checks a file of any kind before it is decoded.

    Returns:
      The result of `read_png` for a PNG file, None for others.

    Raises:
      ValueError: a damaged PNG file, on which libpng would print a line of its own, or a PNG or
        JPEG file of absurd size. The message continues a sentence that begins with its name.
    """
    try:
        if data.startswith(PNG_SIGNATURE):
            return read_png(data)
        if data.startswith(JPEG_START):
            read_jpeg_header(data)
    except TooLargeError:
        raise
    except ValueError as error:
        # Decoders read JPEG files with other faults.
        if data.startswith(PNG_SIGNATURE):
            raise ValueError(f"{error}; restore the file") from error
    return None


def _check_pixels(size: Size) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise TooLargeError(
            f"is {size[0]}x{size[1]} (height x width), more than {MAX_PIXELS:,} pixels, the most "
            "that are read"
        )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields (type, content) of each chunk up to IEND."""
    # Views copy nothing.
    view = memoryview(data)
    offset, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        if offset + 8 > len(data):
            raise ValueError(f"is truncated at byte {len(data)}, before the end of the PNG")
        length, kind = struct.unpack_from(">I4s", data, offset)
        if not kind.isalpha():
            raise ValueError(f"is damaged at byte {offset}: no PNG chunk begins here")
        end = offset + 12 + length
        if end > len(data):
            where = len(data) - offset - 8
            raise ValueError(f"is truncated at byte {where} of chunk {kind.decode()}")
        content = view[offset + 8 : end - 4]
        if deflate.crc32(content, deflate.crc32(kind)) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(
                f"is damaged: wrong checksum of chunk {kind.decode()} at byte {offset}"
            )
        yield kind, content
        offset = end
