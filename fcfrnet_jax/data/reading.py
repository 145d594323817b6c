"""Reads the arrays of frames, from their files or from where they are stored."""

import os
from collections.abc import Collection
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.frame import Frame, RecordError
from fcfrnet_jax.data.images import read_depth, read_image


def paths_of(frame: Frame) -> dict[str, Path]:
    """The paths of the arrays that a frame has, by `image`, `sparse_depth` and so on."""
    paths = {
        "image": frame.image,
        "sparse_depth": frame.sparse,
        "coarse_depth": frame.coarse,
        "ground_truth": frame.ground_truth,
    }
    return {name: path for name, path in paths.items() if path is not None}


def coarse_file(folder: str | os.PathLike, split: str, name: str) -> Path:
    """The coarse map of a frame, as `coarse_maps` writes it or without a folder for the split."""
    of_split = Path(folder).expanduser() / split / f"{name}.png"
    return of_split if of_split.is_file() else Path(folder).expanduser() / f"{name}.png"


def is_from_png(frame: Frame) -> bool:
    """Whether depth maps of a frame are PNG files."""
    suffixes = {path.suffix.lower() for name, path in paths_of(frame).items() if name != "image"}
    return ".png" in suffixes


def read_arrays(frame: Frame, names: Collection[str]) -> dict[str, np.ndarray]:
    """Reads arrays of a frame.

    Args:
      frame: the frame.
      names: which of `paths_of`; those that the frame does not have are left out.

    Returns:
      `image`, uint8 `[H, W, 3]` RGB, and `sparse_depth`, `coarse_depth` and `ground_truth`, float32
      `[H, W]` metres, 0 = missing.

    Raises:
      ValueError: an array cannot be read; with its path.
      OSError: a file cannot be opened.
    """
    paths = {name: path for name, path in paths_of(frame).items() if name in names}
    stored = frame.stored_names()
    wanted = [name for name, path in paths.items() if path in stored]
    arrays: dict[str, np.ndarray] = {}
    if wanted:
        assert frame.stored is not None
        try:
            arrays = frame.stored.read(wanted)
        except ValueError as error:
            path = paths[wanted[0]]
            named = path.parent if isinstance(error, RecordError) else path
            raise ValueError(f"{named} {error}") from error
    for name in paths.keys() - arrays.keys():
        arrays[name] = read_image(paths[name]) if name == "image" else read_depth(paths[name])
    return arrays
