"""Reads a training config: the models, frames, optimizer and batches that it asks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from fcfrnet_jax.data import check, kitti
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.data.frame import Frame, check_calibrated
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.models import Network, TwoStage
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, Spec, TwoStageSpec
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.prediction.predictor import DTYPES
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets import sample
from fcfrnet_jax.training import optimizers
from fcfrnet_jax.training.file_batches import augmented_batches
from fcfrnet_jax.training.loop import Schedule, Source
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.state import Variables
from fcfrnet_jax.training.street_batches import Streets, scene_batches
from fcfrnet_jax.training.update import with_frozen
from fcfrnet_jax.weights import checkpoint

STAGES = ("coarse", "fine", "joint")
SOURCES = ("files", "synthetic")
# How far away the nearby frame of the photometric loss may be, in frames, as in the reference.
NEAR_REACH = 3


@dataclass(frozen=True)
class Model:
    """What is trained, and the coarse network that runs frozen before it, if there is one.

    Attributes:
      spec: of the trained variables.
      network: what the training step runs; a `TwoStage` where a coarse network is frozen.
      frozen: the variables of the frozen coarse network, or `{}`.
    """

    spec: Spec
    network: Network
    frozen: Variables

    def whole(self, trained: Variables) -> tuple[Spec, Variables]:
        """The model to evaluate and to keep: the trained network behind the frozen one."""
        if not self.frozen:
            return self.spec, trained
        assert isinstance(self.network, TwoStage)
        return self.network.spec, with_frozen(self.frozen, trained)


def check_config(config: ConfigDict) -> None:
    """Raises ValueError for a setting that cannot be, before anything is loaded."""
    for name, allowed in (
        ("stage", STAGES),
        ("source", SOURCES),
        ("split", ("train", "val")),
        ("val_split", ("train", "val", "val_selection")),
        ("dtype", DTYPES),
    ):
        if config[name] not in allowed:
            raise ValueError(
                f"config.{name} must be one of {', '.join(allowed)}, got {config[name]!r}"
            )
    if len(config.crop) != 2 or any(size < 16 or size % 16 for size in config.crop):
        raise ValueError(f"config.crop must be two multiples of 16, got {config.crop}")
    parts = jax.device_count() * config.accumulate
    if config.batch_size < 1 or config.accumulate < 1 or config.batch_size % parts:
        raise ValueError(
            f"config.batch_size={config.batch_size} does not divide by the {jax.device_count()} "
            f"devices and config.accumulate={config.accumulate}"
        )
    if config.coarse_dir and config.stage != "fine":
        raise ValueError("config.coarse_dir is for config.stage=fine, which trains on stored maps")
    if config.stage == "fine" and bool(config.coarse_dir) == bool(config.coarse_checkpoint):
        raise ValueError(
            "config.stage=fine needs the coarse depth from --config.coarse_checkpoint or from "
            "--config.coarse_dir, one of them"
        )
    if config.stage == "coarse" and config.coarse_checkpoint:
        raise ValueError("config.stage=coarse starts from --config.checkpoint")
    if not 0 < config.residual_share <= 1:
        raise ValueError(
            f"config.residual_share must be over 0 and at most 1, got {config.residual_share}"
        )
    if config.stage == "coarse" and config.residual_share != 1:
        raise ValueError("config.residual_share is the fine network's, and config.stage=coarse")
    if config.source == "synthetic":
        _check_endless(config)
        return
    for name in ("clutter", "misalignment"):
        if config[name]:
            raise ValueError(f"config.{name} is for rendered streets: --config.source=synthetic")


def _check_endless(config: ConfigDict) -> None:
    """Checks the settings that mean something else, or nothing, without files."""
    if config.coarse_dir:
        raise ValueError(
            "config.source=synthetic has no stored maps: give --config.coarse_checkpoint instead "
            f"of --config.coarse_dir={config.coarse_dir}"
        )
    if config.steps < 1:
        raise ValueError("config.source=synthetic has no epochs: say how long with --config.steps")
    camera, crop = tuple(config.camera), tuple(config.crop)
    if len(camera) != 2 or camera[0] < crop[0] or camera[1] < crop[1]:
        raise ValueError(
            f"config.camera={camera} should be the rows and columns of a picture that config.crop="
            f"{crop} is a part of"
        )
    if config.schedule == "step":
        raise ValueError(
            "config.schedule=step counts epochs, which config.source=synthetic does not have: "
            "take constant or cosine"
        )


def make_objective(config: ConfigDict) -> Objective:
    return Objective(
        mode=config.mode,
        depth_loss=config.depth_loss,
        photometric_weight=config.photometric_weight,
        smoothness_weight=config.smoothness_weight,
        coarse_weight=config.coarse_weight,
        fine_weight=config.fine_weight,
    )


def make_model(config: ConfigDict) -> Model:
    """Builds the trained network and loads the frozen one.

    Raises:
      ValueError: an impossible network, or a checkpoint that cannot be used.
    """
    coarse = SparseToCoarseSpec(**config.coarse.to_dict())
    fine = CoarseToFineSpec(**config.fine.to_dict())
    specs: dict[str, Spec] = {"coarse": coarse, "fine": fine, "joint": TwoStageSpec(coarse, fine)}
    spec = specs[config.stage]
    dtype = jnp.dtype(config.dtype)
    if config.stage != "fine" or not config.coarse_checkpoint:
        return Model(spec, select.for_training(spec, dtype=dtype, remat=config.remat), {})
    frozen_spec, frozen = checkpoint.load_model(config.coarse_checkpoint)
    if not isinstance(frozen_spec, SparseToCoarseSpec):
        raise ValueError(
            f"--config.coarse_checkpoint={config.coarse_checkpoint} holds a {frozen_spec.network} "
            f"model, expected {SparseToCoarseSpec.network}"
        )
    network: Any = select.for_training(
        TwoStageSpec(frozen_spec, fine), dtype=dtype, remat=config.remat
    )
    return Model(spec, network.clone(freeze_coarse=True), frozen)


def starting_variables(config: ConfigDict, model: Model) -> dict[str, Any]:
    """The variables before the first update: of the checkpoints that the config names, or drawn.

    Raises:
      ValueError: a checkpoint of another model than the config describes.
    """
    drawn = initial_variables(model.spec, config.seed, config.init)
    if config.checkpoint:
        return _load(config.checkpoint, model.spec)
    if config.stage == "joint" and config.coarse_checkpoint:
        assert isinstance(model.spec, TwoStageSpec)
        loaded = _load(config.coarse_checkpoint, model.spec.coarse)
        return {kind: tree | {"coarse": loaded[kind]} for kind, tree in drawn.items()}
    return drawn


def _load(folder: str, wanted: Spec) -> Variables:
    spec, variables = checkpoint.load_model(folder)
    if spec != wanted:
        raise ValueError(f"{folder} holds {spec}, the config describes {wanted}")
    return variables


def find_frames(config: ConfigDict, split: str, model: Model, objective: Objective) -> list[Frame]:
    """The frames of a split, with every file that training or validation reads.

    Raises:
      ValueError: no frames, files without a partner, or files that cannot be used.
    """
    data_dir = Path(config.data_dir).expanduser() if config.data_dir else sample.sample_dir()
    require = {"image"} if model.spec.uses_image or "photo" in config.mode else set()
    if split == config.val_split or objective.supervision == "ground_truth":
        require.add("ground_truth")
    frames = kitti.find_frames(
        data_dir, split, coarse_dir=config.coarse_dir or None, require=require
    )
    if not (config.check_files or config.skip_bad_frames):
        return frames
    bad = check.check_frames(frames, tuple(config.crop))
    if not config.skip_bad_frames:
        check.raise_bad_frames(bad)
    frames = check.drop_bad_frames(frames, bad)
    check.check_density(frames)
    return frames


def make_schedule(config: ConfigDict, epoch: int) -> Schedule:
    """When things happen; the length is `config.steps`, or else `config.epochs` of `epoch` frames.

    Raises:
      ValueError: a run without a length or snapshots.
    """
    total = config.steps or -(-config.epochs * epoch // config.batch_size)
    if total < 1:
        raise ValueError("config.steps or config.epochs must say how long to train")
    if config.save_every < 1 or config.keep < 1:
        raise ValueError("config.save_every and config.keep must be 1 or more")
    return Schedule(total, config.log_every, config.validate_every, config.save_every)


def make_learning_rate(config: ConfigDict, epoch: int, total: int) -> optax.Schedule:
    decay_every = config.decay_epochs * epoch // config.batch_size
    return optimizers.make_schedule(
        config.schedule,
        config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_every=max(decay_every, 1) if config.schedule == "step" else None,
        total_steps=total if config.schedule == "cosine" else None,
    )


def make_source(config: ConfigDict, model: Model, objective: Objective) -> Source:
    """Where the training's examples come from: the frames of the split, or rendered streets.

    Raises:
      ValueError: a setting or a data file that cannot be used.
    """
    augmentation = Augmentation(**config.augmentation.to_dict())
    near = "photo" in config.mode
    if config.source == "files":
        frames = find_frames(config, config.split, model, objective)
        return _stored(config, frames, augmentation, NEAR_REACH if near else 0)
    camera, lidar = scaled_rig(tuple(config.camera))
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
