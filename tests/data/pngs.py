"""PNG files made by hand, with valid checksums, and a JPEG file that cannot be decoded."""

import struct
import zlib

import cv2
import numpy as np


def png(
    size: tuple[int, int], bits: int, colour: int, pixels: bytes, *, interlace: int = 0
) -> bytes:
    """A PNG file of a size (height, width) and a colour type, from compressed pixels."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, interlace)
    palette = [(b"PLTE", bytes(range(6)))] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def undecodable_jpeg(size: tuple[int, int]) -> bytes:
    """A JPEG with a valid frame header whose scan names a component that the frame lacks."""
    data = bytearray(cv2.imencode(".jpg", np.zeros((*size, 3)))[1].tobytes())
    data[data.index(b"\xff\xda") + 5] = 77  # the first component of the scan
    return bytes(data)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
