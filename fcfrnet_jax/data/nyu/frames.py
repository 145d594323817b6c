"""Finds the frames of NYU Depth v2, however it is stored."""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.data.frame import BadFile, Frame, RecordError
from fcfrnet_jax.data.nyu import hdf5, protocol, records
from fcfrnet_jax.data.reading import coarse_file

SPLITS = ("train", "val", "train_and_val", "test")
# Of 1,449 labelled frames, which many codes for other tasks use.
LABELLED = "nyu_depth_v2_labeled.mat"
# Frames of the published data.
TEST_FRAMES = 654
Pixels = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class StoredFrame:
    """The arrays of a frame after the field's protocol; see `protocol`.

    Attributes:
      pixels: reads the image, uint8 `[480, 640, 3]` RGB, and the depth, `[480, 640]` metres.
      points: the number of points in the sparse depth.
      seed: of the points.
    """

    pixels: Callable[[], Pixels]
    points: int
    seed: int

    def read(self, names: Collection[str]) -> dict[str, np.ndarray]:
        """Reads some of `image`, `sparse_depth` and `ground_truth`, of 228x304 pixels."""
        try:
            image, depth = self.pixels()
        except ValueError as error:
            raise RecordError(str(error)) from error
        image, depth = protocol.resize_image(image), protocol.resize_depth(depth)
        found = {"image": image, "ground_truth": depth}
        if "sparse_depth" in names:
            found["sparse_depth"] = protocol.sample_points(depth, image, self.points, self.seed)
        return {name: found[name] for name in names}


def is_stored_in(folder: Path) -> bool:
    """Whether a folder seems to hold NYU Depth v2, in one of the two ways."""
    return hdf5.is_stored_in(folder) or records.builder_dir(folder) is not None


def refuse_labelled(folder: Path) -> None:
    """Raises ValueError if a folder has the labelled part of NYU Depth v2, which is not read."""
    path = folder if folder.name == LABELLED else folder / LABELLED
    if path.is_file():
        raise ValueError(
            f"{path} is not read: it is the labelled part of NYU Depth v2, whose official split is "
            "in another file, splits.mat; get the HDF5 files that "
            "github.com/fangchangma/sparse-to-dense.pytorch links, or nyu_depth_v2 of TensorFlow "
            "Datasets (docs/nyu.md), or give a folder without this file"
        )


def search_frames(
    data_dir: str | os.PathLike,
    split: str,
    *,
    coarse_dir: str | os.PathLike | None = None,
    require: Collection[str] = (),
    points: int = protocol.POINTS,
    seed: int = 0,
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of a split of NYU Depth v2.

    Args:
      data_dir: the folder of the HDF5 files, see `hdf5`, or of the data set `nyu_depth_v2` of
        TensorFlow Datasets, see `records`.
      split: `train`, without `val`; `val`, about a twentieth of the training scenes, or of the
        records of TensorFlow Datasets, which have no scenes; `train_and_val`; or `test`, the 654
        official test images.
      coarse_dir: folder of coarse maps, see `reading.coarse_file`; needed if `require` has
        "coarse".
      require: what every frame must have. All have an image, ground truth and intrinsics.
      points: how many pixels of the ground truth are the sparse depth; all if fewer have a depth.
      seed: of these pixels; not negative.

    Returns:
      The frames, sorted by name, and the unusable files of the others. Only missing or truncated
      files of TensorFlow Datasets and missing coarse maps are found here.

    Raises:
      ValueError: an unknown split, a missing folder, no frames, or no `coarse_dir`.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r} of NYU Depth v2: it has {', '.join(SPLITS)}")
    if points < 1 or seed < 0:
        raise ValueError(f"points must be at least 1 and seed 0, got {points} and {seed}")
    if "coarse" in require and coarse_dir is None:
        raise ValueError("NYU Depth v2 has no coarse depth: coarse_dir is needed")
    data_dir = Path(data_dir)
    if not data_dir.is_dir():
        raise ValueError(f"data_dir={data_dir} is not a folder")
    sources, reasons = _sources(data_dir, split)
    frames, bad = [], []
    for name, (file, pixels) in sources.items():
        coarse = None if coarse_dir is None else coarse_file(coarse_dir, split, name)
        frame = Frame(
            name=name,
            image=file / "image",
            sparse=file / "sparse_depth",
            coarse=coarse,
            ground_truth=file / "ground_truth",
            intrinsics=protocol.INTRINSICS,
            stored=StoredFrame(pixels, points, seed),
        )
        if name in reasons:
            bad.append(BadFile(frame, file, reasons[name]))
        elif coarse is not None and not coarse.is_file():
            bad.append(BadFile(frame, coarse, f"is missing, the coarse depth of {name}"))
        else:
            frames.append(frame)
    if split == "test" and len(sources) != TEST_FRAMES:
        _warn_of_test_set(data_dir, len(sources))
    return frames, bad


@cache
def _warn_of_test_set(data_dir: Path, frames: int) -> None:
    """Warns once, however often a command searches the frames."""
    logging.warning(
        "The official test set of NYU Depth v2 has %d frames, but %s has %d: results cannot be "
        "compared with published ones",
        TEST_FRAMES,
        data_dir,
        frames,
    )


def _sources(
    data_dir: Path, split: str
) -> tuple[Mapping[str, tuple[Path, Callable[[], Pixels]]], Mapping[str, str]]:
    """The file and the reader of each frame by name; and why some files cannot be used."""
    builder_dir = records.builder_dir(data_dir)
    if builder_dir is None:
        files = hdf5.files(data_dir, split)
        return {name: (path, partial(hdf5.read, path)) for name, path in files.items()}, {}
    found, reasons = records.find(builder_dir, split)
    return {name: (record.path, record.read) for name, record in found.items()}, reasons
