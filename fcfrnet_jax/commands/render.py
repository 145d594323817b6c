"""Renders a data set of random streets: `configs/render.py`."""

from functools import partial
from pathlib import Path

from ml_collections import ConfigDict
from rich.console import Console

from fcfrnet_jax import progress
from fcfrnet_jax.sensors.lidar import HDL64, spinning
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.data_set import Plan, write_data_set


def run(config: ConfigDict, workdir: str | Path) -> None:
    """Writes the data set that the config describes, or what is missing of it, as `workdir`.

    Raises:
      ValueError: a setting that cannot be, or a workdir that holds anything else.
      OSError: the workdir or its sibling, where the data set grows, cannot be written.
    """
    plan = make_plan(config)
    show = partial(progress.frames_progress, label="Rendering")
    written = write_data_set(workdir, plan, show)
    parts = f"{plan.train} frames for train, {plan.val} for val"
    parts += f" ({plan.selection} of them in the selection, too)" if plan.selection else ""
    outcome = f"Wrote {workdir}" if written else f"{workdir} was there already"
    Console(stderr=True).print(f"{outcome}: {parts}", soft_wrap=True)


def make_plan(config: ConfigDict) -> Plan:
    """What the config describes.

    Raises:
      ValueError: a setting that cannot be.
    """
    if config.frames < 1:
        raise ValueError(f"config.frames must be 1 or more, got {config.frames}")
    if not 0 <= config.selection_share <= config.val_share <= 1:
        raise ValueError(
            "config.selection_share is a part of config.val_share, which is at most 1: got "
            f"{config.selection_share} and {config.val_share}"
        )
    if len(config.camera) != 2 or min(config.camera) < 1:
        raise ValueError(f"config.camera must be rows and columns, got {config.camera}")
    val, selection = (
        round(config.frames * share) for share in (config.val_share, config.selection_share)
    )
    camera, lidar = scaled_rig(
        tuple(config.camera), HDL64 if config.beams == 64 else spinning(config.beams)
    )
    return Plan(
        train=config.frames - val,
        val=val,
        selection=selection,
        drive_length=config.drive_length,
        seed=config.seed,
        camera=camera,
        lidar=lidar,
    )
