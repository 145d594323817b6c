"""Reads every file of frames in several processes. A walk that was stopped can be continued."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

import numpy as np

from fcfrnet_jax.commands.data.stamps import Stamps
from fcfrnet_jax.commands.recordings.pool import map_in_processes
from fcfrnet_jax.data import check, plausibility
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.images import MIN_DEPTH
from fcfrnet_jax.data.reading import is_from_png
from fcfrnet_jax.files import atomic_path
from fcfrnet_jax.geometry import Size, crop_offsets
from fcfrnet_jax.system_errors import append, open_to_append

# Frames that a process reads before it reports.
CHUNK = 16
# A crop at the bottom centre with this share of the rows and columns.
CORE = 0.25
# Changes when other faults are found.
_CHECKS = "2"
_JOURNAL = "check_data.journal"
# Hexadecimal digits at the start of a key: 64 bits.
_PLACE = 16

Limits = tuple[float, float]


@dataclass(frozen=True)
class Result:
    """What was found in the files of a frame.

    Attributes:
      size: (height, width) in pixels; None if a file is bad.
      in_core: whether each depth map has a depth in `CORE`.
      bad: the paths of bad files and their reasons.
      findings: of `plausibility.find_implausible`: kind, map, text and whether it is impossible.
    """

    size: Size | None
    in_core: bool
    bad: list[tuple[str, str]]
    findings: list[tuple[str, str, str, bool]]


def examine(frame: Frame, limits: Limits) -> Result:
    """Reads, decodes and checks the files of a frame."""
    arrays, bad = check.read_frame(frame, (0, 0))
    if bad:
        return Result(None, False, [(str(item.path), item.reason) for item in bad], [])
    maps = {kind: array for kind, array in arrays.items() if kind != "image"}
    findings = [
        (found.kind, found.depth, found.text, bool(found.impossible))
        for found in plausibility.find_implausible(maps, limits=limits, png=is_from_png(frame))
    ]
    height, width = maps["sparse_depth"].shape
    return Result((height, width), all(map(_has_core, maps.values())), [], findings)


def keys_of(frames: Sequence[Frame], stamps: Stamps, limits: Limits) -> list[str]:
    """Identifies frames by their files; "" for those whose files are not known.

    Keys that begin with the same `_PLACE` characters are of the same paths.
    """
    keys = []
    for frame in frames:
        try:
            files = stamps.of_frame(frame)
        except ValueError:
            keys.append("")
        else:
            place = _digest(frame.name, sorted(stamps.relative_paths(frame).items()))[:_PLACE]
            keys.append(place + _digest(_CHECKS, frame.name, limits, sorted(files.items())))
    return keys


def walk(
    frames: Sequence[Frame],
    limits: Limits,
    keys: Sequence[str],
    journal: "Journal",
    *,
    workers: int,
    advance: Callable[[int], None],
) -> Iterator[tuple[Frame, Result]]:
    """Yields the frames with what was found, first those that the journal knows.

    Args:
      frames: the frames; their files are read completely.
      limits: see `plausibility.find_implausible`.
      keys: of the frames, see `keys_of`.
      journal: has the results of frames that were read before.
      workers: the number of processes.
      advance: is called with the number of frames that were read.
    """
    rest = []
    for frame, key in zip(frames, keys, strict=True):
        known = journal.known(key)
        if known:
            # Frames of an earlier split of this walk were counted as unread.
            advance(journal.is_new(key))
            yield frame, known
        else:
            rest.append((frame, key))
    chunks = [rest[start : start + CHUNK] for start in range(0, len(rest), CHUNK)]
    items = (([frame for frame, _ in chunk], limits) for chunk in chunks)
    found = map_in_processes(_examine_chunk, items, min(workers, len(chunks)) or 1)
    for chunk, results in zip(chunks, found, strict=True):
        journal.add({key: result for (_, key), result in zip(chunk, results, strict=True)})
        advance(len(chunk))
        yield from ((frame, result) for (frame, _), result in zip(chunk, results, strict=True))


class Journal:
    """The results of the frames that were read, one line each, in a file that grows.

    Only frames without bad files are recorded: a file that cannot be read is tried again. If more
    than half of the lines are damaged or of files that have changed, they are removed.

    Args:
      folder: of the file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _JOURNAL
        self._file: FileIO | None = None
        self._known: dict[str, Result] = {}
        self._new: set[str] = set()

    def __enter__(self) -> "Journal":
        if self._path.exists() and not self._path.is_file():
            raise ValueError(f"{self._path}: is not a file; remove it")
        text = self._path.read_bytes() if self._path.exists() else b""
        lines, newest = text.split(b"\n"), dict[str, bytes]()
        for line in lines:
            # A killed command leaves an incomplete last line. Damaged lines are not used.
            with suppress(ValueError, TypeError, RecursionError):
                key, digest, size, in_core, findings = json.loads(line)
                if digest == _digest(key, size, in_core, findings):
                    found = [(kind, path, why, bool(no)) for kind, path, why, no in findings]
                    self._known[key] = Result((size[0], size[1]), in_core, [], found)
                    newest[key[:_PLACE]] = line
        if len(lines) > 2 * len(newest) + 1:
            text = b"".join(line + b"\n" for line in newest.values())
            with atomic_path(self._path) as temporary:
                temporary.write_bytes(text)
        self._file = open_to_append(self._path)
        if text and not text.endswith(b"\n"):
            append(self._file, b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()

    def known(self, key: str) -> Result | None:
        """The result of a frame whose files have not changed, by its key."""
        return self._known.get(key)

    def is_new(self, key: str) -> bool:
        """Whether the frame was read by this command."""
        return key in self._new

    def add(self, results: dict[str, Result]) -> None:
        """Records results."""
        assert self._file is not None
        lines = []
        for key, result in results.items():
            if key and not result.bad:
                entry = asdict(result)
                values = (entry["size"], entry["in_core"], entry["findings"])
                lines.append(json.dumps([key, _digest(key, *values), *values]) + "\n")
                self._known[key] = result
                self._new.add(key)
        append(self._file, "".join(lines).encode())


def as_bad_files(frame: Frame, result: Result) -> list[BadFile]:
    """The bad files of a frame."""
    return [BadFile(frame, Path(path), reason) for path, reason in result.bad]


def odd_sizes(sizes: dict[str, Size]) -> dict[str, Size]:
    """The frames whose size is not the most frequent one of their drive and camera.

    Args:
      sizes: by the names of the frames.
    """
    counts: dict[str, Counter[Size]] = {}
    for name, size in sizes.items():
        counts.setdefault(name.rpartition("/")[0], Counter())[size] += 1
    usual = {drive: found.most_common(1)[0][0] for drive, found in counts.items()}
    return {n: size for n, size in sizes.items() if size != usual[n.rpartition("/")[0]]}


def _examine_chunk(item: tuple[Sequence[Frame], Limits]) -> list[Result]:
    frames, limits = item
    return [examine(frame, limits) for frame in frames]


def _has_core(depth: np.ndarray) -> bool:
    height, width = depth.shape
    core = (max(int(height * CORE), 1), max(int(width * CORE), 1))
    top, left = crop_offsets((height, width), core)
    return bool((depth[top : top + core[0], left : left + core[1]] > MIN_DEPTH).any())


def _digest(*values: object) -> str:
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=12).hexdigest()
