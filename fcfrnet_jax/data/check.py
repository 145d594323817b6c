"""Checks the files of frames before a run, so that a long run does not end at a damaged file.

Headers and checksums are read, pixels are not decoded. PNG: www.w3.org/TR/png, sections 5 and 11;
JPEG: ITU-T T.81, annex B.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.files import list_some
from fcfrnet_jax.geometry import Size

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_COLOURS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray and alpha", 6: "RGBA"}
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Start-of-frame markers; the gaps are DHT, JPG and DAC.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN = 0xDA


@dataclass(frozen=True)
class BadFrame:
    """A file that stands in the way, and why; a frame may have several."""

    frame: Frame
    path: Path
    reason: str


@dataclass(frozen=True)
class ImageHeader:
    """size: (height, width) in pixels; bits: of one sample; colour: gray, RGB, ..."""

    size: Size
    bits: int
    colour: str


def check_frames(frames: Sequence[Frame], crop: Size | None, threads: int = 8) -> list[BadFrame]:
    """Finds the files that are missing, damaged, of the wrong kind or of the wrong size.

    Args:
      frames: what to check; every file is read once and whole.
      crop: (height, width) that each frame must have room for. None: all frames must have the size
        of the first that is sound.
      threads: how many files are read at a time.

    Returns:
      The bad files in the order of `frames`.
    """
    with ThreadPoolExecutor(threads) as pool:
        checked = list(pool.map(_check_files, frames))
    sizes = [size for size, bad in checked if not bad]
    found = []
    for frame, (size, bad) in zip(frames, checked, strict=True):
        reason = None if bad else _check_size(size, crop, sizes[0])
        found += bad if reason is None else [BadFrame(frame, frame.sparse, reason)]
    return found


def raise_bad_frames(bad: Sequence[BadFrame]) -> None:
    """Raises a ValueError that names the first of the bad files, if there are any."""
    if bad:
        count = len({item.frame.name for item in bad})
        raise ValueError(
            f"{count} frame{'s' if count > 1 else ''} cannot be used: {_named(bad)}; "
            "--config.skip_bad_frames leaves such frames out"
        )


def drop_bad_frames(frames: Sequence[Frame], bad: Sequence[BadFrame]) -> list[Frame]:
    """The frames without a bad file; logs what is left out.

    Raises:
      ValueError: no frame is left.
    """
    for item in bad:
        logging.warning("Frame %s is left out: %s %s", item.frame.name, item.path, item.reason)
    names = {item.frame.name for item in bad}
    kept = [frame for frame in frames if frame.name not in names]
    if not kept:
        raise ValueError(f"none of the {len(frames)} frames can be used: {_named(bad)}")
    return kept


def check_density(frames: Sequence[Frame], samples: int = 3) -> None:
    """Catches dense maps given as sparse depth and sparse ones given as coarse depth.

    Decodes the maps of a few frames spread over the list, which must have passed `check_frames`.
    LiDAR covers some 5% of KITTI's pixels and a coarse map nearly all, so the line is at one half.

    Raises:
      ValueError: a sparse map with more, or a coarse map with less than half of its pixels valid.
    """
    positions = np.unique(np.linspace(0, len(frames) - 1, min(samples, len(frames)), dtype=int))
    for frame in (frames[i] for i in positions):
        density = float(np.mean(read_depth(frame.sparse) > 0))
        if density > 0.5:
            raise ValueError(
                f"{frame.sparse}: {density:.0%} of the pixels have a depth, so it is a dense map, "
                "not sparse LiDAR depth; coarse maps are given by --config.coarse_dir"
            )
        density = 1.0 if frame.coarse is None else float(np.mean(read_depth(frame.coarse) > 0))
        if density < 0.5:
            raise ValueError(
                f"{frame.coarse}: only {density:.0%} of the pixels have a depth, so it is no "
                "coarse map; does --config.coarse_dir point to the sparse depth?"
            )


def read_png_header(data: bytes) -> ImageHeader:
    """Walks all chunks of a PNG file, checks their checksums and returns what its header says.

    Raises:
      ValueError: a reason that reads on after the name of the file.
    """
    header, has_pixels = b"", False
    for kind, content in _png_chunks(data):
        header = content if kind == b"IHDR" and not header else header
        has_pixels |= kind == b"IDAT"
    if len(header) != 13 or not has_pixels:
        raise ValueError(f"has no {'IDAT' if len(header) == 13 else 'IHDR'} chunk of a PNG")
    width, height, bits, colour = struct.unpack(">IIBB", header[:10])
    return ImageHeader((height, width), bits, _PNG_COLOURS.get(colour, f"colour type {colour}"))


def read_jpeg_header(data: bytes) -> ImageHeader:
    """Returns what the frame header of a JPEG file says, if the file has an end.

    Raises:
      ValueError: a reason that reads on after the name of the file.
    """
    offset = 2
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
            colour = {1: "gray", 3: "RGB"}.get(channels, f"{channels}-channel")
            return ImageHeader((height, width), bits, colour)
        offset += 2 + length
    raise ValueError(f"is truncated at byte {len(data)}, in the JPEG header")


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields (type, content) of each chunk up to IEND."""
    offset, kind = len(_PNG_SIGNATURE), b""
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
        content = data[offset + 8 : end - 4]
        if zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end]):
            raise ValueError(
                f"is damaged: wrong checksum of chunk {kind.decode()} at byte {offset}"
            )
        yield kind, content
        offset = end


