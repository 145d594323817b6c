"""Checks the files of frames before a run, so that a long run does not fail at a damaged file.

Headers and checksums are read; pixels are not decoded, except by `check_density`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.data import image_headers
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.files import list_some
from fcfrnet_jax.geometry import Size

# LiDAR covers about 5% of KITTI's pixels, and coarse maps nearly all.
SPARSE_OR_DENSE = 0.5


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used.

    Attributes:
      frame: the frame that the file belongs to; it may have several bad files.
      path: the file.
      reason: continues a sentence that begins with the path.
    """

    frame: Frame
    path: Path
    reason: str


def check_frames(frames: Sequence[Frame], crop: Size, threads: int = 8) -> list[BadFile]:
    """Finds the files that are missing, damaged, of the wrong kind or of the wrong size.

    Args:
      frames: the frames to check; every file is read completely, once.
      crop: (height, width) in pixels that must fit into each frame; 0 fits into any frame. Frames
        may have different sizes.
      threads: how many frames are read at the same time.

    Returns:
      The bad files, in the order of `frames`.
    """
    with ThreadPoolExecutor(threads) as pool:
        checked = list(pool.map(_check_frame, frames))
    found = []
    for frame, (size, bad_files) in zip(frames, checked, strict=True):
        reason = None if bad_files else _check_size(size, crop)
        found += bad_files if reason is None else [BadFile(frame, frame.sparse, reason)]
    return found


def raise_bad_files(bad_files: Sequence[BadFile]) -> None:
    """Raises ValueError, with the first of the bad files, if there are any."""
    if bad_files:
        count = len({bad.frame.name for bad in bad_files})
        raise ValueError(
            f"{count} frame{'s' if count > 1 else ''} cannot be used: {_named(bad_files)}; "
            "skip_bad_frames=True leaves such frames out"
        )


def drop_bad_frames(frames: Sequence[Frame], bad_files: Sequence[BadFile]) -> list[Frame]:
    """Returns the frames without a bad file, and logs which frames are left out.

    Raises:
      ValueError: no frame is left.
    """
    for bad in bad_files:
        logging.warning("Frame %s is left out: %s %s", bad.frame.name, bad.path, bad.reason)
    names = {bad.frame.name for bad in bad_files}
    kept = [frame for frame in frames if frame.name not in names]
    if not kept:
        raise ValueError(f"none of the {len(frames)} frames can be used: {_named(bad_files)}")
    return kept


def check_density(frames: Sequence[Frame], samples: int = 3) -> None:
    """Detects dense maps given as sparse depth, and sparse maps given as coarse depth.

    Args:
      frames: frames that have passed `check_frames`.
      samples: how many frames, spread over the list, are decoded.

    Raises:
      ValueError: more than half of a sparse map is valid, or less than half of a coarse map.
    """
    positions = np.unique(np.linspace(0, len(frames) - 1, min(samples, len(frames)), dtype=int))
    for frame in (frames[i] for i in positions):
        density = float(np.mean(read_depth(frame.sparse) > 0))
        if density > SPARSE_OR_DENSE:
            raise ValueError(
                f"{frame.sparse}: {density:.0%} of the pixels have a depth, so it is a dense map, "
                "not sparse LiDAR depth; give coarse maps by coarse_dir=FOLDER"
            )
        density = 1.0 if frame.coarse is None else float(np.mean(read_depth(frame.coarse) > 0))
        if density < SPARSE_OR_DENSE:
            raise ValueError(
                f"{frame.coarse}: only {density:.0%} of the pixels have a depth, so it is not a "
                "coarse map; coarse_dir=FOLDER must be a folder of dense maps"
            )


def _check_frame(frame: Frame) -> tuple[Size, list[BadFile]]:
    """Checks each file of a frame, and that all have the same size; returns that size."""
    bad_files: list[BadFile] = []
    first: tuple[Path, Size] | None = None
    depths = [(path, True) for path in (frame.sparse, frame.coarse, frame.ground_truth)]
    for path, is_depth in [*depths, (frame.image, False)]:
        if path is None:
            continue
        try:
            size = _check_file(path, is_depth)
        except ValueError as error:
            bad_files.append(BadFile(frame, path, str(error)))
            continue
        first_path, first_size = first = first or (path, size)
        if size != first_size:
            reason = f"is {_text(size)}, {first_path} is {_text(first_size)}"
            bad_files.append(BadFile(frame, path, reason))
    return first[1] if first else (0, 0), bad_files


def _check_file(path: Path, is_depth: bool) -> Size:
    """Returns (height, width); a ValueError has the `reason` of a `BadFile`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if not data:
        raise ValueError("is empty")
    signature = image_headers.PNG_SIGNATURE
    if data.startswith(image_headers.JPEG_START) and not is_depth:
        header = image_headers.read_jpeg_header(data)
    elif signature.startswith(data[: len(signature)]):
        header = image_headers.read_png_header(data)
    else:
        raise ValueError("is not a PNG file" if is_depth else "is neither a PNG nor a JPEG file")
    found = f"is {header.bits}-bit {header.colour}"
    if is_depth and (header.bits, header.colour) != (16, "gray"):
        raise ValueError(f"{found}, expected a 16-bit single-channel depth PNG")
    if not is_depth and header.bits > 8:
        raise ValueError(f"{found}, expected an image with 8 bits per channel")
    if 0 in header.size:
        raise ValueError(f"has no pixels: {_text(header.size)}")
    return header.size


def _check_size(size: Size, crop: Size) -> str | None:
    if size[0] < crop[0] or size[1] < crop[1]:
        return f"is {_text(size)}, smaller than the crop {_text(crop)}"
    return None


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]} (height x width)"


def _named(bad_files: Sequence[BadFile]) -> str:
    return list_some([f"{bad.path} {bad.reason}" for bad in bad_files])
