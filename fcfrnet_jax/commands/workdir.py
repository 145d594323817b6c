"""Checks which config a training workdir belongs to."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.cli.flags import PATHS
from fcfrnet_jax.files import differing, write_json

# A run may be resumed with other values of these.
FREE = {
    "coordinator",
    "processes",
    "process",
    "keep",
    "save_every",
    "panels",
    "threads",
    "xla_flags",
}
# The behaviour of versions that lacked a setting, as its value today. A workdir whose config.json
# lacks one of these is resumed with it.
OLD_BEHAVIOUR: dict[str, Any] = {
    "source": "files",
    "camera": [375, 1242],
    "clutter": 0.0,
    "misalignment": 0.0,
    "residual_share": 1.0,
    "xla_flags": "",
    "coarse.base": "none",
    "coarse.keep_measured": False,
}
# Settings that no longer exist: their old default, and why another value is refused.
Removed = Mapping[str, tuple[Any, str]]
REMOVED: Removed = {}


def claim(workdir: Path, config: ConfigDict) -> None:
    """Records the config in the workdir, or checks that the recorded one is the same.

    Raises:
      ValueError: the workdir belongs to another config, or to one that used a setting that no
        longer exists.
    """
    record = json.loads(json.dumps(config.to_dict()))
    path = workdir / "config.json"
    if path.exists():
        before = upgraded(flat(json.loads(path.read_text(encoding="utf-8"))), path)
        _check_same(before, flat(record), workdir, cosine=config.schedule == "cosine")
    elif jax.process_index() == 0:
        write_json(path, record)


def upgraded(settings: Mapping[str, Any], path: Path, removed: Removed = REMOVED) -> dict[str, Any]:
    """Converts the settings of a run that an older version may have started to this version's.

    Args:
      settings: by their dotted names.
      path: the file they are from, for the message.
      removed: the settings that this version no longer has.

    Raises:
      ValueError: a removed setting has another value than its old default.
    """
    found = OLD_BEHAVIOUR | dict(settings)
    for name, (default, reason) in removed.items():
        value = found.pop(name, default)
        if value != default:
            raise ValueError(f"{path}: the setting {name}={value!r} no longer exists: {reason}")
    # Older versions recorded paths as they were given.
    return found | {name: os.path.expanduser(found[name]) for name in PATHS if name in found}


def _check_same(
    before: dict[str, Any], settings: dict[str, Any], workdir: Path, *, cosine: bool
) -> None:
    # The cosine schedule depends on the length of the run.
    free = FREE if cosine else FREE | {"steps", "epochs"}
    changed = [
        f"{name} was {before.get(name)!r}, is {settings.get(name)!r}"
        for name in differing(before, settings)
        if name not in free
    ]
    if changed:
        raise ValueError(
            f"{workdir} belongs to another config: {'; '.join(changed)}; choose another --workdir"
        )
