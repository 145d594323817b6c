"""What a run that can be continued records in its workdir."""

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.cli.flags import PATHS
from fcfrnet_jax.data.frame import BadFile
from fcfrnet_jax.files import differing, is_temporary, list_some, read_json, remove, write_json
from fcfrnet_jax.sensors.calibration.kitti import CAMERA_FILE

# Settings that change nothing of what is written for a frame.
FREE = (
    "task",
    "batch_size",
    "xla_flags",
    "check_depth",
    "coordinator",
    "processes",
    "process",
    "join_timeout",
)
_ANOTHER = "choose another --workdir"
# Settings with small files that a user may edit between two runs, and the suffixes of these files.
_EDITED = ("calibration", "extrinsics", "intrinsics", "oxts", "poses")
_SUFFIXES = (".txt", ".json", ".yaml", ".yml")


@dataclass(frozen=True)
class Record:
    """The record of a task.

    Attributes:
      name: of the JSON file.
      places: the folders in the workdir with the results.
      free: settings that may change when a run is continued, beside `FREE`.
    """

    name: str
    places: Collection[str]
    free: Collection[str] = ()

    def claim(self, folder: Path, described: Mapping[str, Any]) -> None:
        """Records a run in its workdir before it writes anything.

        The settings may change as long as the workdir holds no results.

        Args:
          folder: the workdir.
          described: the result of `describe`.

        Raises:
          ValueError: the workdir holds results of other settings, models, calibrations or poses,
            or files that are not recorded.
        """
        path = folder / self.name
        written = [name for name in sorted(self.places) if _has_files(folder / name)]
        if not written:
            write_json(path, described)
            return
        if not path.exists():
            raise ValueError(f"{folder} holds {written[0]}, but no {self.name}; {_ANOTHER}")
        before = read_json(path, f"restore it from a copy, or {_ANOTHER}")
        settings, now = before.get("settings"), described["settings"]
        if not isinstance(settings, dict) or settings.get("task") != now["task"]:
            raise ValueError(f"{path}: was not written by this task; {_ANOTHER}")
        changed = [
            f"{name} was {settings.get(name)!r} and is {now.get(name)!r}"
            for name in differing(settings, now)
            if name not in {*FREE, *self.free}
        ]
        if not changed and before.get("digests") != described["digests"]:
            changed = ["the weights of the model have changed"]
        contents = before.get("contents")
        if not changed and isinstance(contents, dict):
            names = differing(contents, described["contents"])
            changed = [f"the content of {settings[name]} has changed" for name in names]
        if changed:
            raise ValueError(
                f"{folder} holds the results of another run: {list_some(changed)}; {_ANOTHER}, or "
                "delete it"
            )

    def check_unused(self, folder: Path) -> None:
        """Raises ValueError if a workdir holds the results of a run that can be continued."""
        if (folder / self.name).exists():
            raise ValueError(f"{folder} holds the results of a run on folders; {_ANOTHER}")

    def write(self, folder: Path, record: Mapping[str, Any]) -> None:
        """Writes the record of a run that has ended."""
        write_json(folder / self.name, record)

    def clean(self, folder: Path) -> None:
        """Removes the temporary files that killed runs have left."""
        for place in (folder / name for name in self.places):
            for path in place.rglob(".*") if place.is_dir() else ():
                if is_temporary(path):
                    remove(path)
        for path in folder.iterdir():
            if is_temporary(path):
                remove(path)


def _has_files(folder: Path) -> bool:
    return any(not path.is_dir() for path in folder.rglob("*"))


def describe(config: ConfigDict, origins: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, as JSON types, and the provenance and digests of its models.

    `contents` has a digest of the calibrations and poses, which are often corrected after a run.
    """
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in flat(config).items()
    }
    paths = {name: os.path.abspath(str(settings[name])) for name in PATHS if settings.get(name)}
    # The name of the model in the package is no path.
    paths = {name: path for name, path in paths.items() if os.path.exists(path)}
    contents = {name: _digest(Path(paths[name])) for name in _EDITED if name in paths}
    return {"settings": settings | paths, "contents": contents, **origins}


def _digest(path: Path) -> str:
    """The digest of a text file, or of the text files of a folder."""
    if path.name == CAMERA_FILE:
        path = path.parent
    if (path / CAMERA_FILE).is_file():
        # The folder of a date, which also has its drives.
        found = sorted(path.glob("calib_*.txt"))
    elif path.is_dir():
        found = sorted(item for item in path.rglob("*") if item.suffix.lower() in _SUFFIXES)
    else:
        found = [path]
    digest = hashlib.blake2b(digest_size=16)
    for item in found:
        content = item.read_bytes()
        digest.update(f"{item.relative_to(path)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def counts(total: int, left: int, skipped: Sequence[BadFile], seconds: float) -> dict[str, Any]:
    """What a run has done, as JSON types.

    Args:
      total: the frames of all runs.
      left: the frames of this run.
      skipped: the bad files of this run.
      seconds: the duration of this run.
    """
    predicted = left - len({bad.frame.name for bad in skipped})
    return {
        "frames": total,
        "existed": total - left,
        "predicted": predicted,
        "seconds": round(seconds, 3),
        "frames_per_s": round(predicted / max(seconds, 1e-9), 3),
        "skipped": list_bad(skipped),
    }


def list_bad(files: Sequence[BadFile]) -> list[dict[str, str]]:
    """Bad files as JSON types."""
    return [{"name": bad.frame.name, "path": str(bad.path), "reason": bad.reason} for bad in files]


def summary(result: Mapping[str, Any]) -> str:
    """One line about `counts`."""
    text = f"Predicted {result['predicted']} of {result['frames']} frames"
    if result["existed"]:
        text += f"; {result['existed']} existed before"
    return text + (f", {result['frames_per_s']:.3g} frames/s" if result["predicted"] > 1 else "")
