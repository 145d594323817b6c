"""Checks the settings of a training config against each other."""

import jax
from ml_collections import ConfigDict

from fcfrnet_jax.commands.settings import check_choices
from fcfrnet_jax.prediction import DTYPES

STAGES = ("coarse", "fine", "joint")
SOURCES = ("files", "synthetic")


def check_config(config: ConfigDict) -> None:
    """Raises ValueError for an invalid setting, before anything is loaded."""
    choices = {
        "stage": STAGES,
        "source": SOURCES,
        "split": ("train", "val"),
        "val_split": ("train", "val", "val_selection"),
        "dtype": DTYPES,
    }
    check_choices(config, choices)
    if len(config.crop) != 2 or any(size < 16 or size % 16 for size in config.crop):
        raise ValueError(f"--config.crop must be two multiples of 16, got {config.crop}")
    parts = jax.device_count() * config.accumulate
    if config.batch_size < 1 or config.accumulate < 1 or config.batch_size % parts:
        raise ValueError(
            f"--config.batch_size={config.batch_size} must be a positive multiple of the "
            f"{jax.device_count()} devices times --config.accumulate={config.accumulate}"
        )
    if config.seed < 0:
        raise ValueError(f"--config.seed must not be negative, got {config.seed}")
    _check_stage(config)
    if config.source == "synthetic":
        _check_synthetic(config)
        return
    for name in ("clutter", "misalignment"):
        if config[name]:
            raise ValueError(f"--config.{name} applies to --config.source=synthetic only")


def _check_stage(config: ConfigDict) -> None:
    if config.coarse_dir and config.stage != "fine":
        raise ValueError("--config.coarse_dir applies to --config.stage=fine only")
    if config.stage == "fine" and bool(config.coarse_dir) == bool(config.coarse_checkpoint):
        raise ValueError(
            "--config.stage=fine needs either --config.coarse_checkpoint or --config.coarse_dir "
            "for the coarse depth"
        )
    if config.stage == "coarse" and config.coarse_checkpoint:
        raise ValueError(
            "--config.stage=coarse does not use --config.coarse_checkpoint; to start from a model, "
            "give --config.checkpoint"
        )
    if config.stage == "joint" and config.checkpoint and config.coarse_checkpoint:
        raise ValueError(
            "--config.checkpoint of --config.stage=joint holds both networks, so it leaves "
            "--config.coarse_checkpoint unused; give one of them"
        )
    if not 0 < config.residual_share <= 1:
        raise ValueError(
            f"--config.residual_share must be above 0 and at most 1, got {config.residual_share}"
        )
    if config.stage == "coarse" and config.residual_share != 1:
        raise ValueError(
            "--config.residual_share applies to the fine network, which --config.stage=coarse does "
            "not train"
        )


def _check_synthetic(config: ConfigDict) -> None:
    if config.coarse_dir:
        raise ValueError(
            "--config.source=synthetic has no stored coarse maps; give --config.coarse_checkpoint "
            f"instead of --config.coarse_dir={config.coarse_dir}"
        )
    if config.steps < 1:
        raise ValueError(
            "--config.source=synthetic has no epochs; set the length with --config.steps"
        )
    camera, crop = tuple(config.camera), tuple(config.crop)
    if len(camera) != 2 or camera[0] < crop[0] or camera[1] < crop[1]:
        raise ValueError(
            f"--config.camera={camera} must be rows and columns, at least those of "
            f"--config.crop={crop}"
        )
    if config.schedule == "step":
        raise ValueError(
            "--config.schedule=step counts epochs, which --config.source=synthetic does not have; "
            "use constant or cosine"
        )
