"""What the settings of a training config have an effect on.

It decides which may change when a run is resumed; see `resume` and docs/training.md.
"""

from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path
from typing import Any


class Effect(Enum):
    """What a setting has an effect on."""

    UPDATES = auto()  # every update: refused
    START = auto()  # the weights before the first update: free once a snapshot exists
    LENGTH = auto()  # the number of updates: see `lengths`
    FRAMES = auto()  # where the frames are, and how they are read: see `FrameNames`
    WEIGHTS = auto()  # where the frozen network is: its weights are compared instead
    BEST = auto()  # how `best` is selected: free, and the selection starts again
    NOTHING = auto()  # no number of the run: free


_GROUPS = {
    Effect.UPDATES: """
        stage source split camera pool_frames clutter misalignment crop
        augmentation.flip augmentation.brightness augmentation.contrast augmentation.saturation
        augmentation.random_crop augmentation.beam_probability augmentation.beams
        augmentation.point_dropout augmentation.points augmentation.scale augmentation.rotation
        coarse.layers coarse.modality coarse.width coarse.patch coarse.base coarse.keep_measured
        coarse.min_depth coarse.max_depth fine.min_depth fine.max_depth
        fine.layers fine.modality fine.width fine.patch fine.variant fine.window
        mode depth_loss rmse_weight photometric_weight smoothness_weight exact_weight edge_weight
        scale_weight coarse_weight fine_weight
        optimizer learning_rate schedule decay_epochs warmup_steps weight_decay clip_norm ema_decay
        batch_size accumulate dtype sync_batchnorm freeze_batchnorm seed
        """,
    Effect.START: "init checkpoint",
    Effect.LENGTH: "steps epochs",
    Effect.FRAMES: "data_dir coarse_dir skip_bad_frames points",
    Effect.WEIGHTS: "coarse_checkpoint",
    Effect.BEST: "val_split val_crop",
    Effect.NOTHING: """
        task pool_dir check_files check_depth remat log_every validate_every validate_start
        save_every keep panels threads xla_flags
        coordinator processes process join_timeout
        """,
}
EFFECTS = {name: effect for effect, names in _GROUPS.items() for name in names.split()}
AUGMENTATION = [name for name in EFFECTS if name.startswith("augmentation.")]


def effect(name: str, settings: Mapping[str, Any]) -> Effect:
    """The effect of a setting; that of the coarse model differs between the stages."""
    starts = name == "coarse_checkpoint" and settings["stage"] == "joint"
    return Effect.START if starts else EFFECTS[name]


def unused(settings: Mapping[str, Any]) -> set[str]:
    """The settings of `EFFECTS` that have no effect together with the others."""
    stage, mode = settings["stage"], settings["mode"]
    files, pool = settings["source"] == "files", bool(settings["pool_frames"])
    rules = {
        ("camera", "clutter", "misalignment", "pool_frames"): files,
        ("split",): not files,
        ("val_split", *AUGMENTATION): pool,
        ("decay_epochs",): settings["schedule"] != "step",
        ("depth_loss",): mode == "photo",
        ("rmse_weight",): mode == "photo" or settings["depth_loss"] != "l1+rmse",
        ("photometric_weight", "smoothness_weight"): "photo" not in mode,
        ("coarse_weight", "fine_weight"): stage != "joint",
    }
    names = {name for names, applies in rules.items() if applies for name in names}
    other_networks = {"coarse": ("fine.",), "fine": ("coarse.",), "joint": ()}
    return names | {name for name in EFFECTS if name.startswith(other_networks[stage])}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The settings with another value than before: both values, by name.

    Paths that lead to the same place are equal.
    """
    found = {}
    for name, value in now.items():
        old = before.get(name)
        is_path = EFFECTS[name] in (Effect.FRAMES, Effect.WEIGHTS) or name == "checkpoint"
        if is_path and isinstance(old, str) and old and value:
            same = Path(old).resolve() == Path(value).resolve()
        else:
            same = old == value
        if not same:
            found[name] = (old, value)
    return found
