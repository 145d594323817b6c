"""Builds the shards of a split from KITTI's files. A build that was stopped goes on where it was.

Every shard holds the next `FRAMES_PER_SHARD` frames in the order of their names, so that frames are
found in the same order as in folders.
"""

import bisect
import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.images import DEPTH_SCALE
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.data.kitti.archives import Source
from fcfrnet_jax.data.kitti.frames import search_frames
from fcfrnet_jax.data.shards import array_records, records
from fcfrnet_jax.data.shards.index import FORMAT, Entry, Fault, ShardIndex, index_path, shard_path
from fcfrnet_jax.files import atomic_path, list_some

FRAMES_PER_SHARD = 256
# The number of frames in the benchmark.
EXPECTED = {"train": 85898, "val": 6852, "val_selection": 1000, "test_completion": 1000}
_KINDS = ("image", "ground_truth", "intrinsics")
# Frames that are read ahead of the writer, for each thread.
_AHEAD = 4


@dataclass(frozen=True)
class Plan:
    """What the shards of a split are built from.

    Attributes:
      split: of `kitti.SPLITS`.
      frames: the frames with sparse depth, sorted by name, with all other files that they have.
      faults: the files that are missing.
      absent: the kinds of files that no frame has.
    """

    split: str
    frames: list[Frame]
    faults: list[Fault]
    absent: list[str]

    def shares(self, count: int) -> list[list[Frame]]:
        """The frames of each shard, at most `count`; one empty list if there are no frames."""
        starts = range(0, max(len(self.frames), 1), count)
        return [self.frames[start : start + count] for start in starts]

    def faults_of(self, shares: Sequence[Sequence[Frame]], number: int) -> list[Fault]:
        """The faults of a shard: of its frames, and of frames without a record between them."""
        names = [frames[0].name for frames in shares[1:]]
        return [fault for fault in self.faults if bisect.bisect_right(names, fault.name) == number]

    def is_complete(self) -> bool:
        """Whether the split has all frames of the benchmark, with all files."""
        return len(self.frames) == EXPECTED[self.split] and not (self.faults or self.absent)

    def report(self) -> str:
        """Describes how complete the split is, in one line."""
        count, expected = len(self.frames), EXPECTED[self.split]
        lines = [f"{self.split}: {count:,} of the benchmark's {expected:,} frames"]
        lines += [f"no frame has {kind}" for kind in self.absent]
        if self.faults:
            first = list_some([f"{fault.path} {fault.reason}" for fault in self.faults])
            lines.append(f"{len(self.faults):,} files are missing: {first}")
        return "; ".join(lines)


def plan_split(source: Source, split: str) -> Plan | None:
    """Lists the frames of a split with the files that they have; None if there are no frames.

    Raises:
      ValueError: two files belong to the same frame.
    """
    scans = layout.depth_files(source.root, split, "sparse")
    if not scans:
        return None
    frames: dict[str, Frame] = {}
    faults: list[Fault] = []
    absent = []
    for kind in _KINDS:
        if (split, kind) == ("test_completion", "ground_truth"):
            continue
        if not scans.keys() & _files(source.root, split, kind, scans).keys():
            absent.append(kind)
            continue
        complete, bad = search_frames(source.root, split, require=(kind,))
        for item in bad:
            found = "sparse" if item.frame.sparse == Path() else kind
            path = source.describe(item.path)
            faults.append(Fault(item.frame.name, found, path, item.reason))
        for frame in [*complete, *(item.frame for item in bad)]:
            known = frames.setdefault(frame.name, frame)
            if kind != "intrinsics":
                frames[frame.name] = replace(known, **{kind: getattr(frame, kind)})
    if not frames:
        frames = {frame.name: frame for frame in search_frames(source.root, split, require=())[0]}
    with_sparse = [frame for _, frame in sorted(frames.items()) if frame.sparse != Path()]
    return Plan(split, with_sparse, sorted(set(faults), key=_by_name), absent)


def _files(root: Path, split: str, kind: str, scans: layout.Files) -> layout.Files:
    """The files of a kind, by frame."""
    if kind == "image":
        return layout.image_files(root, split, sorted(scans))
    if kind == "intrinsics":
        return layout.intrinsics_files(root, split, sorted(scans))
    return layout.depth_files(root, split, kind)


