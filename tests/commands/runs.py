"""Short training runs, in this process or as commands, with networks that compile quickly."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands import train
from fcfrnet_jax.configs import train as train_config
from fcfrnet_jax.training.journal import read_journal
from tests.conftest import ROOT, xla_flags

# Shared by all runs on 8 devices, so that each program is compiled once.
SETTINGS = {
    "coarse.width": 4,
    "fine.width": 4,
    "crop": (32, 64),
    "batch_size": 8,
    "schedule": "constant",  # the same program for any number of steps
    "warmup_steps": 0,
    "ema_decay": 0.5,
    "steps": 4,
    "log_every": 1,
    "validate_every": 4,
    "save_every": 2,
    "panels": 1,
}
# For rendered streets, from the renderer or from its stand-in in `numbered_scenes`.
STREETS = {"source": "synthetic", "camera": (40, 120), "panels": 0}
# For runs in a new process, with few devices.
COMMAND = {"steps": 12, "batch_size": 2, "save_every": 3, "validate_every": 6}


def config_of(scenes: str | Path, **settings: Any) -> ConfigDict:
    config = train_config.get_config()
    config.update_from_flattened_dict(SETTINGS)
    config.update(data_dir=str(scenes))
    config.update(settings)
    return config.lock()


def trained(workdir: Path, scenes: Path, **settings: Any) -> Path:
    train.run(config_of(scenes, **settings), workdir)
    return workdir


def start(workdir: Path, scenes: Path, devices: int = 1, **settings: Any) -> subprocess.Popen:
    """Starts a run in a new process."""
    flat = SETTINGS | COMMAND | {"data_dir": scenes} | settings
    flags = [f"--config.{name}={value}" for name, value in flat.items()]
    command = [sys.executable, "-m", "tests.quick_command", "--config=configs/train.py"]
    environment = os.environ | {"XLA_FLAGS": xla_flags(devices)}
    return subprocess.Popen(
        [*command, f"--workdir={workdir}", *flags],
        cwd=ROOT,
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen) -> str:
    """Waits for a command that must succeed; returns what it wrote to stderr."""
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return errors


def wait_for_step(workdir: Path, process: subprocess.Popen, step: int) -> None:
    while process.poll() is None:
        if any(line["step"] >= step for line in read_journal(workdir)):
            return
        time.sleep(0.02)


def newest(workdir: Path) -> tuple[int, str]:
    """The step of the newest snapshot and its digest, over parameters and optimizer state."""
    step = max(int(path.name) for path in (workdir / "snapshots").iterdir() if path.name.isdigit())
    record = workdir / "snapshots" / str(step) / "check" / "metadata"
    return step, json.loads(record.read_text())["digest"]
