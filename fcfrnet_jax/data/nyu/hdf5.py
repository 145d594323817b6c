"""The HDF5 files of NYU Depth v2 that the authors of sparse-to-dense and FastDepth published.

`nyudepthv2/train/<scene>/NNNNN.h5` are 47,584 frames of the training scenes, and
`nyudepthv2/val/official/NNNNN.h5` the 654 official test images. Each has the datasets `rgb`, uint8
`[3, 480, 640]`, and `depth`, `[480, 640]` metres, in which the toolbox of NYU Depth v2 has filled
the missing depth.
"""

import hashlib
import re
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.frame import NoFramesError
from fcfrnet_jax.data.nyu.protocol import STORED
from fcfrnet_jax.files import list_some, not_regular

# One scene in this many is for validation.
VAL_EVERY = 20
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# In the library's message on a truncated file.
_STORED_SIZE = re.compile(r"stored_eof = (\d+)")
_SPLIT_FOLDERS = {"test": "val/official"}
# The recordings of one scene differ in a letter after the number.
_PART = re.compile(r"(?<=\d)[a-z]$")


def is_stored_in(folder: Path) -> bool:
    """Whether a folder seems to hold the files."""
    if (folder / "nyudepthv2").is_dir():
        return True
    patterns = (f"{_SPLIT_FOLDERS['test']}/*.h5", "train/*/*.h5")
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def files(data_dir: Path, split: str) -> dict[str, Path]:
    """Finds the files of a split by the names of their frames, sorted.

    Args:
      data_dir: the folder `nyudepthv2` or the one that contains it.
      split: one of `frames.SPLITS`.

    Returns:
      The paths by name, `<scene>/NNNNN`.

    Raises:
      ValueError: there are no such files.
    """
    below = _SPLIT_FOLDERS.get(split, "train")
    roots = (data_dir / "nyudepthv2", data_dir)
    folder = next((root / below for root in roots if (root / below).is_dir()), None)
    if folder is None:
        raise NoFramesError(
            f"{data_dir} has no folder {below} with HDF5 files of NYU Depth v2, nor the records of "
            "nyu_depth_v2 of TensorFlow Datasets"
        )
    pattern = "*.h5" if split == "test" else "*/*.h5"
    paths = sorted(folder.glob(pattern))
    if split in ("train", "val"):
        paths = [path for path in paths if is_validation(path.parent.name) == (split == "val")]
    if not paths:
        raise NoFramesError(f"{folder} has no files {pattern} of the split {split} of NYU Depth v2")
    return {f"{path.parent.name}/{path.stem}": path for path in paths}


def is_validation(scene: str) -> bool:
    """Whether the frames of a training scene are for validation; all recordings of a scene are."""
    digest = hashlib.blake2b(_PART.sub("", scene).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % VAL_EVERY == 0


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a file.

    Returns:
      The image, uint8 `[480, 640, 3]` RGB, and the depth, float `[480, 640]` metres.

    Raises:
      ValueError: the file cannot be read, or has other datasets. The message continues a sentence
        that begins with its path.
    """
    import h5py

    fault = not_regular(path)
    if fault:
        raise ValueError(f"{fault}, expected an HDF5 file")
    try:
        # Some network file systems have no locks, and nothing is written.
        with h5py.File(path, "r", locking=False) as file:
            found = {name: file.get(name) for name in file}
            rgb, depth = found.get("rgb"), found.get("depth")
            if not (isinstance(rgb, h5py.Dataset) and isinstance(depth, h5py.Dataset)):
                kinds = [f"{name} ({type(found[name]).__name__.lower()})" for name in found]
                raise _ContentError(
                    f"has no datasets rgb and depth; it has {list_some(kinds) or 'nothing'}"
                )
            try:
                # Before they are read, because a header may claim any size.
                check(rgb, depth, (3, *STORED))
            except ValueError as error:
                raise _ContentError(str(error)) from error
            return np.moveaxis(rgb[()], 0, -1), depth[()]
    except _ContentError:
        raise
    except Exception as error:
        # h5py raises errors of several types for damaged files, with texts for its developers.
        raise ValueError(f"cannot be read as HDF5: {_fault(path, error)}") from error


class _ContentError(ValueError):
    """A sound file has other content."""


def _fault(path: Path, error: Exception) -> str:
    """Why HDF5's library cannot read a file."""
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_SIGNATURE))
            size = stream.seek(0, 2)
    except OSError as failure:
        return failure.strerror or str(failure)
    if start != _SIGNATURE:
        return f"it begins with {start!r}, expected {_SIGNATURE!r}" if size else "it is empty"
    expected = _STORED_SIZE.search(str(error))
    if expected:
        return f"it is truncated, {size} of {expected[1]} bytes; restore it"
    return f"it is damaged, {size} bytes; restore it"


def check(image: object, depth: object, image_shape: tuple[int, ...]) -> None:
    """Raises ValueError unless the arrays have the types and shapes of NYU Depth v2."""
    found = [
        (getattr(array, "dtype", type(array).__name__), getattr(array, "shape", ()))
        for array in (image, depth)
    ]
    is_float = getattr(found[1][0], "kind", "") == "f"
    if found[0] != (np.uint8, image_shape) or not is_float or found[1][1] != STORED:
        texts = [f"{dtype} {shape}" for dtype, shape in found]
        raise ValueError(
            f"has {' and '.join(texts)}, but NYU Depth v2 has an image, uint8 {image_shape}, and "
            f"depth, float {STORED}"
        )
