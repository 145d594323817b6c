"""What a prediction of folders records in its workdir, so that it can be continued."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.cli.flags import PATHS
from fcfrnet_jax.commands.inference.sources import Source
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.files import differing, is_temporary, list_some, read_json, remove, write_json
from fcfrnet_jax.prediction.outputs import PLACES

RECORD = "predict.json"
# Settings that change nothing of what is written for a frame.
FREE = (
    "task",
    "outputs",
    "check_depth",
    "batch_size",
    "xla_flags",
    "image_pattern",
    "depth_pattern",
)
_ANOTHER = "choose another --workdir"


def describe(config: ConfigDict, origins: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a run, as JSON types, and the digests of its models."""
    settings = flat(config)
    paths = {name: os.path.abspath(settings[name]) for name in PATHS if settings.get(name)}
    # The name of the model in the package is no path.
    paths = {name: path for name, path in paths.items() if os.path.exists(path)}
    return {"settings": settings | paths, **origins}


def claim(folder: Path, record: Mapping[str, Any]) -> None:
    """Records a run in its workdir before it writes anything.

    Raises:
      ValueError: the workdir holds predictions of other settings, models or inputs, or files that
        are not recorded.
    """
    path = folder / RECORD
    if not path.exists():
        for name in sorted({place for place, _ in PLACES.values()}):
            if (folder / name).exists():
                raise ValueError(f"{folder} holds {name}, but no {RECORD}; {_ANOTHER}")
        write_json(path, record)
        return
    before = read_json(path, f"restore it from a copy, or {_ANOTHER}")
    if not isinstance(before.get("settings"), dict):
        raise ValueError(f"{path}: was not written by a prediction; {_ANOTHER}")
    changed = [
        f"{name} was {before['settings'].get(name)!r} and is {record['settings'].get(name)!r}"
        for name in differing(before["settings"], record["settings"])
        if name not in FREE
    ]
    if not changed and before.get("digests") != record["digests"]:
        changed = ["the weights of the model have changed"]
    if changed:
        raise ValueError(
            f"{folder} holds the predictions of another run: {list_some(changed)}; {_ANOTHER}, or "
            "delete it"
        )


def check_single(folder: Path) -> None:
    """Raises ValueError if a workdir holds the predictions of folders."""
    if (folder / RECORD).exists():
        raise ValueError(f"{folder} holds the predictions of a folder; {_ANOTHER}")


def result(
    source: Source, left: Sequence[Frame], skipped: Sequence[BadFile], seconds: float
) -> dict[str, Any]:
    """What a run has done, as JSON types.

    Args:
      source: the frames of all runs.
      left: the frames of this run.
      skipped: the bad files of this run.
      seconds: the duration of this run.
    """
    predicted = len(left) - len(skipped)
    return {
        "frames": len(source.frames),
        "existed": len(source.frames) - len(left),
        "predicted": predicted,
        "seconds": round(seconds, 3),
        "frames_per_s": round(predicted / max(seconds, 1e-9), 3),
        "skipped": [
            {"name": bad.frame.name, "path": str(bad.path), "reason": bad.reason} for bad in skipped
        ],
        "without_depth": [str(path) for path in source.unpaired.without_depth],
        "without_image": [str(path) for path in source.unpaired.without_image],
    }


def write(folder: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a run that has ended."""
    write_json(folder / RECORD, record)


def clean(folder: Path) -> None:
    """Removes the temporary files that killed runs have left."""
    places = [folder / name for name, _ in PLACES.values()]
    for place in (path for path in places if path.is_dir()):
        for path in place.rglob(".*"):
            if is_temporary(path):
                remove(path)
    for path in folder.iterdir():
        if is_temporary(path, folder / RECORD):
            remove(path)
