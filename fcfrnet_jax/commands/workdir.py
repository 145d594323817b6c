"""Reads and writes what a training workdir records about its run."""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.cli.flags import PATHS
from fcfrnet_jax.commands.effects import EFFECTS, Effect
from fcfrnet_jax.configs import train as train_config
from fcfrnet_jax.files import (
    is_temporary,
    list_some,
    read_json,
    remove_temporaries,
    with_digest,
    write_json,
)
from fcfrnet_jax.locks import lock_folder
from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.weights.checkpoint import check_free

# The behaviour of versions that lacked a setting, as its value today. A workdir whose config.json
# lacks one of these is resumed with it.
OLD_BEHAVIOUR: dict[str, Any] = {
    "source": "files",
    "camera": [375, 1242],
    "clutter": 0.0,
    "misalignment": 0.0,
    "freeze_batchnorm": False,
    "xla_flags": "",
    "join_timeout": 300,
    "pool_frames": 0,
    "rmse_weight": 0.3,
    "exact_weight": 0.0,
    "edge_weight": 0.0,
    "scale_weight": 0.0,
    "coarse.patch": 1,
    "fine.patch": 1,
    "coarse.base": "none",
    "coarse.keep_measured": False,
    "points": 500,
    "augmentation.points": 0,
    "augmentation.scale": 1.0,
    "augmentation.rotation": 0.0,
    "coarse.min_depth": 0.9,
    "coarse.max_depth": 100.0,
    "fine.min_depth": 0.9,
    "fine.max_depth": 85.0,
}
# Settings that had the value of another one in the versions that lacked them.
OLD_EQUAL = {"val_crop": "crop"}
# Settings that no longer exist: their old default, and why another value is refused.
Removed = Mapping[str, tuple[Any, str]]
REMOVED: Removed = {
    "residual_share": (
        1.0,
        "it scaled the fine network's residual in the models best and last, which can still be "
        "used; --config.checkpoint=WORKDIR/last in another --workdir trains that one further",
    )
}
# Files that other tasks write.
FOREIGN = {
    "metrics.json": "an evaluation",
    "rendered.json": "a rendered dataset",
    "model.json": "a model",
}
# Files and folders of a training run, which only the run itself may have written.
OWN = ("run.json", "metrics.jsonl", "snapshots", "best", "last")
ANOTHER = "choose another --workdir"
REMEDY = f"restore it from a copy, or {ANOTHER}"


@dataclass(frozen=True)
class Found:
    """What a workdir holds.

    Attributes:
      folder: the workdir.
      settings: those of the run, by dotted names; None if there is none.
      facts: the content of `run.json`; empty for runs of versions before 0.2.
      step: the step of the newest snapshot; 0 if there is none.
      lines: the records of `metrics.jsonl`.
    """

    folder: Path
    settings: dict[str, Any] | None
    facts: dict[str, Any]
    step: int
    lines: list[dict[str, float]]

    @property
    def started(self) -> bool:
        """Whether the run has made updates. Before, any config may use the workdir."""
        recorded = any(line["step"] for line in self.lines)
        return self.settings is not None and bool(self.step or recorded)

    @property
    def newest_model(self) -> Path | None:
        """The model folder with the newest weights, if there is one."""
        models = [self.folder / name for name in ("last", "best")]
        return next((model for model in models if (model / "model.json").is_file()), None)


def alone(folder: Path) -> AbstractContextManager[None]:
    """Locks the workdir for this job, from its first process, and removes old leftovers from it.

    Raises:
      ValueError: the workdir is a file.
      BlockingIOError: another process writes to the workdir.
    """
    return nullcontext() if jax.process_index() else lock_folder(folder, lambda: clean(folder))


def clean(folder: Path) -> None:
    """Removes what killed runs have left in a workdir that no other process uses.

    A kill while an older version replaced a model has left the model under a temporary name only;
    it gets its name back.
    """
    for model in (folder / "best", folder / "last"):
        whole = [
            path
            for path in folder.iterdir()
            if is_temporary(path, model) and (path / "model.json").is_file()
        ]
        if whole and not model.exists():
            max(whole, key=lambda path: (path / "model.json").stat().st_mtime).rename(model)
    for name in (*OWN, "config.json"):
        remove_temporaries(folder / name)


