"""Finds the frames in shards and reads them, each with one access to the disk."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.frame import BadFile, Frame, NoFramesError
from fcfrnet_jax.data.kitti.frames import PARTNERS, SPLITS
from fcfrnet_jax.data.shards import array_records, records
from fcfrnet_jax.data.shards.index import Entry, Fault, read_indexes, shards_of
from fcfrnet_jax.files import list_some, version_order
from fcfrnet_jax.geometry import Size

# TFDS appends other words to the folder of a build that is not complete.
_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class StoredFrame:
    """A frame in a shard, an implementation of `frame.Stored`."""

    shard: Path
    entry: Entry

    def read(self, names: Collection[str] = records.ARRAYS) -> dict[str, np.ndarray]:
        """Reads and checks the record; see `frame.Stored`."""
        record = array_records.read_checked(self.shard, self.entry.span)
        return records.decode(record, self.entry.name, self.entry.size, names)

    def scan(self) -> Size:
        """Verifies the checksum of the record; see `frame.Scannable`."""
        self.read(())
        return self.entry.size


def shard_folder(folder: str | os.PathLike) -> Path | None:
    """Finds the folder of the shards at or below a folder; None if there is none.

    Args:
      folder: the folder with the shards, or the `data_dir` given to TFDS, which has them in
        `kitti_depth_completion/<version>`. The last version counts.
    """
    root = Path(folder).expanduser()
    versions = [*root.glob("kitti_depth_completion/*"), *root.glob("*")]
    versions = [path for path in versions if _VERSION.fullmatch(path.name)]
    for found in [root, *sorted(versions, key=lambda path: version_order(path.name), reverse=True)]:
        if any(found.glob("kitti_depth_completion-*.array_record-*")):
            return found
    return None


def search_frames(
    folder: str | os.PathLike,
    split: str,
    *,
    require: Collection[str] = ("image", "ground_truth"),
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of a split in shards; see `kitti.search_frames`, whose frames these are.

    Args:
      folder: see `shard_folder`.
      split: one of `kitti.SPLITS`.
      require: of `image`, `ground_truth` and `intrinsics`; shards hold no coarse depth.

    Returns:
      The complete frames, sorted by name, with `stored`; and the files that were missing or damaged
      in the source of the others, at their paths there.

    Raises:
      ValueError: an unknown split, no shards, missing shards or indexes, a required kind that no
        frame has, or coarse depth is required.
    """
    root = shard_folder(folder)
    _check_request(folder, root, split, require)
    assert root is not None
    frames: dict[str, Frame] = {}
    faults: list[Fault] = []
    for shard, index in read_indexes(root, split):
        for number, entry in enumerate(index.entries):
            frames[entry.name] = _frame(shard, number, entry, require)
        faults += index.faults
    kinds = {"sparse", *require}
    bad = [
        BadFile(frames.get(fault.name) or _without_record(fault.name), Path(fault.path), reason)
        for fault in faults
        if fault.kind in kinds and (reason := fault.reason)
    ]
    incomplete = {item.frame.name for item in bad}
    complete = [frame for name, frame in sorted(frames.items()) if name not in incomplete]
    for kind in require:
        if all(getattr(frame, kind) is None for frame in frames.values()):
            raise ValueError(f"none of the {len(frames)} {split} frames in {root} has {kind}")
    return complete, bad


def find_images(folder: str | os.PathLike, split: str, names: Collection[str]) -> dict[str, Path]:
    """The images of frames, by name, as far as the shards have them; see `layout.image_files`.

    The paths are no files: `Frame.stored` reads the images.
    """
    root, wanted = shard_folder(folder), {*names}
    assert root is not None
    return {
        entry.name: _path(shard, number, "image")
        for shard, index in read_indexes(root, split)
        for number, entry in enumerate(index.entries)
        if entry.name in wanted and "image" in entry.has
    }


def _check_request(
    folder: str | os.PathLike, root: Path | None, split: str, require: Collection[str]
) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    unknown = sorted(set(require) - set(PARTNERS))
    if unknown:
        raise ValueError(f"unknown {list_some(unknown)}: a frame can require {', '.join(PARTNERS)}")
    if "coarse" in require:
        raise ValueError(f"{folder}: shards hold no coarse depth; give the folder of the maps")
    if root is None:
        raise ValueError(f"{folder}: has no shards kitti_depth_completion-<split>.array_record-*")
    if not shards_of(root, split):
        others = [name for name in SPLITS if shards_of(root, name)]
        raise NoFramesError(f"{root} has no {split} shards; it has {', '.join(others)}")


def _frame(shard: Path, number: int, entry: Entry, require: Collection[str]) -> Frame:
    def path(kind: str) -> Path | None:
        wanted = kind in entry.has and kind in require
        return _path(shard, number, kind) if wanted else None

    return Frame(
        name=entry.name,
        image=path("image"),
        sparse=_path(shard, number, "sparse_depth"),
        coarse=None,
        ground_truth=path("ground_truth"),
        intrinsics=entry.intrinsics,
        stored=StoredFrame(shard, entry),
    )


def _path(shard: Path, number: int, array: str) -> Path:
    """Names an array of a record in messages."""
    return Path(f"{shard}:{number}/{array}")


def _without_record(name: str) -> Frame:
    return Frame(name, None, Path(), None, None, None)
