"""PNG files made by hand, with valid checksums."""

import struct
import zlib


def png(
    size: tuple[int, int], bits: int, colour: int, pixels: bytes, *, interlace: int = 0
) -> bytes:
    """A PNG file of a size (height, width) and a colour type, from compressed pixels."""
    header = struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, interlace)
    palette = [(b"PLTE", bytes(range(6)))] if colour == 3 else []
    chunks = [(b"IHDR", header), *palette, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
