"""Renders a dataset of random streets."""

from functools import partial
from pathlib import Path

from ml_collections import ConfigDict

from fcfrnet_jax import progress
from fcfrnet_jax.commands.settings import Range, check_ranges
from fcfrnet_jax.sensors.lidar import HDL64, spinning
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.data_set import Plan, write_data_set

RANGES = {
    "frames": Range(1),
    "val_share": Range(0.0, 1.0),
    "selection_share": Range(0.0, 1.0),
    "drive_length": Range(1, 10),
    "camera": Range(16),
    "seed": Range(0, 2**63 - 1),
}


def run(config: ConfigDict, workdir: str | Path) -> None:
    """Writes the dataset that the config describes to `workdir`, or the rest of it.

    Raises:
      ValueError: an invalid setting, or a workdir that contains something else.
      BlockingIOError: another process writes to the workdir.
      OSError: the workdir, or the folder beside it where the dataset is written, is not writable.
    """
    plan = make_plan(config)
    show = partial(progress.frames_progress, label="Rendering")
    written = write_data_set(workdir, plan, show, alone=True)
    parts = f"{plan.train} frames for train, {plan.val} for val"
    parts += f" ({plan.selection} of them also in the selection)" if plan.selection else ""
    outcome = f"Wrote {workdir}" if written else f"{workdir} is complete already"
    output = progress.console(stderr=True)
    output.print(f"{outcome}: {parts}", soft_wrap=True)


def make_plan(config: ConfigDict) -> Plan:
    """The dataset that the config describes.

    Raises:
      ValueError: an invalid setting.
    """
    check_ranges(config, RANGES)
    if config.selection_share > config.val_share:
        raise ValueError(
            "--config.selection_share must be at most --config.val_share, got "
            f"{config.selection_share} and {config.val_share}"
        )
    if config.beams not in (64, 32, 16):
        raise ValueError(f"--config.beams must be 64, 32 or 16, got {config.beams}")
    if len(config.camera) != 2:
        raise ValueError(f"--config.camera must be rows and columns, got {config.camera}")
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
