"""What a check of a data set has found, for the start of a training: `check_data.json`.

It holds for a split as long as the same frames are found, in files of the same path, size and time.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
from absl import logging

from fcfrnet_jax.commands.data.stamps import Stamps
from fcfrnet_jax.commands.data.walk import CORE
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.reading import paths_of
from fcfrnet_jax.files import read_json, with_digest, write_json
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.progress import console

NAME = "check_data.json"
FORMAT = 1
# The kind of a bad file that is the whole record of a frame.
RECORD = "record"


@dataclass(frozen=True)
class SplitCheck:
    """What holds for the frames of a split that were read.

    Attributes:
      frames: their number.
      digests: of their files, by kind of array; empty if the files are not known.
      sizes: (height, width, number) of the frames without bad files.
      in_core: whether their depth maps have a depth in `walk.CORE`.
      bad: the bad files: frame, kind of array or `RECORD`, and reason.
    """

    frames: int
    digests: dict[str, str]
    sizes: list[tuple[int, int, int]]
    in_core: bool
    bad: list[dict[str, str]]


def write(folder: Path, splits: dict[str, SplitCheck], report: dict[str, Any]) -> None:
    """Writes the file, in one step.

    Args:
      folder: of the file.
      splits: what was found, by split.
      report: other entries, for the reader.
    """
    checks = {split: asdict(found) for split, found in splits.items()}
    write_json(folder / NAME, with_digest({"format": FORMAT, **report, "checks": checks}))


def places(data_dir: Path) -> list[Path]:
    """Where the file of a data set is looked for: in its folder and beside it."""
    root = data_dir.resolve()
    return [root / NAME, root.with_name(f"{root.name}_check") / NAME]


def known_bad_files(
    data_dir: Path, split: str, frames: Sequence[Frame], crop: Size, *, random_crop: bool
) -> list[BadFile] | None:
    """The bad files of frames as `check.check_frames` finds them, from an earlier check.

    Args:
      data_dir: the folder of the data set.
      split: of the frames.
      frames, crop, random_crop: see `check.check_frames`.

    Returns:
      The bad files; None if there is no check, or none holds for these frames.
    """
    stamps = Stamps(data_dir)
    faults = []
    for path in filter(Path.is_file, places(data_dir)):
        try:
            found = _read(path, split)
            _check_current(found, stamps, frames)
            _check_crop(found, crop, random_crop)
            bad = _bad_files(found, frames)
        except (OSError, ValueError) as error:
            faults.append(f"{path} does not hold: {error}")
        else:
            if jax.process_index() == 0:
                _say(
                    f"The {len(frames)} frames of {split} are not read before the start: {path} "
                    "is current."
                )
            return bad
    if faults:
        logging.warning("All files are read, because %s", "; ".join(faults))
    return None


def _say(line: str) -> None:
    console(stderr=True).print(line, soft_wrap=True)


def _read(path: Path, split: str) -> SplitCheck:
    record = read_json(path, "repeat --config=check_data", sealed=True)
    if record.get("format") != FORMAT:
        raise ValueError(f"it has the format {record.get('format')}, this version reads {FORMAT}")
    if split not in record["checks"]:
        raise ValueError(f"it is only about {', '.join(record['checks']) or 'no split'}")
    return SplitCheck(**record["checks"][split])


def _check_current(found: SplitCheck, stamps: Stamps, frames: Sequence[Frame]) -> None:
    """Raises ValueError unless the frames have the files that were read."""
    if found.frames != len(frames):
        raise ValueError(f"it is about {found.frames} frames, but {len(frames)} are found now")
    for kind, digest in stamps.digests(frames).items():
        if kind not in found.digests:
            raise ValueError(f"the {kind.replace('_', ' ')} was not read")
        if digest != found.digests[kind]:
            raise ValueError(f"files of the {kind.replace('_', ' ')} have changed since")


def _check_crop(found: SplitCheck, crop: Size, random_crop: bool) -> None:
    """Raises ValueError unless the check also answers whether depth maps are empty in the crop."""
    for height, width, _ in found.sizes:
        if height < crop[0] or width < crop[1]:
            raise ValueError(f"frames of {height}x{width} are smaller than the crop")
        core = (height * CORE, width * CORE)
        whole = random_crop or not any(crop)
        is_large = (crop[0] or height) >= core[0] and (crop[1] or width) >= core[1]
        if not whole and not (found.in_core and is_large):
            raise ValueError("depth maps may have no depth in the crop")


def _bad_files(found: SplitCheck, frames: Sequence[Frame]) -> list[BadFile]:
    """The bad files that were found; raises ValueError if they do not answer for these frames."""
    by_name = {frame.name: frame for frame in frames}
    bad = []
    for item in found.bad:
        frame, kind = by_name[item["frame"]], item["kind"]
        path = frame.sparse.parent if kind == RECORD else paths_of(frame).get(kind)
        # Without its bad file, a frame may be usable. A coarse map may have the size of the crop.
        if path is None or kind == "coarse_depth":
            raise ValueError(f"a bad file of the {kind.replace('_', ' ')} decides on {frame.name}")
        bad.append(BadFile(frame, path, item["reason"]))
    return bad
