"""Workdirs as training leaves them, made without training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands import resume, workdir
from fcfrnet_jax.configs import train as train_config
from fcfrnet_jax.data.frame_names import FrameNames

NAMES = [f"drive{d}/image_02/{i:010d}" for d in (1, 2) for i in range(10)]


def config_of(**settings: Any) -> ConfigDict:
    config = train_config.get_config()
    config.update_from_flattened_dict(settings)
    return config.lock()


def compared(
    folder: Path,
    *,
    names: Sequence[str] = NAMES,
    left_out: Sequence[str] = (),
    val_names: Sequence[str] = ("val/image_02/1",),
    weights: str | None = None,
    devices: int = 8,
    reading: str = "",
    **settings: Any,
) -> resume.Resumption:
    """Compares a config with the run in a workdir, as the command does."""
    return resume.compare(
        workdir.read(folder),
        config_of(**{"data_dir": "kitti"} | settings),
        names=FrameNames.of(names, left_out, reading),
        val_names=FrameNames.of(val_names),
        weights=weights,
        devices=devices,
    )


def started(
    folder: Path,
    step: int = 20,
    weights: str | None = None,
    reading: str = "",
    **settings: Any,
) -> Path:
    """A workdir with a snapshot and a record of a step."""
    resumption = compared(folder, weights=weights, reading=reading, **settings)
    config = config_of(**{"data_dir": "kitti"} | settings)
    workdir.claim(workdir.read(folder), config, resumption.facts_at(0))
    (folder / "snapshots" / str(step)).mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(json.dumps({"step": step}) + "\n")
    return folder


def change_record(folder: Path, **changes: Any) -> None:
    """Changes settings in config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def remove_settings(folder: Path, *names: str) -> None:
    """Removes settings from config.json, as in workdirs of versions that lacked them."""
    path = folder / "config.json"
    record = json.loads(path.read_text())
    path.write_text(
        json.dumps({name: value for name, value in record.items() if name not in names})
    )