def build_split(
    plan: Plan,
    source: Source,
    folder: Path,
    *,
    advance: Callable[[int], None] = lambda frames: None,
    threads: int = 8,
    frames_per_shard: int = FRAMES_PER_SHARD,
) -> list[ShardIndex]:
    """Writes the shards of a split. Shards that exist and have the same source are kept.

    Args:
      plan: the result of `plan_split`.
      source: where the files are.
      folder: of the shards. No other process may write to it.
      advance: is called with the number of frames that are done.
      threads: how many frames are read at the same time.
      frames_per_shard: at least 1.

    Returns:
      The index of each shard.

    Raises:
      OSError: a shard cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shares = plan.shares(frames_per_shard)
    indexes = []
    with ThreadPoolExecutor(threads) as pool:
        for number, frames in enumerate(shares):
            shard = shard_path(folder, plan.split, number, len(shares))
            missing = plan.faults_of(shares, number)
            index = finished(shard, _digest(source, frames, missing))
            if index is None:
                index = _build_shard(shard, source, frames, missing, pool, threads, advance)
            else:
                advance(len(frames))
            indexes.append(index)
    return indexes


def finished(shard: Path, source: str) -> ShardIndex | None:
    """The index of a shard that was completely built from the same source, or None."""
    try:
        index = ShardIndex.read(shard)
        whole = shard.stat().st_size == index.size
    except (ValueError, OSError):
        return None
    return index if whole and index.source == source else None


def _build_shard(
    shard: Path,
    source: Source,
    frames: Sequence[Frame],
    missing: Sequence[Fault],
    pool: ThreadPoolExecutor,
    threads: int,
    advance: Callable[[int], None],
) -> ShardIndex:
    # Without its index, a shard is not finished.
    index_path(shard).unlink(missing_ok=True)
    read: list[_Read] = []

    def encoded() -> Iterator[bytes]:
        step = threads * _AHEAD
        for start in range(0, len(frames), step):
            part = frames[start : start + step]
            for item in pool.map(lambda frame: read_frame(frame, source), part):
                read.append(replace(item, record=b""))
                if item.record:
                    yield item.record
                advance(1)

    with atomic_path(shard) as temporary:
        spans = iter(array_records.write(temporary, encoded()))
    entries = [
        Entry(item.frame.name, next(spans), item.size, item.has, item.frame.intrinsics)
        for item in read
        if item.size is not None
    ]
    faults = sorted([*missing, *(fault for item in read for fault in item.faults)], key=_by_name)
    source_digest = _digest(source, frames, missing)
    index = ShardIndex(source_digest, shard.stat().st_size, entries, faults)
    index.write(shard)
    return index


@dataclass(frozen=True)
class _Read:
    """A frame that was read, encoded; without `size` if its sparse depth is damaged."""

    frame: Frame
    record: bytes
    size: tuple[int, int] | None
    has: tuple[str, ...]
    faults: list[Fault]


def read_frame(frame: Frame, source: Source) -> _Read:
    """Reads, checks and encodes a frame, without its damaged files."""
    faults: list[Fault] = []
    with tempfile.TemporaryDirectory() as folder:
        local = source.fetch(frame, Path(folder))
        arrays, bad = check.read_frame(local, (0, 0))
        while bad:
            for item in bad:
                kind = _kind_of(item)
                path = source.describe(getattr(frame, kind))
                faults.append(Fault(frame.name, kind, path, item.reason))
            if any(fault.kind == "sparse" for fault in faults):
                return _Read(frame, b"", None, (), faults)
            kinds = {fault.kind for fault in faults}
            local = replace(
                local,
                image=None if "image" in kinds else local.image,
                ground_truth=None if "ground_truth" in kinds else local.ground_truth,
            )
            arrays, bad = check.read_frame(local, (0, 0))
    depths = {
        key: np.rint(arrays[key] * DEPTH_SCALE).astype(np.uint16)
        for key in ("sparse_depth", "ground_truth")
        if key in arrays
    }
    sparse, truth = depths["sparse_depth"], depths.get("ground_truth")
    record = records.encode(frame.name, frame.intrinsics, arrays.get("image"), sparse, truth)
    has = tuple(kind for kind in ("image", "ground_truth") if kind in arrays)
    return _Read(frame, record, (sparse.shape[0], sparse.shape[1]), has, faults)


def _kind_of(bad: BadFile) -> str:
    """The kind of a damaged file."""
    paths = {"image": bad.frame.image, "ground_truth": bad.frame.ground_truth}
    found = [kind for kind, path in paths.items() if path == bad.path]
    return found[0] if found else "sparse"


def _digest(source: Source, frames: Sequence[Frame], missing: Sequence[Fault]) -> str:
    """Identifies the files of frames, by their names, sizes and times."""
    digest = hashlib.blake2b(f"format {FORMAT}\n".encode(), digest_size=16)
    for frame in frames:
        paths = (frame.image, frame.sparse, frame.ground_truth)
        stamps = [source.stamp(path) if path else "" for path in paths]
        digest.update(repr((frame.name, frame.intrinsics, stamps)).encode())
    digest.update(repr(missing).encode())
    return digest.hexdigest()


def _by_name(fault: Fault) -> tuple[str, str]:
    return fault.name, fault.kind
