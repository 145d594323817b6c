"""Builds the shards of a split from KITTI's files. A stopped build can be continued.

Every shard holds the next `FRAMES_PER_SHARD` frames in the order of their names, so that frames are
found in the same order as in folders.
"""

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
from fcfrnet_jax.data.kitti.archives import Source
from fcfrnet_jax.data.kitti.frames import SPLITS
from fcfrnet_jax.data.shards import array_records, records
from fcfrnet_jax.data.shards.index import (
    FORMAT,
    Entry,
    Fault,
    ShardIndex,
    index_path,
    shard_path,
    shards_of,
)
from fcfrnet_jax.data.shards.plan import Plan, by_name
from fcfrnet_jax.files import atomic_path

FRAMES_PER_SHARD = 256
# Frames that are read ahead of the writer, for each thread.
_AHEAD = 4


def build_split(
    plan: Plan,
    source: Source,
    folder: Path,
    *,
    advance: Callable[[int], None] = lambda frames: None,
    keep: Callable[[int], None] = lambda frames: None,
    threads: int = 8,
    frames_per_shard: int = FRAMES_PER_SHARD,
) -> list[ShardIndex]:
    """Writes the shards of a split. Shards that exist and have the same source are kept.

    Args:
      plan: the result of `plan.plan_split`.
      source: where the files are.
      folder: of the shards. No other process may write to it.
      advance, keep: are called with the number of frames that are written, and of those in
        shards that are kept.
      threads: how many frames are read at the same time.
      frames_per_shard: at least 1.

    Returns:
      The index of each shard.

    Raises:
      OSError: a shard cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    indexes = []
    with ThreadPoolExecutor(threads) as pool:
        # The digest is of the files before they are read, so that a later change is noticed.
        for shard, digest, frames, missing in _shares(plan, source, folder, frames_per_shard):
            index = finished(shard, digest)
            if index is None:
                index = _build_shard(shard, source, digest, frames, missing, pool, threads, advance)
            else:
                keep(len(frames))
            indexes.append(index)
    return indexes


def changed_shards(plans: Sequence[Plan], source: Source, folder: Path) -> tuple[list[str], int]:
    """Compares the shards in a folder with the files that they were built from.

    Args:
      plans: of all splits.
      source: where the files are.
      folder: of the shards.

    Returns:
      The names of the shards that are missing, incomplete or built from other files, or whose split
      has no plan; and the number of all shards.

    Raises:
      ValueError: a part of the shards of a split is missing.
    """
    expected = {
        shard: digest
        for plan in plans
        for shard, digest, *_ in _shares(plan, source, folder, FRAMES_PER_SHARD)
    }
    stored = {shard for split in SPLITS for shard in shards_of(folder, split)}
    changed = [shard for shard, digest in expected.items() if finished(shard, digest) is None]
    changed += sorted(stored - expected.keys())
    return [shard.name for shard in changed], len(stored | expected.keys())


def finished(shard: Path, source: str) -> ShardIndex | None:
    """The index of a shard that was completely built from the same source, or None."""
    try:
        index = ShardIndex.read(shard)
        whole = shard.stat().st_size == index.size
    except (ValueError, OSError):
        return None
    return index if whole and index.source == source else None


def _shares(
    plan: Plan, source: Source, folder: Path, frames_per_shard: int
) -> Iterator[tuple[Path, str, list[Frame], list[Fault]]]:
    """Yields each shard of a split, the digest of its source, its frames and what is missing."""
    shares = plan.shares(frames_per_shard)
    for number, frames in enumerate(shares):
        missing = plan.faults_of(shares, number)
        shard = shard_path(folder, plan.split, number, len(shares))
        yield shard, _digest(source, frames, missing), frames, missing


def _build_shard(
    shard: Path,
    source: Source,
    digest: str,
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
    faults = sorted([*missing, *(fault for item in read for fault in item.faults)], key=by_name)
    index = ShardIndex(digest, shard.stat().st_size, entries, faults)
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
    """Identifies the files of frames, by their names, sizes and times, wherever they are."""
    digest = hashlib.blake2b(f"format {FORMAT}\n".encode(), digest_size=16)
    for frame in frames:
        paths = (frame.image, frame.sparse, frame.ground_truth)
        stamps = [source.stamp(path) if path else "" for path in paths]
        digest.update(repr((frame.name, frame.intrinsics, stamps)).encode())
    digest.update(repr([(fault.name, fault.kind) for fault in missing]).encode())
    return digest.hexdigest()
