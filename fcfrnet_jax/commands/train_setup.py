"""Builds what a training config describes: losses, frames, batches, optimizer and schedule."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from fcfrnet_jax.commands import dataset
from fcfrnet_jax.commands.rendered import pools
from fcfrnet_jax.commands.settings import flagged, named
from fcfrnet_jax.commands.trained_model import TrainedModel
from fcfrnet_jax.commands.workdir import Found
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.data.frame import Frame, check_calibrated
from fcfrnet_jax.data.frame_names import FrameNames
from fcfrnet_jax.data.poses import pose_failure
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.data.train_pipeline import make_train_dataset, near_frames, training_columns
from fcfrnet_jax.files import list_some
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.training import optimizers
from fcfrnet_jax.training.file_batches import augmented_batches
from fcfrnet_jax.training.loop import Source
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.street_batches import Streets, scene_batches

# Largest distance, in frames, of the nearby frame of the photometric loss, as in the reference.
NEAR_REACH = 3
# How many poses are estimated before training, about 0.5 s each, until one is found.
POSES_TRIED = 4


def make_objective(config: ConfigDict) -> Objective:
    """The losses and their weights.

    Raises:
      ValueError: an unknown mode or loss, or a weight outside its range.
    """
    with flagged():
        return Objective(
            mode=config.mode,
            depth_loss=config.depth_loss,
            rmse_weight=config.rmse_weight,
            photometric_weight=config.photometric_weight,
            smoothness_weight=config.smoothness_weight,
            exact_weight=config.exact_weight,
            edge_weight=config.edge_weight,
            scale_weight=config.scale_weight,
            coarse_weight=config.coarse_weight,
            fine_weight=config.fine_weight,
        )


def training_frames(
    config: ConfigDict, data: DataSet, model: TrainedModel, objective: Objective
) -> tuple[list[Frame], FrameNames]:
    """The frames to train on, with every file that training reads.

    Returns:
      The frames that can be used, and the names of all.

    Raises:
      ValueError: there are no frames, or files are missing or cannot be used.
    """
    near = "photo" in config.mode
    require = {"image"} if model.spec.uses_image or near else set()
    if objective.supervision == "ground_truth" or config.augmentation.points:
        require.add("ground_truth")
    if near or config.augmentation.beams:
        require.add("intrinsics")
    return _find_frames(
        config, data, config.split, require, "crop", at_random=config.augmentation.random_crop
    )


def validation_frames(
    config: ConfigDict, data: DataSet, model: TrainedModel
) -> tuple[list[Frame], FrameNames]:
    """The frames to validate on, as in `training_frames`, with every file that validation reads."""
    require = {"image", "ground_truth"} if model.spec.uses_image else {"ground_truth"}
    with named(f"val_split={config.val_split}"):
        return _find_frames(config, data, config.val_split, require, "val_crop", at_random=False)


def _find_frames(
    config: ConfigDict, data: DataSet, split: str, require: set[str], crop: str, *, at_random: bool
) -> tuple[list[Frame], FrameNames]:
    reads = config.check_files or config.skip_bad_frames
    frames, bad = dataset.find_frames(
        config, data, split, require, crop_setting=crop, random_crop=at_random, read_files=reads
    )
    # The metrics depend on the limits, but the updates do not.
    limits = f" {data.limits}" if data.reading and crop == "val_crop" else ""
    left_out = (item.frame.name for item in bad)
    return frames, FrameNames.of((f.name for f in frames), left_out, data.reading + limits)


def total_steps(settings: Mapping[str, Any], epoch: int) -> int:
    """The number of updates that settings ask for, with epochs of `epoch` frames."""
    return settings["steps"] or -(-settings["epochs"] * epoch // settings["batch_size"])


def lengths(found: Found, total: int, settings: Mapping[str, Any], before: int) -> list[int]:
    """The steps at which the learning rate schedule ends: one, and one for each extension.

    A schedule that does not depend on the length of the run can be continued to any length. A
    cosine must be finished first. It then restarts for the added steps, as in SGDR (Loshchilov and
    Hutter 2017), with its warm-up.

    Args:
      found: the workdir.
      total: the number of updates that the config asks for.
      settings: the settings of the config.
      before: the number of updates that the run was started with, in a workdir that does not
        record it.

    Raises:
      ValueError: the run is beyond `total`, or its cosine is not finished, or the added steps are
        too few for the warm-up.
    """
    step = found.step
    given = f"steps={settings['steps']}" if settings["steps"] else f"epochs={settings['epochs']}"
    if not step:
        return [total]
    if total < step:
        raise ValueError(
            f"{found.folder} is at step {step} already, and --config.{given} ends at step {total}; "
            f"give a length of at least {step} steps, or choose another --workdir"
        )
    recorded = found.facts.get("lengths", [before])
    if settings["schedule"] == "plateau":
        optimizers.check_plateau(step, recorded[-1], total)
    if settings["schedule"] != "cosine":
        return [total]
    if total in recorded:
        return recorded[: recorded.index(total) + 1]
    # An extension of which no step was made may be replaced.
    recorded = [end for start, end in pairwise([0, *recorded]) if start < step]
    last = recorded[-1]
    if step < last:
        raise ValueError(
            f"{found.folder} is at step {step} of {last}, and --config.{given} would end it at "
            f"step {total}: the learning rate of the cosine schedule depends on the length; finish "
            f"it with {last} steps, after which it can be extended, or choose another --workdir"
        )
    if total - last <= settings["warmup_steps"]:
        raise ValueError(
            f"{found.folder} is finished at step {last}, and the {total - last} added steps end "
            f"before the warm-up of the restarted cosine, --config.warmup_steps="
            f"{settings['warmup_steps']}; add more steps"
        )
    return [*recorded, total]


def make_learning_rate(config: ConfigDict, epoch: int, ends: Sequence[int]) -> optax.Schedule:
    """The learning rate as a function of the step.

    Args:
      config: the config.
      epoch: the number of frames in an epoch.
      ends: the steps at which the schedule ends, see `lengths`. With more than one, a cosine
        restarts at each of them except the last.

    Raises:
      ValueError: settings that make no schedule.
    """
    decay_every, schedules = max(config.decay_epochs * epoch // config.batch_size, 1), []
    for length in (end - start for start, end in pairwise([0, *ends])):
        if config.schedule == "cosine" and length <= config.warmup_steps:
            raise ValueError(
                f"a training of {length} steps ends before --config.warmup_steps="
                f"{config.warmup_steps} are over, after which --config.schedule=cosine begins; "
                f"add steps, or set --config.warmup_steps={length // 10}"
            )
        with named("schedule"):
            made = optimizers.make_schedule(
                config.schedule,
                config.learning_rate,
                warmup_steps=config.warmup_steps,
                decay_every=decay_every if config.schedule == "step" else None,
                total_steps=length if config.schedule in optimizers.FINITE else None,
            )
        schedules.append(made)
    return schedules[0] if len(schedules) == 1 else optax.join_schedules(schedules, ends[:-1])


def make_optimizer(
    config: ConfigDict, learning_rate: optax.Schedule
) -> optax.GradientTransformation:
    """The optimizer that the config describes.

    Raises:
      ValueError: an unknown optimizer, or a setting outside its range.
    """
    with named("optimizer"):
        return optimizers.make_optimizer(
            config.optimizer,
            learning_rate,
            weight_decay=config.weight_decay,
            clip_norm=config.clip_norm or None,
        )


def make_source(config: ConfigDict, frames: list[Frame]) -> Source:
    """The source of training examples: `frames`, or rendered streets.

    Raises:
      ValueError: a setting or a data file cannot be used.
    """
    with named("augmentation"):
        augmentation = Augmentation(**config.augmentation.to_dict())
    near = "photo" in config.mode
    if config.source == "files":
        return _stored(config, frames, augmentation, NEAR_REACH if near else 0)
    if config.pool_frames:
        return pools.training_source(config)
    camera, lidar = scaled_rig(tuple(config.camera))
    with named("source=synthetic"):
        streets = Streets(
            seed=config.seed,
            crop=tuple(config.crop),
            augmentation=augmentation,
            near=near,
            clutter=config.clutter,
            misalignment=config.misalignment,
            camera=camera,
            lidar=lidar,
        )

    def batches(first_step: int) -> Iterator[tuple[np.ndarray, Batch]]:
        return scene_batches(
            streets, batch_size=config.batch_size, first_step=first_step, process=_process()
        )

    return Source(batches, lambda i: f"synthetic frame {i} of seed {config.seed}", epoch=0)


def _stored(
    config: ConfigDict, frames: list[Frame], augmentation: Augmentation, near_reach: int
) -> Source:
    # The batches are opened when training begins, which is too late to refuse the frames.
    training_columns(frames)
    if near_reach:
        near_frames(frames, near_reach)
    if augmentation.beams:
        check_calibrated(frames, "leaving out beams")

    def batches(first_step: int) -> Iterator[tuple[np.ndarray, Batch]]:
        stream = make_train_dataset(
            frames,
            batch_size=config.batch_size,
            crop=tuple(config.crop),
            seed=config.seed,
            random_crop=augmentation.random_crop,
            first_step=first_step,
            near_reach=near_reach,
            process=_process(),
            threads=config.threads or None,
        )
        return augmented_batches(stream, augmentation, config.seed)

    return Source(batches, lambda i: frames[i].name, epoch=len(frames))


def photometric_notes(config: ConfigDict, frames: Sequence[Frame]) -> list[str]:
    """How many training frames the photometric loss can use, and why if it is none.

    Poses are estimated during training; here it is tried for a few frames.

    Raises:
      ValueError: a file of these frames cannot be read.
    """
    if "photo" not in config.mode or config.source != "files" or not config.photometric_weight:
        return []
    near = near_frames(frames, NEAR_REACH)
    paired = [i for i, found in enumerate(near) if found != [i]]
    notes = [
        f"Photometric loss: {len(paired)} of {len(frames)} frames have neighbours, at most "
        f"{NEAR_REACH} frames away in their drive."
    ]
    failures = []
    for i in paired[:: -(-len(paired) // POSES_TRIED)]:
        failure = pose_failure(frames[i], frames[near[i][0]])
        if failure is None:
            return notes
        failures.append(f"{frames[i].name}: {failure}")
    return [
        *notes,
        "Warning: the photometric loss may stay 0. No pose was found for the frames that were "
        f"tried: {list_some(failures)}.",
    ]


def _process() -> tuple[int, int]:
    return jax.process_index(), jax.process_count()
