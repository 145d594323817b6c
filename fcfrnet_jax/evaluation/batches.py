"""Reads the frames of an evaluation in threads, as batches of NumPy arrays."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from fcfrnet_jax import process
from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.pipeline import check_batches, check_complete
from fcfrnet_jax.geometry import Size, margins

S = TypeVar("S")
T = TypeVar("T")
Arrays = dict[str, np.ndarray]
# Reads the files of a frame in a crop, as `check.read_frame`.
Read = Callable[[Frame, Size], tuple[Arrays, list[BadFile]]]
# The arrays of a batch that are maps of pixels.
MAPS = ("image", "sparse_depth", "ground_truth", "coarse_depth")
# Frames that a background thread scans between two looks at whether it may end.
_SCANNED_AT_ONCE = 64


def read_batches(
    frames: Sequence[Frame],
    *,
    batch_size: int,
    crop: Size = (352, 1216),
    multiple: int = 1,
    leave_out: Callable[[list[BadFile]], None] | None = None,
    threads: int | None = None,
    read: Read = check.read_frame,
) -> Iterator[Arrays]:
    """Reads each frame once, in batches of one padded size, padded to B frames.

    The batches of frames of one padded size are in order; `index` relates them to `frames`. Every
    file is checked as by `check.check_frames`, in the process of reading it.

    Args:
      frames: the frames.
      batch_size: frames per batch, B.
      crop: (height, width) in pixels, at the bottom centre; 0 = the whole height or width.
      multiple: pad the maps with zeros at the bottom and the right to multiples of this.
      leave_out: called with the bad files of each frame that has any. If it returns, the frame is
        left out. None raises a ValueError that names the bad files of all frames.
      threads: threads that read and decode; None for one per core, at most 16.
      read: reads the files of a frame; the default is for files of KITTI. Others need `leave_out`.

    Returns:
      Batches of
        image: uint8 [B, H, W, 3] RGB, if the frames have images;
        sparse_depth: float32 [B, H, W, 1] metres, 0 = missing;
        ground_truth: the same, all 0 for a frame without ground truth;
        coarse_depth: the same, if the frames have coarse depth;
        size: int32 [B, 2], the height and width of the crop before padding to H and W;
        index: int32 [B], position in `frames`, -1 = padding;
        mask: bool [B], False = padding, for which the other arrays are 0.

    Raises:
      ValueError: no frames, a batch size under 1, or only some of the frames have an image or a
        coarse map.
    """
    check_batches(frames, batch_size)
    check_complete("image", [frame.image for frame in frames])
    check_complete("coarse_depth", [frame.coarse for frame in frames])
    threads = threads or reading_threads()

    def read_padded(frame: Frame) -> tuple[Arrays, list[BadFile]]:
        arrays, bad = read(frame, crop)
        return (arrays if bad else _padded(arrays, multiple)), bad

    def batches() -> Iterator[Arrays]:
        groups: dict[Size, list[Arrays]] = {}
        with ThreadPoolExecutor(threads) as pool:
            found = _ahead(read_padded, frames, threads, 2 * batch_size)
            for index, (arrays, bad) in enumerate(found):
                if bad:
                    if leave_out is None:
                        _raise_all_bad(frames, crop, bad)
                    else:
                        leave_out(bad)
                    continue
                shape = arrays["sparse_depth"].shape[:2]
                group = groups.setdefault(shape, [])
                group.append(arrays | {"index": np.array(index, np.int32)})
                if len(group) == batch_size:
                    yield _batch(groups.pop(shape), batch_size, pool)
            for group in groups.values():
                yield _batch(group, batch_size, pool)

    return _one_ahead(batches())


def reading_threads() -> int:
    """The number of threads that read, or write, at the same time: one per core of the process."""
    return min(16, process.cores())


def _raise_all_bad(frames: Sequence[Frame], crop: Size, known: list[BadFile]) -> None:
    """Raises ValueError with all bad files of the frames, of which some are known."""
    advice = ["skip_bad_frames=True leaves such frames out"] if len(frames) > 1 else []
    check.raise_bad_files(check.check_frames(frames, crop) or known, advice)


class Scan:
    """Checks headers, checksums and sizes of frames in a background thread; see `scan_frames`.

    A long run then ends soon where a file is damaged, instead of when it is read.
    """

    def __init__(self, frames: Sequence[Frame], crop: Size) -> None:
        self._pool = ThreadPoolExecutor(1)
        starts = range(0, len(frames), _SCANNED_AT_ONCE)
        parts = [frames[start : start + _SCANNED_AT_ONCE] for start in starts]
        self._scans = deque(self._pool.submit(check.scan_frames, part, crop) for part in parts)

    def found_bad(self) -> bool:
        """Whether a bad file was found since the last call; does not wait."""
        while self._scans and self._scans[0].done():
            if self._scans.popleft().result():
                return True
        return False

    def close(self) -> None:
        """Ends the scan, wherever it is."""
        self._pool.shutdown(cancel_futures=True)


def _ahead(function: Callable[[S], T], items: Iterable[S], threads: int, ahead: int) -> Iterator[T]:
    """Maps a function over items in threads, in order, up to `ahead` items in advance."""
    with ThreadPoolExecutor(threads) as pool:
        results: deque[Future[T]] = deque()
        try:
            for item in items:
                results.append(pool.submit(function, item))
                if len(results) > max(ahead, threads):
                    yield results.popleft().result()
            while results:
                yield results.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_ahead(batches: Iterator[Arrays]) -> Iterator[Arrays]:
    """Makes each batch in a thread while the one before it is in use."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = pool.submit(next, batches, None)
            yield batch


def _padded(arrays: Arrays, multiple: int) -> Arrays:
    """Adds the size and ground truth, and pads the maps."""
    sparse = arrays["sparse_depth"]
    below, right = margins(sparse.shape, multiple)
    found: dict[str, Any] = {"size": np.array(sparse.shape, np.int32)}
    found |= arrays
    if "ground_truth" not in found:
        found["ground_truth"] = np.zeros_like(sparse)
    for name in MAPS:
        if name in found:
            pixels = found[name]
            if below or right:
                pixels = np.pad(pixels, [(0, below), (0, right)] + [(0, 0)] * (pixels.ndim - 2))
            found[name] = pixels if pixels.ndim == 3 else pixels[..., None]
    return found


def _batch(examples: list[Arrays], batch_size: int, pool: ThreadPoolExecutor) -> Arrays:
    """Stacks examples, each in a thread, and pads them to a batch."""
    count = len(examples)
    make = np.empty if count == batch_size else np.zeros
    batch = {name: make((batch_size, *a.shape), a.dtype) for name, a in examples[0].items()}

    def store(place: int) -> None:
        for name, stacked in batch.items():
            stacked[place] = examples[place][name]

    # Raises what a thread raises.
    deque(pool.map(store, range(count)), maxlen=0)
    batch["index"][count:] = -1
    return batch | {"mask": np.arange(batch_size) < count}
