"""Checks the files of frames, so that a long run does not fail at a bad file.

Before a run, headers and checksums are verified. The pixels of PNG files are inflated and those of
JPEG files decoded, for images only if wanted. Of PNG files, only depth maps that may be empty are
decoded. An evaluation checks the same while it reads the files, so that each is decoded once.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.data.encodings import png_pixels
from fcfrnet_jax.data.encodings.content import read_content
from fcfrnet_jax.data.encodings.image_headers import ImageHeader
from fcfrnet_jax.data.frame import BadFile, Frame, RecordError, Scannable
from fcfrnet_jax.data.images import DEPTH_SCALE, MIN_DEPTH, decode_depth, decode_image, depth_pixels
from fcfrnet_jax.data.reading import paths_of
from fcfrnet_jax.files import count_of, list_some
from fcfrnet_jax.geometry import Size, crop_offsets, crop_size

# How many of the frames that are left out are logged.
LOGGED = 20
# Examines a file, which is a depth map or not, and returns its size.
Examine = Callable[[Path, bool], Size]


def check_frames(
    frames: Sequence[Frame],
    crop: Size,
    *,
    random_crop: bool = False,
    image_pixels: bool = True,
    threads: int = 8,
) -> list[BadFile]:
    """Finds the files that are missing, damaged, empty, of the wrong kind or of the wrong size.

    A depth map is empty if it has no depth above `images.MIN_DEPTH` in the crop. Files that a
    `Frame` does not have are not missing; see `kitti.search_frames`.

    Args:
      frames: the frames to check; every file is read completely, once. They may have different
        sizes.
      crop: (height, width) in pixels that must fit into each frame; 0 fits into any frame. Coarse
        maps may have the size of the crop.
      random_crop: whether the crop is placed at random. Depth maps then need a depth anywhere;
        otherwise they need one at the bottom centre.
      image_pixels: whether the pixels of images are inflated or decoded, too. This takes half of
        the time, and finds PNG files whose checksums are right although pixels are missing, and
        JPEG files whose header is right although they cannot be decoded.
      threads: how many frames are read at the same time.

    Returns:
      The bad files, in the order of `frames`.
    """
    box = (0, 0) if random_crop else crop

    def examine(path: Path, is_depth: bool) -> Size:
        data, header, compressed = read_content(path, is_depth)
        if is_depth or image_pixels:
            _check_pixels(data, header, compressed, is_depth, box)
        return header.size

    def check(frame: Frame) -> list[BadFile]:
        return _check_frame(frame, crop, random_crop, _with_stored(frame, box, examine))

    with ThreadPoolExecutor(threads) as pool:
        return [bad for bad_files in pool.map(check, frames) for bad in bad_files]


def scan_frames(frames: Sequence[Frame], crop: Size) -> list[BadFile]:
    """As `check_frames`, but without the pixels: headers, checksums and sizes only.

    This takes a tenth of the time and finds nearly all damage. Frames that can only be checked by
    decoding them are left out.
    """

    def examine(path: Path, is_depth: bool) -> Size:
        return read_content(path, is_depth)[1].size

    def examine_any(frame: Frame) -> Examine:
        if not isinstance(frame.stored, Scannable):
            return examine
        paths, scan = frame.stored_names(), cache(frame.stored.scan)
        return lambda path, is_depth: scan() if path in paths else examine(path, is_depth)

    scanned = [f for f in frames if f.stored is None or isinstance(f.stored, Scannable)]
    return [bad for f in scanned for bad in _check_frame(f, crop, False, examine_any(f))]


def read_frame(frame: Frame, crop: Size) -> tuple[dict[str, np.ndarray], list[BadFile]]:
    """Reads, checks and decodes the files of a frame, each once.

    Args:
      frame: its files.
      crop: (height, width) in pixels, at the bottom centre; 0 = the whole height or width.

    Returns:
      The arrays in the crop: `image`, uint8 `[H, W, 3]` RGB, and `sparse_depth`, `coarse_depth` and
      `ground_truth`, float32 `[H, W]` metres, as far as the frame has them; and the files in which
      `check_frames` would find faults. With bad files there are no arrays.
    """
    decoded: dict[Path, np.ndarray] = {}

    def examine(path: Path, is_depth: bool) -> Size:
        data, header, compressed = read_content(path, is_depth)
        if compressed is not None:
            stream = png_pixels.inflate(header, compressed)
            # A palette is in another chunk, which the decoder needs.
            if header.colour in ("gray", "RGB"):
                data = png_pixels.uncompressed(data, stream)
        decoded[path] = _decode(data, is_depth)
        if is_depth and _fits(crop, header.size):
            _check_depth(_cropped(decoded[path], header.size, crop) > MIN_DEPTH * DEPTH_SCALE, crop)
        return header.size

    bad = _check_frame(frame, crop, False, _with_stored(frame, crop, examine, decoded))
    if bad:
        return {}, bad
    size = decoded[frame.sparse].shape[:2]
    arrays = {}
    for name, path in paths_of(frame).items():
        # A coarse map may have the size of the crop.
        pixels = _cropped(decoded[path], decoded[path].shape[:2], crop_size(size, crop))
        encoded = pixels.dtype == np.uint16
        arrays[name] = np.divide(pixels, DEPTH_SCALE, dtype=np.float32) if encoded else pixels
    return arrays, []


def _with_stored(
    frame: Frame,
    box: Size,
    examine: Examine,
    decoded: dict[Path, np.ndarray] | None = None,
) -> Examine:
    """Extends `examine`, which reads files, by the arrays that `frame.stored` reads.

    Depth maps need a depth in the crop `box`. `decoded` receives the arrays by their paths.
    """
    names = frame.stored_names()
    if not names:
        return examine
    arrays: dict[Path, np.ndarray] = {} if decoded is None else decoded

    def examine_any(path: Path, is_depth: bool) -> Size:
        if path not in names:
            return examine(path, is_depth)
        if path not in arrays:
            assert frame.stored is not None
            try:
                found = frame.stored.read(names.values())
            except ValueError:
                # Raises again, unless another array is the bad one.
                found = frame.stored.read([names[path]])
            arrays.update({p: found[name] for p, name in names.items() if name in found})
        size = arrays[path].shape[:2]
        if is_depth and _fits(box, size):
            _check_depth(_cropped(arrays[path], size, box) > MIN_DEPTH, box)
        return size

    return examine_any


def _cropped(pixels: np.ndarray, size: Size, crop: Size) -> np.ndarray:
    height, width = crop_size(size, crop)
    top, left = crop_offsets(size, (height, width))
    return pixels[top : top + height, left : left + width]


def without_bad(frames: Sequence[Frame], bad_files: Sequence[BadFile]) -> list[Frame]:
    """Returns the frames that have no bad file."""
    names = {bad.frame.name for bad in bad_files}
    return [frame for frame in frames if frame.name not in names]


def raise_bad_files(bad_files: Sequence[BadFile], advice: Sequence[str] = ()) -> None:
    """Raises ValueError, with the first of the bad files and the advice, if there are any."""
    if bad_files:
        frames = count_of(len({bad.frame.name for bad in bad_files}), "frame")
        # The reasons contain commas.
        files = list_some([f"{bad.path} {bad.reason}" for bad in bad_files], separator="; ")
        raise ValueError("; ".join([f"{frames} cannot be used: {files}", *advice]))


def log_left_out(bad_files: Sequence[BadFile]) -> None:
    """Logs which frames are left out and why, up to `LOGGED` files, and their number."""
    for bad in bad_files[:LOGGED]:
        logging.warning("Frame %s is left out: %s %s", bad.frame.name, bad.path, bad.reason)
    if bad_files:
        logging.warning("Frames left out: %d", len({bad.frame.name for bad in bad_files}))


def largest_crop(bad_files: Sequence[BadFile], crop: Size, multiple: int) -> Size | None:
    """The largest part of a crop that fits into all checked frames.

    Args:
      bad_files: the result of `check_frames` with the same crop.
      crop: (height, width) in pixels that does not fit; 0 stays 0, the whole height or width.
      multiple: the height and width are multiples of this.

    Returns:
      (height, width), or None if no such crop fits.
    """
    sizes = [bad.too_small for bad in bad_files if bad.too_small]
    sides = [
        side and min(side, *(size[axis] for size in sizes)) // multiple * multiple
        for axis, side in enumerate(crop)
    ]
    shrunk_to_0 = any(side and not fitting for side, fitting in zip(crop, sides, strict=True))
    return None if shrunk_to_0 else (sides[0], sides[1])


def _check_frame(frame: Frame, crop: Size, random_crop: bool, examine: Examine) -> list[BadFile]:
    """Checks each file of a frame, and that all have the same size.

    Args:
      frame, crop, random_crop: see `check_frames`.
      examine: returns the size of the file with this path, which is a depth map or an image; a
        ValueError has the `reason` of a `BadFile`.
    """
    bad_files: list[BadFile] = []
    first: tuple[Path, Size] | None = None
    depths = [(path, True) for path in (frame.sparse, frame.coarse, frame.ground_truth)]
    for path, is_depth in [*depths, (frame.image, False)]:
        if path is None:
            continue
        try:
            size = examine(path, is_depth)
        except ValueError as error:
            reason = str(error)
            # A damaged record is one bad file. The paths of its arrays differ only in their names.
            is_record = path.name == frame.stored_names().get(path)
            same = bad_files and is_record and bad_files[-1].reason == reason
            if not same:
                named = path.parent if isinstance(error, RecordError) else path
                bad_files.append(BadFile(frame, named, reason))
            continue
        first_path, first_size = first = first or (path, size)
        cropped = not random_crop and path == frame.coarse and size == crop_size(first_size, crop)
        if size != first_size and not cropped:
            reason = f"is {_text(size)}, {first_path} is {_text(first_size)}"
            bad_files.append(BadFile(frame, path, reason))
    if first and not bad_files and not _fits(crop, first[1]):
        reason = f"is {_text(first[1])}, smaller than the crop {_text(crop)}"
        bad_files.append(BadFile(frame, frame.sparse, reason, too_small=first[1]))
    return bad_files


def _check_pixels(
    data: bytes,
    header: ImageHeader,
    compressed: bytes | memoryview | None,
    is_depth: bool,
    crop: Size,
) -> None:
    """Inflates or decodes the pixels; the arguments are from `read_content`."""
    if compressed is None:
        _decode(data, is_depth)
        return
    stream = png_pixels.inflate(header, compressed)
    if is_depth:
        _check_not_empty(header, stream, data, crop)


def _decode(data: bytes | np.ndarray, is_depth: bool) -> np.ndarray:
    try:
        return depth_pixels(data) if is_depth else decode_image(data)
    except ValueError as error:
        raise ValueError("is damaged: its pixels cannot be decoded") from error


def _check_not_empty(header: ImageHeader, stream: np.ndarray, data: bytes, crop: Size) -> None:
    if not _fits(crop, header.size):
        return  # reported by `_check_frame`
    box = crop_size(header.size, crop)
    # A pixel of 256 is a depth of 1 m.
    if not png_pixels.has_high_byte(header, stream, (*crop_offsets(header.size, box), box)):
        _check_depth(_cropped(decode_depth(data), header.size, crop) > MIN_DEPTH, crop)


def _check_depth(has_depth: np.ndarray, crop: Size) -> None:
    if not has_depth.any():
        where = f" in the crop of {_text(crop)} at the bottom centre" if any(crop) else ""
        raise ValueError(f"has no depth above {MIN_DEPTH} m{where}")


def _fits(crop: Size, size: Size) -> bool:
    return size[0] >= crop[0] and size[1] >= crop[1]


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]} (height x width)"
