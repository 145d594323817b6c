"""The pools of rendered frames that a training config describes."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax import parallel, progress
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.files import cache_dir
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.sensors.views import VIEWS
from fcfrnet_jax.streets.data_set import VERSION
from fcfrnet_jax.streets.pool import SHARD, Pool, PoolPlan, write_pool
from fcfrnet_jax.training.loop import Source
from fcfrnet_jax.training.pool_batches import Windows, pool_batches
from fcfrnet_jax.training.pool_validation import Frames

# The streets of each pool. They do not depend on the seed of the config, so that runs share their
# frames and their validations can be compared.
SEEDS = {"train": 0, "val": 1, "val_dense": 2}


def plans(config: ConfigDict) -> dict[str, PoolPlan]:
    """The pools by the name of their folder.

    Training frames are seen with all `VIEWS`. Validation frames have KITTI's sensors, without or
    with dense traffic.

    Raises:
      ValueError: a setting outside its range.
    """
    views = tuple(view.scaled(tuple(config.camera)) for view in VIEWS)
    with named("pool_frames"):
        training = PoolPlan(config.pool_frames, SEEDS["train"], views)
    found = {"train": training}
    for name, dense in (("val", 0.0), ("val_dense", 1.0)):
        found[name] = PoolPlan(SHARD, SEEDS[name], views[:1], (1,), dense)
    return found


def render(config: ConfigDict) -> None:
    """Renders what is missing of the pools, with a progress bar.

    With several processes, the first one renders. The others then render what they do not see.

    Raises:
      ValueError: a folder holds something else.
      OSError: a folder cannot be written.
    """
    with parallel.ending_together():
        if jax.process_index() == 0:
            _write(config)
    _write(config)


def training_source(config: ConfigDict) -> Source:
    """Windows of the training frames, which must have been rendered before batches are opened.

    Raises:
      ValueError: a setting outside its range.
    """
    plan = plans(config)["train"]
    windows = Windows(
        config.seed,
        tuple(config.crop),
        clutter=config.clutter,
        misalignment=int(config.misalignment),
    )
    process = jax.process_index(), jax.process_count()

    def batches(first_step: int) -> Iterator[tuple[np.ndarray, Batch]]:
        return pool_batches(
            Pool(_folder(config, "train"), plan),
            windows,
            batch_size=config.batch_size,
            first_step=first_step,
            process=process,
        )

    return Source(batches, lambda i: f"example {i} of the pool with seed {config.seed}", epoch=0)


def validation_frames(config: ConfigDict) -> Frames:
    """The frames to validate on, which must have been rendered."""
    found = plans(config)
    return Frames(*(Pool(_folder(config, name), found[name]) for name in ("val", "val_dense")))


def _write(config: ConfigDict) -> None:
    for name, plan in plans(config).items():
        show = partial(progress.frames_progress, label=f"Rendering {name} frames")
        with named("pool_dir"):
            write_pool(_folder(config, name), plan, show)


def _folder(config: ConfigDict, name: str) -> Path:
    root = Path(config.pool_dir) if config.pool_dir else cache_dir() / f"pool-v{VERSION}"
    return root / name
