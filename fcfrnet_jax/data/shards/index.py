"""The index of a shard: where its records are, and what is known of their frames.

It is a JSON file with a checksum beside the shard. With it, frames are found without reading
records, and a record is read with one access.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fcfrnet_jax.data.frame import Intrinsics
from fcfrnet_jax.data.shards.array_records import Span, remedy
from fcfrnet_jax.files import list_some, read_json, with_digest, write_json
from fcfrnet_jax.geometry import Size

FORMAT = 1
SUFFIX = ".index.json"


@dataclass(frozen=True)
class Entry:
    """A record.

    Attributes:
      name: of the frame.
      span: its bytes.
      size: (height, width) of the frame in pixels.
      has: what the frame has besides sparse depth: of `image` and `ground_truth`.
      intrinsics: see `Frame`.
    """

    name: str
    span: Span
    size: Size
    has: tuple[str, ...]
    intrinsics: Intrinsics | None


@dataclass(frozen=True)
class Fault:
    """A file of the source that is missing or was damaged when the shard was built.

    Attributes:
      name: of the frame.
      kind: `sparse`, `image`, `ground_truth` or `intrinsics`. A frame without `sparse` has no
        record.
      path: the file in the source.
      reason: continues a sentence that begins with the path.
    """

    name: str
    kind: str
    path: str
    reason: str


@dataclass(frozen=True)
class ShardIndex:
    """The content of a shard.

    Attributes:
      source: identifies the files that the shard was built from.
      size: of the shard in bytes.
      entries: its records, sorted by name.
      faults: sorted by name.
    """

    source: str
    size: int
    entries: list[Entry]
    faults: list[Fault]

    def write(self, shard: Path) -> None:
        """Writes the index of a shard."""
        record = {"format": FORMAT, "shard": shard.name, **asdict(self)}
        write_json(index_path(shard), with_digest(record))

    @classmethod
    def read(cls, shard: Path) -> "ShardIndex":
        """Reads the index of a shard.

        Raises:
          ValueError: the index is missing, damaged, of another shard or of a later version.
        """
        path, way_out = index_path(shard), remedy(shard)
        try:
            found = read_json(path, way_out, sealed=True)
        except OSError as error:
            raise ValueError(f"{path}: cannot be read: {error.strerror}; {way_out}") from error
        if found.get("format") != FORMAT:
            raise ValueError(
                f"{path}: has the format {found.get('format')}, this version reads {FORMAT}; "
                f"update fcfrnet_jax, or {way_out}"
            )
        if found["shard"] != shard.name:
            raise ValueError(f"{path}: is the index of {found['shard']}; {way_out}")
        entries = [_entry(**entry) for entry in found["entries"]]
        faults = [Fault(**fault) for fault in found["faults"]]
        return cls(found["source"], found["size"], entries, faults)


def index_path(shard: Path) -> Path:
    """The file of the index beside a shard."""
    return shard.with_name(shard.name + SUFFIX)


def shard_path(folder: Path, split: str, number: int, count: int) -> Path:
    """The file of a shard, named as TFDS names it."""
    return folder / f"{_stem(split)}-{number:05d}-of-{count:05d}"


def shards_of(folder: Path, split: str) -> list[Path]:
    """Finds the shards of a split, in order; an empty list if there are none.

    Raises:
      ValueError: shards of the split are missing, or from different builds.
    """
    found = {path.name for path in folder.glob(f"{_stem(split)}-*")}
    counts = {name.removesuffix(SUFFIX).rpartition("-of-")[2] for name in found}
    numbers = {int(count) for count in counts if count.isdecimal()} or _recorded(folder, split)
    if len(numbers) > 1:
        raise ValueError(
            f"{folder}: has {split} shards of {len(numbers)} builds ({list_some(sorted(counts))}); "
            "delete those that do not belong there"
        )
    expected = [shard_path(folder, split, i, number) for number in numbers for i in range(number)]
    missing = [path for path in expected if path.name not in found]
    if missing:
        paths = list_some([str(path) for path in missing])
        raise ValueError(
            f"{len(missing)} of the {len(expected)} shards of {split} are missing: {paths}; "
            f"{remedy(missing[0])}"
        )
    return expected


def _recorded(folder: Path, split: str) -> set[int]:
    """The number of shards of a split by TFDS's `dataset_info.json`; empty if there are none."""
    try:
        splits = read_json(folder / "dataset_info.json", "").get("splits", [])
        lengths = [item["shardLengths"] for item in splits if item.get("name") == split]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()
    return {len(found) for found in lengths if found}


def read_indexes(folder: Path, split: str) -> Iterator[tuple[Path, ShardIndex]]:
    """Yields the shards of a split and their indexes.

    Raises:
      ValueError: as for `shards_of` and `ShardIndex.read`, or a shard has another size.
    """
    for shard in shards_of(folder, split):
        index = ShardIndex.read(shard)
        found = shard.stat().st_size
        if found != index.size:
            raise ValueError(f"{shard}: has {found} bytes, expected {index.size}; {remedy(shard)}")
        yield shard, index


def _stem(split: str) -> str:
    return f"kitti_depth_completion-{split}.array_record"


def _entry(
    name: str, span: dict[str, Any], size: list[int], has: list[str], intrinsics: list | None
) -> Entry:
    camera = None if intrinsics is None else (*intrinsics,)
    return Entry(name, Span(**span), (size[0], size[1]), tuple(has), camera)
