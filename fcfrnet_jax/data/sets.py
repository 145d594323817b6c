"""Data sets: what evaluation and training need to know of them."""

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from fcfrnet_jax.data import kitti, nyu, shards
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.data.own import description, leftovers
from fcfrnet_jax.data.own import frames as own
from fcfrnet_jax.data.own.listing import Listing
from fcfrnet_jax.data.plausibility import Finding
from fcfrnet_jax.data.shards.plan import EXPECTED
from fcfrnet_jax.metric_sets import INDOOR, KITTI, MetricSet

# Metres, the range of KITTI's evaluation, as in the reference.
KITTI_LIMITS = (0.9, 100.0)
# Metres. Data sets of rooms have no larger depth.
INDOOR_DEPTH = 20.0


class Search(Protocol):
    """Finds the frames of a split; see `kitti.search_frames`."""

    def __call__(
        self, split: str, *, coarse_dir: str | None, require: Collection[str]
    ) -> tuple[list[Frame], list[BadFile]]: ...


@dataclass(frozen=True)
class DataSet:
    """A data set. The files of own ones are listed when it is opened, and not again.

    Attributes:
      name: such as `KITTI`.
      splits: the names of its splits.
      train_splits, truth_splits: those that are for training, and those in which frames have
        ground truth.
      limits: the range in metres to which depth is clipped for evaluation. Networks have their own.
      metrics: those that tables show.
      search: finds the frames of a split that have what is required, and the bad files of others.
      stores_coarse: whether there are coarse maps of a split in the data set.
      find_images: finds the images of frames, by name, for panels; see `layout.image_files`.
      benchmark_frames: the number of frames that KITTI's benchmark has in each split; empty for
        other data sets.
      reading: how stored values become sparse depth and ground truth, if that can be set.
      notes: what a check says about the data set as a whole.
      advise_scale: what to set if impossible depth has another unit, for the end of a message.
    """

    name: str
    splits: tuple[str, ...]
    train_splits: tuple[str, ...]
    truth_splits: tuple[str, ...]
    limits: tuple[float, float]
    metrics: MetricSet
    search: Search
    stores_coarse: Callable[[str], bool]
    find_images: Callable[[str, Sequence[str]], dict[str, Path]]
    benchmark_frames: Mapping[str, int] = field(default_factory=dict)
    reading: str = ""
    notes: Callable[[], list[str]] = list
    advise_scale: Callable[[Frame, Finding], str] = lambda frame, finding: ""


def open_folder(root: Path, points: int = nyu.POINTS) -> DataSet:
    """Opens the data set in a folder; see docs/data.md.

    It is a described one, NYU Depth v2, or KITTI's, in shards or in its own folders.

    Args:
      root: the folder.
      points: the number of points in the sparse depth of NYU Depth v2.

    Raises:
      ValueError: the description is damaged or does not fit the folder, or there are several data
        sets in it.
    """
    if os.path.lexists(root / description.FILE):
        return _described(root)
    in_shards = shards.shard_folder(root)
    if nyu.is_stored_in(root):
        if in_shards is not None:
            raise ValueError(
                f"{root} has NYU Depth v2 and KITTI in shards; give the folder of one of them, "
                f"such as {in_shards}"
            )
        return _nyu_in(root, points)
    if in_shards is None:
        nyu.refuse_labelled(root)
    return kitti_in(lambda: root) if in_shards is None else _shards_in(in_shards)


def kitti_in(root: Callable[[], Path]) -> DataSet:
    """KITTI's depth completion benchmark, unpacked in the folder that `root` returns."""

    def search(
        split: str, *, coarse_dir: str | None, require: Collection[str]
    ) -> tuple[list[Frame], list[BadFile]]:
        return kitti.search_frames(root(), split, coarse_dir=coarse_dir, require=require)

    def find_images(split: str, names: Sequence[str]) -> dict[str, Path]:
        return layout.image_files(root(), split, names)

    def stores_coarse(split: str) -> bool:
        return bool(layout.depth_files(root(), split, "coarse"))

    return DataSet(
        name="KITTI",
        splits=kitti.SPLITS,
        train_splits=("train", "val"),
        truth_splits=("train", "val", "val_selection"),
        limits=KITTI_LIMITS,
        metrics=KITTI,
        search=search,
        stores_coarse=stores_coarse,
        find_images=find_images,
        benchmark_frames=EXPECTED,
    )


def _shards_in(folder: Path) -> DataSet:
    """KITTI's benchmark in shards; its frames are those of the folders."""

    def search(
        split: str, *, coarse_dir: str | None, require: Collection[str]
    ) -> tuple[list[Frame], list[BadFile]]:
        kinds = {*require} - {"coarse"}
        frames, bad = shards.search_frames(folder, split, require=kinds)
        if coarse_dir is None:
            if "coarse" in require:
                raise ValueError(f"{folder}: shards hold no coarse depth; give the folder of maps")
            return frames, bad
        maps = layout.coarse_tree_files(Path(coarse_dir).expanduser(), split)
        if not maps:
            raise ValueError(f"{coarse_dir} has no coarse maps of {split}")
        frames = [replace(frame, coarse=maps.get(frame.name)) for frame in frames]
        lacking = [frame for frame in frames if frame.coarse is None]
        bad += [BadFile(frame, Path(coarse_dir, frame.name), "is missing") for frame in lacking]
        return [frame for frame in frames if frame.coarse is not None], bad

    return replace(
        kitti_in(lambda: folder),
        search=search,
        stores_coarse=lambda split: False,
        find_images=partial(shards.find_images, folder),
    )


def _nyu_in(root: Path, points: int) -> DataSet:
    def search(
        split: str, *, coarse_dir: str | None, require: Collection[str]
    ) -> tuple[list[Frame], list[BadFile]]:
        return nyu.search_frames(root, split, coarse_dir=coarse_dir, require=require, points=points)

    return DataSet(
        name="NYU Depth v2",
        splits=nyu.SPLITS,
        train_splits=nyu.SPLITS,
        truth_splits=nyu.SPLITS,
        limits=nyu.LIMITS,
        metrics=INDOOR,
        search=search,
        stores_coarse=lambda split: False,
        # Frames come with their images.
        find_images=lambda split, names: {},
        reading=json.dumps({"points": points}),
    )


def _described(root: Path) -> DataSet:
    described = description.read_description(root)
    listing = Listing(root, described)
    return DataSet(
        name=root.name,
        splits=listing.splits,
        train_splits=listing.splits,
        truth_splits=listing.truth_splits,
        limits=described.limits,
        metrics=INDOOR if described.limits[1] <= INDOOR_DEPTH else KITTI,
        search=partial(own.search_frames, listing),
        stores_coarse=lambda split: False,
        find_images=partial(own.find_images, listing),
        reading=described.reading,
        notes=partial(leftovers.describe_leftovers, listing),
        advise_scale=own.advise_scale,
    )
