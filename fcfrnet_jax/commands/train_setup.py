"""Builds what a training config describes: model, frames, batches, optimizer and schedule."""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from fcfrnet_jax.commands import dataset
from fcfrnet_jax.commands.settings import flagged, named
from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.data.frame import Frame, check_calibrated
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.models import Network, TwoStage, Variables, join_variables
from fcfrnet_jax.networks.specs import (
    CoarseToFineSpec,
    SparseToCoarseSpec,
    Spec,
    TwoStageSpec,
)
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.training import optimizers
from fcfrnet_jax.training.file_batches import augmented_batches
from fcfrnet_jax.training.loop import Intervals, Source
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.street_batches import Streets, scene_batches
from fcfrnet_jax.weights import checkpoint

# Largest distance, in frames, of the nearby frame of the photometric loss, as in the reference.
NEAR_REACH = 3


@dataclass(frozen=True)
class TrainedModel:
    """The model to train and the frozen coarse network before it, if there is one.

    Attributes:
      spec: of the trained variables.
      network: what the training step runs; a `TwoStage` if it includes a frozen coarse network.
      frozen: the variables of the frozen coarse network, or `{}`.
    """

    spec: Spec
    network: Network
    frozen: Variables

    def whole(self, trained: Variables) -> tuple[Spec, Variables]:
        """The model to evaluate and save: the frozen network, if any, and the trained one."""
        if not self.frozen:
            return self.spec, trained
        assert isinstance(self.network, TwoStage)
        return self.network.spec, join_variables(self.frozen, trained)


def make_objective(config: ConfigDict) -> Objective:
    """The losses that the config describes.

    Raises:
      ValueError: an unknown mode or loss, or a negative weight.
    """
    """The losses and their weights.

    Raises:
      ValueError: an unknown mode or loss, or a negative weight.
    """
    with flagged():
        return Objective(
            mode=config.mode,
            depth_loss=config.depth_loss,
            photometric_weight=config.photometric_weight,
            smoothness_weight=config.smoothness_weight,
            coarse_weight=config.coarse_weight,
            fine_weight=config.fine_weight,
        )


def make_model(config: ConfigDict) -> TrainedModel:
    """Builds the network to train and loads the frozen one.

    Raises:
      ValueError: an invalid network, or a checkpoint that cannot be used.
    """
    with named("coarse"):
        coarse = SparseToCoarseSpec(**config.coarse.to_dict())
    with named("fine"):
        fine = CoarseToFineSpec(**config.fine.to_dict())
    specs: dict[str, Spec] = {"coarse": coarse, "fine": fine, "joint": TwoStageSpec(coarse, fine)}
    spec = specs[config.stage]
    dtype = jnp.dtype(config.dtype)
    if config.stage != "fine" or not config.coarse_checkpoint:
        return TrainedModel(spec, select.for_training(spec, dtype=dtype, remat=config.remat), {})
    with named("coarse_checkpoint"):
        frozen_spec, frozen = checkpoint.load_model(config.coarse_checkpoint)
    if not isinstance(frozen_spec, SparseToCoarseSpec):
        raise ValueError(
            f"--config.coarse_checkpoint={config.coarse_checkpoint} holds a {frozen_spec.network} "
            f"model, expected {SparseToCoarseSpec.network}"
        )
    network = select.for_training(TwoStageSpec(frozen_spec, fine), dtype=dtype, remat=config.remat)
    return TrainedModel(spec, network.clone(freeze_coarse=True), frozen)


def find_frames(
    config: ConfigDict, split: str, model: TrainedModel, objective: Objective
) -> list[Frame]:
    """The frames of a split, with every file that training or validation reads.

    Raises:
      ValueError: there are no frames, or files are missing or cannot be used.
    """
    require = {"image"} if model.spec.uses_image or "photo" in config.mode else set()
    if split == config.val_split or objective.supervision == "ground_truth":
        require.add("ground_truth")
    frames = kitti.find_frames(
        dataset.data_dir(config), split, coarse_dir=config.coarse_dir or None, require=require
    )
    if not (config.check_files or config.skip_bad_frames):
        return frames
    return dataset.checked(config, frames, tuple(config.crop))[0]


def make_intervals(config: ConfigDict, epoch: int) -> Intervals:
    """When the loop records, validates and saves, and how long it trains.

    Args:
      config: its length is `steps` or, if that is 0, `epochs`.
      epoch: the number of frames in an epoch.

    Raises:
      ValueError: the config gives no length, or no snapshots.
    """
    total = config.steps or -(-config.epochs * epoch // config.batch_size)
    if total < 1:
        raise ValueError("--config.steps or --config.epochs must set the length of the training")
    if config.save_every < 1 or config.keep < 1:
        raise ValueError(
            "--config.save_every and --config.keep must be at least 1, got "
            f"{config.save_every} and {config.keep}"
        )
    return Intervals(total, config.log_every, config.validate_every, config.save_every)


def make_learning_rate(config: ConfigDict, epoch: int, total: int) -> optax.Schedule:
    """The learning rate as a function of the step, for epochs of `epoch` frames.

    Raises:
      ValueError: settings that make no schedule.
    """
    if config.schedule == "cosine" and total <= config.warmup_steps:
        raise ValueError(
            f"a training of {total} steps ends before --config.warmup_steps={config.warmup_steps} "
            "are over, after which --config.schedule=cosine begins; change --config.steps or "
            "--config.warmup_steps"
        )
    decay_every = config.decay_epochs * epoch // config.batch_size
    with named("schedule"):
        return optimizers.make_schedule(
            config.schedule,
            config.learning_rate,
            warmup_steps=config.warmup_steps,
            decay_every=max(decay_every, 1) if config.schedule == "step" else None,
            total_steps=total if config.schedule == "cosine" else None,
        )


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


def make_source(config: ConfigDict, model: TrainedModel, objective: Objective) -> Source:
    """The source of training examples: the frames of the split, or rendered streets.

    Raises:
      ValueError: a setting or a data file cannot be used.
    """
    with named("augmentation"):
        augmentation = Augmentation(**config.augmentation.to_dict())
    near = "photo" in config.mode
    if config.source == "files":
        frames = find_frames(config, config.split, model, objective)
        return _stored(config, frames, augmentation, NEAR_REACH if near else 0)
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


def _process() -> tuple[int, int]:
    return jax.process_index(), jax.process_count()
