"""Finds the frames of a data set that `dataset.json` describes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.frame import BadFile, Frame, Intrinsics
from fcfrnet_jax.data.kitti.calibration import read_intrinsics
from fcfrnet_jax.data.own import inputs
from fcfrnet_jax.data.own.description import MAPS, Description
from fcfrnet_jax.data.own.listing import Listing
from fcfrnet_jax.data.plausibility import Finding
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


def search_frames(
    listing: Listing,
    split: str,
    *,
    coarse_dir: str | None = None,
    require: Collection[str] = ("image", "ground_truth"),
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of a split, as `kitti.search_frames` does.

    Args:
      listing: the files of the data set.
      split: one of `listing.splits`.
      coarse_dir: folder of coarse maps, see `reading.coarse_file`, or None.
      require: what each frame needs: `image`, `ground_truth`, `coarse` and `intrinsics`.

    Returns:
      The frames, sorted by name, and what others of the split lack.

    Raises:
      ValueError: no file matches a pattern, two frames have the same name, or the split has no
        frames.
    """
    description = listing.description
    calibration = _Calibration(listing.root, description.intrinsics)
    read = partial(_reader, description)
    frames, bad = [], []
    for key in listing.keys.get(split, ()):
        texts, name = listing.texts_of(key), listing.name_of(key)
        paths = {kind: found[key] for kind, found in listing.files.items() if key in found}
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
        if "intrinsics" in require and frame.intrinsics is None:
            lacks.append(
                calibration.fault(texts)
                or (frame.sparse, "has no calibration: dataset.json has no intrinsics")
            )
        bad += [BadFile(frame, path, reason) for path, reason in lacks]
        if not lacks:
            frames.append(frame)
    if not frames and not bad:
        names = sorted(map(listing.name_of, listing.files["sparse_depth"]))
        # Not `NoFramesError`: a split that is described must be there.
        raise ValueError(
            f"{listing.root} has no frames of the split {split!r}: none of {len(names)} frames "
            f"matches its patterns in dataset.json, "
            f"{list_some(description.splits.get(split, ()))}; the names are {list_some(names)}"
        )
    return frames, bad


def find_images(listing: Listing, split: str, names: Sequence[str]) -> dict[str, Path]:
    """The images of frames, by name, as far as the data set has them."""
    images, wanted = listing.files.get("image", {}), {*names}
    keys = [key for key in listing.keys.get(split, ()) if key in images]
    return {name: images[key] for key in keys if (name := listing.name_of(key)) in wanted}


def advise_scale(frame: Frame, finding: Finding) -> str:
    """What to set if the depth of a frame is plausible in another unit.

    Args:
      frame: of `search_frames`.
      finding: what is impossible about its depth.

    Returns:
      A part of a message that begins with "; ", or "".
    """
    if finding.kind not in ("far", "near") or not isinstance(frame.stored, FileArrays):
        return ""
    path = frame.stored.paths.get(finding.depth)
    if path is None:  # a coarse map
        return ""
    return inputs.scale_advice(*inputs.read_values(path, frame.stored.forms[finding.depth]))


def _reader(description: Description, paths: Mapping[str, Path]) -> FileArrays:
    # `plausibility` compares the depth of frames, with the limits of the data set.
    forms = {
        name: inputs.DepthFormat(
            description.depth_scale.get(name, 0.0), description.max_depth, check=False
        )
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
    return missing


class _Calibration:
    """The intrinsics of frames; each file is read once."""

    def __init__(self, root: Path, intrinsics: Intrinsics | str | None) -> None:
        self._root, self._given = root, intrinsics
        self._known: dict[Path, Intrinsics | str] = {}

    def of(self, texts: Mapping[str, str]) -> Intrinsics | None:
        """The intrinsics of the frame whose fields have these texts; None if they are not known."""
        if not isinstance(self._given, str):
            return self._given
        found = self._read(self._root / self._given.format(**texts))
        return None if isinstance(found, str) else found

    def fault(self, texts: Mapping[str, str]) -> tuple[Path, str] | None:
        """The file that cannot be used and the reason, of a frame whose intrinsics `of` lacks."""
        if not isinstance(self._given, str):
            return None
        path = self._root / self._given.format(**texts)
        return path, str(self._read(path))

    def _read(self, path: Path) -> Intrinsics | str:
        """The intrinsics in a file, or the `reason` of a `BadFile`."""
        if path not in self._known:
            try:
                self._known[path] = read_intrinsics(path)
            except FileNotFoundError:
                self._known[path] = "is missing, see intrinsics in dataset.json"
            except OSError as error:
                self._known[path] = f"cannot be read: {error.strerror}"
            except ValueError as error:
                self._known[path] = str(error).removeprefix(f"{path}: ")
        return self._known[path]
