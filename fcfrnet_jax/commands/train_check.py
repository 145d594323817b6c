"""Checks the settings of a training config, each alone and against each other."""

import jax
from ml_collections import ConfigDict

from fcfrnet_jax.commands.data import opening
from fcfrnet_jax.commands.rendered.validation import validation_crop
from fcfrnet_jax.commands.settings import (
    Range,
    check_choices,
    check_crop,
    check_ranges,
    crop_multiple,
)
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.prediction import DTYPES
from fcfrnet_jax.sensors.lidar import HDL64

STAGES = ("coarse", "fine", "joint")
SOURCES = ("files", "synthetic")
_SHARE = Range(0.0, 1.0)
# Every number of the config. The networks' own settings are checked by their specs.
RANGES = {
    "points": Range(1),
    "camera": Range(16),
    "pool_frames": Range(0),
    "clutter": _SHARE,
    "misalignment": Range(0.0),
    "crop": Range(16),
    "val_crop": Range(0),
    "augmentation.flip": _SHARE,
    "augmentation.brightness": _SHARE,
    "augmentation.contrast": _SHARE,
    "augmentation.saturation": _SHARE,
    "augmentation.beam_probability": _SHARE,
    "augmentation.beams": Range(1, len(HDL64.elevations)),
    "augmentation.point_dropout": _SHARE,
    "augmentation.points": Range(0),
    "augmentation.scale": Range(1.0),
    "augmentation.rotation": Range(0.0, 180.0),
    "rmse_weight": Range(0.0),
    "photometric_weight": Range(0.0),
    "smoothness_weight": Range(0.0),
    "exact_weight": Range(0.0),
    "edge_weight": Range(0.0),
    "scale_weight": Range(0.0),
    "coarse_weight": Range(0.0),
    "fine_weight": Range(0.0),
    "learning_rate": Range(0.0, above=True),
    "decay_epochs": Range(1),
    "warmup_steps": Range(0),
    "weight_decay": Range(0.0),
    "clip_norm": Range(0.0),
    "ema_decay": Range(0.0, 1.0, below=True),
    "batch_size": Range(1),
    "accumulate": Range(1),
    "steps": Range(0),
    "epochs": Range(0),
    "seed": Range(0, 2**63 - 1),
    "join_timeout": Range(1),
    "log_every": Range(0),
    "validate_every": Range(0),
    "save_every": Range(0),
    "keep": Range(1),
    "panels": Range(0),
    "threads": Range(0),
    "processes": Range(0),
    "process": Range(-1),
}


def check_config(config: ConfigDict) -> DataSet:
    """Returns the data set. Raises ValueError for an invalid setting, before a model is loaded."""
    data = opening.open_data_set(config)
    choices = {
        "stage": STAGES,
        "source": SOURCES,
        "split": ("train", "val"),
        "val_split": ("train", "val", "val_selection"),
        "dtype": DTYPES,
    }
    if config.source == "files" and config.data_dir:
        splits = {"split": data.train_splits, "val_split": data.truth_splits}
        check_choices(config, splits, data.name)
        choices |= splits
    check_choices(config, choices)
    check_ranges(config, RANGES)
    _check_crop(config)
    check_crop(config, "val_crop")
    parts = jax.device_count() * config.accumulate
    if config.batch_size % parts:
        raise ValueError(
            f"--config.batch_size={config.batch_size} must be a multiple of the "
            f"{jax.device_count()} devices times --config.accumulate={config.accumulate}"
        )
    if not config.steps and not config.epochs:
        raise ValueError("--config.steps or --config.epochs must set the length of the training")
    _check_stage(config)
    _check_exact(config)
    if config.freeze_batchnorm and not config.checkpoint:
        raise ValueError(
            "--config.freeze_batchnorm keeps the running statistics of --config.checkpoint, which "
            "is empty"
        )
    if config.source == "synthetic":
        _check_synthetic(config)
        return data
    for name in ("clutter", "misalignment", "pool_frames"):
        if config[name]:
            raise ValueError(f"--config.{name} applies to --config.source=synthetic only")
    return data


def _check_crop(config: ConfigDict) -> None:
    multiple = crop_multiple(config, "crop")
    if len(config.crop) != 2 or any(size % multiple for size in config.crop):
        reason = f" with --config.mode={config.mode}" if "photo" in config.mode else ""
        raise ValueError(
            f"--config.crop must be two multiples of {multiple}{reason}, got {config.crop}"
        )


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


def _check_exact(config: ConfigDict) -> None:
    for name in ("exact_weight", "edge_weight", "scale_weight"):
        if config[name] and not config.pool_frames:
            raise ValueError(
                f"--config.{name} needs the exact depth of a pool of rendered frames: give "
                "--config.source=synthetic and --config.pool_frames"
            )
    if config.scale_weight and (config.stage == "coarse" or config.fine.patch == 1):
        raise ValueError(
            "--config.scale_weight needs a fine network of patches, which predicts the scale of "
            "its error: give --config.stage=joint or fine, and --config.fine.patch=4"
        )


def _check_pool(config: ConfigDict) -> None:
    validation_crop(config)
    if config.mode not in ("dense", "sparse"):
        raise ValueError(
            f"--config.mode={config.mode} needs nearby frames, which a pool of --config.pool_frames"
            f"={config.pool_frames} does not have; render during training with "
            "--config.pool_frames=0"
        )
    if config.misalignment % 1:
        raise ValueError(
            "--config.misalignment must be a whole number of pixels with --config.pool_frames, "
            f"got {config.misalignment}"
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
            "use constant, cosine or plateau"
        )
    if config.pool_frames:
        _check_pool(config)