def _check_file(path: Path, is_depth: bool) -> Size:
    """Returns (height, width); a ValueError's text reads on after the name of the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise ValueError("is empty")
    if data.startswith(_JPEG_START) and not is_depth:
        header = read_jpeg_header(data)
    elif _PNG_SIGNATURE.startswith(data[: len(_PNG_SIGNATURE)]):
        header = read_png_header(data)
    else:
        raise ValueError("is not a PNG file" if is_depth else "is neither a PNG nor a JPEG file")
    found = f"is {header.bits}-bit {header.colour}"
    if is_depth and (header.bits, header.colour) != (16, "gray"):
        raise ValueError(f"{found}, expected a 16-bit single-channel depth PNG")
    if not is_depth and header.bits > 8:
        raise ValueError(f"{found}, expected an image of 8 bits a channel")
    if 0 in header.size:
        raise ValueError(f"has no pixels: {_text(header.size)}")
    return header.size


def _check_files(frame: Frame) -> tuple[Size, list[BadFrame]]:
    """Checks each file of a frame, and their sizes against the sparse depth's."""
    bad: list[BadFrame] = []
    first: tuple[Path, Size] | None = None
    depths = [(path, True) for path in (frame.sparse, frame.coarse, frame.ground_truth)]
    for path, is_depth in [*depths, (frame.image, False)]:
        if path is None:
            continue
        try:
            size = _check_file(path, is_depth)
        except ValueError as error:
            bad.append(BadFrame(frame, path, str(error)))
            continue
        first_path, first_size = first = first or (path, size)
        if size != first_size:
            reason = f"is {_text(size)}, {first_path} is {_text(first_size)}"
            bad.append(BadFrame(frame, path, reason))
    return first[1] if first else (0, 0), bad


def _check_size(size: Size, crop: Size | None, first: Size) -> str | None:
    if crop is None and size != first:
        return f"is {_text(size)}, the first frame {_text(first)}: without a crop all must be equal"
    if crop is not None and (size[0] < crop[0] or size[1] < crop[1]):
        return f"is {_text(size)}, smaller than the crop {_text(crop)}"
    return None


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]} (height x width)"


def _named(bad: Sequence[BadFrame]) -> str:
    return list_some([f"{item.path} {item.reason}" for item in bad])
