"""Finds the frames of a data set that `dataset.json` describes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.frame import BadFile, Frame, Intrinsics, NoFramesError
from fcfrnet_jax.data.kitti.calibration import read_intrinsics
from fcfrnet_jax.data.own import inputs
from fcfrnet_jax.data.own.description import MAPS, SPLIT, Description
from fcfrnet_jax.data.own.folders import (
    DEPTH_SUFFIXES,
    IMAGE_SUFFIXES,
    Key,
    expression_of,
    fields_of,
    name_of,
    walk,
)
from fcfrnet_jax.data.reading import coarse_file
from fcfrnet_jax.files import list_some

ATTRIBUTES = {"image": "image", "sparse_depth": "sparse", "ground_truth": "ground_truth"}


@dataclass(frozen=True)
class FileArrays:
    """Reads the files of a frame, of any kind that `inputs` reads; see `frame.Stored`."""

    paths: Mapping[str, Path]
    forms: Mapping[str, inputs.DepthFormat]

    def read(self, names: Collection[str]) -> dict[str, np.ndarray]:
        return {name: self._read(name) for name in names}

    def _read(self, name: str) -> np.ndarray:
        path = self.paths[name]
        try:
            if name == "image":
                return inputs.read_image(path)
            return inputs.read_depth(path, self.forms[name])
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ValueError(str(error).removeprefix(f"{path}: ")) from error


def split_names(root: Path, description: Description) -> tuple[str, ...]:
    """The splits of a data set.

    Raises:
      ValueError: no file matches the pattern of the sparse depth.
    """
    if description.splits:
        return tuple(description.splits)
    pattern = description.sparse_depth
    fields = fields_of(pattern, "sparse_depth")
    place = fields.index(SPLIT)
    found = match_files(root, pattern, fields, DEPTH_SUFFIXES, "sparse_depth")
    return tuple(sorted({key[place] for key in found}))


def search_frames(
    root: Path,
    description: Description,
    split: str,
    *,
    coarse_dir: str | None = None,
    require: Collection[str] = ("image", "ground_truth"),
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of a split, as `kitti.search_frames` does.

    Args:
      root: the folder of the data set.
      description: its description.
      split: one of `split_names`.
      coarse_dir: folder of coarse maps, see `reading.coarse_file`, or None.
      require: what each frame needs: `image`, `ground_truth`, `coarse` and `intrinsics`.

    Returns:
      The frames, sorted by name, and what others of the split lack.

    Raises:
      ValueError: no file matches a pattern, the split has no frames, or a calibration is damaged.
    """
    fields = fields_of(description.sparse_depth, "sparse_depth")
    places = {
        name: match_files(
            root, pattern, fields, IMAGE_SUFFIXES if name == "image" else DEPTH_SUFFIXES, name
        )
        for name, pattern in description.patterns.items()
    }
    calibration = _Calibration(root, description.intrinsics)
    read = partial(_reader, description)
    frames, bad = [], []
    for key in sorted(places["sparse_depth"]):
        texts = dict(zip(fields, key, strict=True))
        name = name_of(tuple(text for field, text in texts.items() if field != SPLIT))
        if split not in description.split_of(name, texts):
            continue
        paths = {kind: found[key] for kind, found in places.items() if key in found}
        coarse = coarse_file(coarse_dir, split, name) if coarse_dir else None
        frame = Frame(
            name,
            paths.get("image"),
            paths["sparse_depth"],
            coarse if coarse and coarse.is_file() else None,
            paths.get("ground_truth"),
            calibration.of(texts),
            read(paths),
        )
        lacks = _lacks(frame, require, description, coarse)
        bad += [BadFile(frame, path, reason) for path, reason in lacks]
        if not lacks:
            frames.append(frame)
    if not frames and not bad:
        raise NoFramesError(
            f"{root} has no frames of the split {split!r}: none of {len(places['sparse_depth'])} "
            "frames matches its patterns in dataset.json"
        )
    return frames, bad


def match_files(
    root: Path, pattern: str, fields: Sequence[str], suffixes: Collection[str], entry: str
) -> dict[Key, Path]:
    """Finds the files of a pattern, by the texts of its fields.

    Args:
      root: the folder of the data set.
      pattern: of the paths below `root`.
      fields: the order of its fields.
      suffixes: of the files.
      entry: the entry of `dataset.json`, for messages.

    Raises:
      ValueError: no file matches, or two files have the same fields.
    """
    expression = expression_of(pattern, suffixes)
    # Only the folder before the first field is searched.
    start = root.joinpath(*Path(pattern[: pattern.index("{")] + "x").parts[:-1])
    found: dict[Key, Path] = {}
    others = []
    for path in walk(start):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match is None:
            others.append(path.name)
            continue
        key = tuple(match[field] for field in fields)
        if key in found:
            raise ValueError(
                f"{found[key]} and {path} have the same fields of {entry}={pattern}; remove one, "
                "or let the pattern end with a suffix"
            )
        found[key] = path
    if not found:
        seen = f"found {list_some(others)}" if others else "found no files"
        raise ValueError(
            f"{start} has no file that matches {entry}={pattern} and ends in "
            f"{', '.join(suffixes)}; {seen}"
        )
    return found


def find_images(
    root: Path, description: Description, split: str, names: Sequence[str]
) -> dict[str, Path]:
    """The images of frames, by name, as far as the data set has them."""
    if not description.image:
        return {}
    frames, _ = search_frames(root, description, split, require=())
    wanted = {*names}
    return {f.name: f.image for f in frames if f.name in wanted and f.image is not None}


def _reader(description: Description, paths: Mapping[str, Path]) -> FileArrays:
    forms = {
        name: inputs.DepthFormat(description.depth_scale.get(name, 0.0), description.max_depth)
        for name in MAPS
    }
    return FileArrays(paths, forms)


def _lacks(
    frame: Frame, require: Collection[str], description: Description, coarse: Path | None
) -> list[tuple[Path, str]]:
    """What a frame lacks, each with the path that names it."""
    missing = []
    for name, attribute in ATTRIBUTES.items():
        if name in require and getattr(frame, attribute) is None:
            pattern = getattr(description, name)
            reason = f"has no file of {name}={pattern}" if pattern else f"has no {name}"
            missing.append((frame.sparse, reason))
    if "coarse" in require and frame.coarse is None:
        missing.append((coarse or frame.sparse, "is missing" if coarse else "has no coarse map"))
    if "intrinsics" in require and frame.intrinsics is None:
        missing.append((frame.sparse, "has no calibration: dataset.json has no intrinsics"))
    return missing


class _Calibration:
    """The intrinsics of frames; each file is read once."""

    def __init__(self, root: Path, intrinsics: Intrinsics | str | None) -> None:
        self._root, self._given = root, intrinsics
        self._known: dict[Path, Intrinsics] = {}

    def of(self, texts: Mapping[str, str]) -> Intrinsics | None:
        """The intrinsics of the frame whose fields have these texts.

        Raises:
          ValueError: the file is missing or damaged.
        """
        if not isinstance(self._given, str):
            return self._given
        path = self._root / self._given.format(**texts)
        if path not in self._known:
            if not path.is_file():
                raise ValueError(f"{path}: there is no such file, see intrinsics in dataset.json")
            self._known[path] = read_intrinsics(path)
        return self._known[path]
