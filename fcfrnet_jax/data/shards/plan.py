"""Plans the shards of KITTI: which frames there are, and what is missing."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.data.kitti.archives import Source
from fcfrnet_jax.data.kitti.frames import SPLITS, search_frames
from fcfrnet_jax.data.shards.index import Fault
from fcfrnet_jax.files import count_of, list_some

# The number of frames in the benchmark.
EXPECTED = {"train": 85898, "val": 6852, "val_selection": 1000, "test_completion": 1000}
# What the source must have.
CONTENTS = (
    "the archives of www.cvlibs.net/datasets/kitti: data_depth_velodyne.zip, "
    'data_depth_annotated.zip, data_depth_selection.zip, and the raw data of the drives ("synced + '
    'rectified data" and "calibration"), as zip files or unpacked'
)
_KINDS = ("image", "ground_truth", "intrinsics")


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
            lines.append(f"{count_of(len(self.faults), 'missing file')}: {first}")
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
    return Plan(split, with_sparse, sorted(set(faults), key=by_name), absent)


def plan_splits(source: Source) -> list[Plan]:
    """The plans of all splits that have frames.

    Raises:
      ValueError: there are no frames, or two files belong to the same frame.
    """
    plans = [plan for split in SPLITS if (plan := plan_split(source, split)) is not None]
    if not plans:
        raise ValueError(
            f"{source.folder}: has no frames of KITTI's depth benchmark, in folders or zip "
            f"archives; it must have {CONTENTS}"
        )
    return plans


def by_name(fault: Fault) -> tuple[str, str]:
    """The order of faults."""
    return fault.name, fault.kind


def _files(root: Path, split: str, kind: str, scans: layout.Files) -> layout.Files:
    """The files of a kind, by frame."""
    if kind == "image":
        return layout.image_files(root, split, sorted(scans))
    if kind == "intrinsics":
        return layout.intrinsics_files(root, split, sorted(scans))
    return layout.depth_files(root, split, kind)