def read(folder: str | Path) -> Found:
    """Reads a workdir; it writes nothing.

    Raises:
      ValueError: the folder holds something else than a training run, or a part of the run is
        damaged or missing.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--workdir={folder} is a file, expected a folder")
    for part in ("snapshots", "tensorboard"):
        if (folder / part).is_file():
            raise ValueError(f"{folder / part} is a file, expected a folder; {ANOTHER}")
    path = folder / "config.json"
    if not path.exists():
        _check_unused(folder)
        return Found(folder, None, {}, 0, [])
    settings = upgraded(flat(read_json(path, REMEDY)), path)
    recorded = folder / "run.json"
    facts = read_json(recorded, REMEDY, sealed=True) if recorded.exists() else {}
    settings = _checked(settings, path)
    for name in ("best", "last"):
        try:
            check_free(folder / name, overwrite=True)
        except ValueError as error:
            raise ValueError(
                f"{folder / name} is for a model of the run, but holds something else; move it "
                f"away, or {ANOTHER}"
            ) from error
    found = Found(folder, settings, facts, _newest_step(folder), read_journal(folder))
    _check_snapshots(found)
    return found


def recorded_settings(folder: str | Path) -> dict[str, Any]:
    """Reads the settings of a run that has a snapshot, by dotted names; empty if there is none.

    Raises:
      ValueError: `config.json` is damaged, or has a setting that no longer exists.
    """
    path = Path(folder) / "config.json"
    if not path.is_file() or not _newest_step(Path(folder)):
        return {}
    return upgraded(flat(read_json(path, REMEDY)), path)


def claim(found: Found, config: ConfigDict, facts: Mapping[str, Any]) -> None:
    """Records the config in `config.json` and `facts` in `run.json`, from the first process."""
    files = [("run.json", with_digest(facts)), ("config.json", to_json(config))]
    if jax.process_index() != 0:
        return
    # A kill between the two must leave what the next run accepts: in a new workdir a config without
    # facts, later facts about changes that config.json does not show yet.
    for name, content in files if found.settings else reversed(files):
        write_json(found.folder / name, content)


def to_json(config: ConfigDict) -> dict[str, Any]:
    """The settings of a config as JSON types, where tuples are lists."""
    return json.loads(json.dumps(config.to_dict()))


def upgraded(settings: Mapping[str, Any], path: Path, removed: Removed = REMOVED) -> dict[str, Any]:
    """Converts the settings of a run that an older version may have started to this version's.

    Args:
      settings: by their dotted names.
      path: the file they are from, for the message.
      removed: the settings that this version no longer has.

    Raises:
      ValueError: a removed setting has another value than its old default.
    """
    equal = {name: settings[other] for name, other in OLD_EQUAL.items() if other in settings}
    found = OLD_BEHAVIOUR | equal | dict(settings)
    for name, (default, reason) in removed.items():
        value = found.pop(name, default)
        if value != default:
            raise ValueError(f"{path}: the setting {name}={value!r} no longer exists: {reason}")
    # Older versions recorded paths as they were given.
    paths = {name: found[name] for name in PATHS if isinstance(found.get(name), str)}
    return found | {name: os.path.expanduser(value) for name, value in paths.items()}


def _checked(settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Checks that these are the settings of a training config, with their types.

    Settings without an effect on the updates may be missing, as in older versions.

    Raises:
      ValueError: a setting is unknown or missing, or has another type.
    """
    if settings.get("task") != "train":
        raise ValueError(f"{path}: is not the config of a training run; {ANOTHER}")
    expected = flat(to_json(train_config.get_config()))
    unknown = [name for name in settings if name not in expected]
    if unknown:
        raise ValueError(
            f"{path}: has unknown settings: {list_some(unknown)}; it is of a newer version or "
            f"damaged; {REMEDY}"
        )
    free = {name: value for name, value in expected.items() if EFFECTS[name] is Effect.NOTHING}
    settings = free | dict(settings)
    for name, value in expected.items():
        kinds = (int, float) if isinstance(value, float) else (type(value),)
        found = settings.get(name)
        elements = found if isinstance(found, list) else []
        if type(found) not in kinds or not all(type(element) is int for element in elements):
            raise ValueError(
                f"{path}: has the value {found!r} for {name}, where {value!r} is an example; it "
                f"is damaged; {REMEDY}"
            )
    return settings


def _check_unused(folder: Path) -> None:
    """Raises ValueError if a folder without config.json holds files that training would change."""
    for name, what in FOREIGN.items():
        if (folder / name).exists():
            raise ValueError(f"{folder} holds {what} ({name}); {ANOTHER}")
    for name in OWN:
        path = folder / name
        # A run that was killed before its first step leaves an empty folder of snapshots.
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise ValueError(
                f"{folder} holds {name} but no config.json, which tells what run it is from; "
                f"restore config.json from a copy, or {ANOTHER}"
            )


def _newest_step(folder: Path) -> int:
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return 0
    return max((int(path.name) for path in snapshots.iterdir() if path.name.isdecimal()), default=0)


def _check_snapshots(found: Found) -> None:
    """Raises ValueError if the run had snapshots and has none any more."""
    if found.step:
        return
    assert found.settings is not None
    reached = max((line["step"] for line in found.lines), default=0)
    every = found.settings.get("save_every") or float("inf")
    # A kill can leave no snapshot as long as the first one may not have been complete.
    lost = reached > 2 * every or (reached and not (found.folder / "snapshots").is_dir())
    if lost or (found.folder / "last" / "model.json").is_file():
        model = found.newest_model
        start = f"; --config.checkpoint={model} starts from its weights" if model else ""
        raise ValueError(
            f"{found.folder} records a run up to step {reached}, but has no snapshots to resume "
            f"from in {found.folder / 'snapshots'}; restore that folder, or {ANOTHER}{start}"
        )
