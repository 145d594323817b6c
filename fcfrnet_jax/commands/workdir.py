"""Which config a training workdir belongs to."""

import json
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from fcfrnet_jax.files import write_json

# A run may continue with other values of these.
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
# What runs of versions without a setting did, by the name of the setting. A workdir whose
# config.json lacks one of these continues that way.
OLD_BEHAVIOUR: dict[str, Any] = {
    "clutter": 0.0,
    "misalignment": 0.0,
    "residual_share": 1.0,
    "xla_flags": "",
    "coarse.base": "none",
    "coarse.keep_measured": False,
}
# Settings that no longer exist: the default they had, and why another value is refused.
REMOVED: dict[str, tuple[Any, str]] = {}


def claim(workdir: Path, config: ConfigDict) -> None:
    """Makes the workdir this config's, or checks that it is.

    Raises:
      ValueError: the workdir holds a run of another config, or one that relied on a setting that no
        longer exists.
    """
    settings = flat(json.loads(json.dumps(config.to_dict())))
    path = workdir / "config.json"
    if path.exists():
        before = upgraded(flat(json.loads(path.read_text(encoding="utf-8"))), path)
        _check_same(before, settings, workdir, cosine=config.schedule == "cosine")
    elif jax.process_index() == 0:
        write_json(path, json.loads(json.dumps(config.to_dict())))


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def upgraded(settings: dict[str, Any], path: Path) -> dict[str, Any]:
    """The settings of a run that an older version may have started, as this version names them.

    Raises:
      ValueError: a removed setting with another value than its old default.
    """
    settings = OLD_BEHAVIOUR | settings
    for name, (default, reason) in REMOVED.items():
        if settings.pop(name, default) != default:
            raise ValueError(f"{path}: the run used the setting {name}, which is gone: {reason}")
    return settings


def _check_same(
    before: dict[str, Any], settings: dict[str, Any], workdir: Path, *, cosine: bool
) -> None:
    # The cosine schedule depends on the length of the run.
    free = FREE if cosine else FREE | {"steps", "epochs"}
    changed = [
        f"{name} was {before.get(name)!r}, is {settings.get(name)!r}"
        for name in sorted(before.keys() | settings.keys())
        if name not in free and before.get(name) != settings.get(name)
    ]
    if changed:
        raise ValueError(
            f"{workdir} holds a run of another config: {'; '.join(changed)}; "
            "choose another --workdir"
        )
