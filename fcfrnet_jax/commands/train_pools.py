"""The pools of rendered frames that a training config describes."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax import progress
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.files import cache_dir
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.streets.data_set import VERSION
from fcfrnet_jax.streets.pool import SHARD, VIEWS, Pool, PoolPlan, write_pool
from fcfrnet_jax.training.loop import Source
from fcfrnet_jax.training.pool_batches import Windows, pool_batches


def pool_source(config: ConfigDict, process: tuple[int, int]) -> Source:
    """Windows of the pool of training frames, which is rendered if it is missing.

    Raises:
      ValueError: a setting cannot be used.
      OSError: the pool cannot be written.
    """
    pool = _pool(config, "train", PoolPlan(config.pool_frames, config.seed))
    windows = Windows(
        config.seed,
        tuple(config.crop),
        clutter=config.clutter,
        misalignment=round(config.misalignment),
    )

    def batches(first_step: int) -> Iterator[tuple[np.ndarray, Batch]]:
        return pool_batches(
            pool, windows, batch_size=config.batch_size, first_step=first_step, process=process
        )

    return Source(batches, lambda i: f"pool position {i} of seed {config.seed}", epoch=0)


def validation_pool(config: ConfigDict) -> Pool:
    """Frames that are not trained on, seen with KITTI's sensors."""
    # The streets of a pool are those of a seed, from the first on.
    return _pool(config, "val", PoolPlan(SHARD, config.seed + 1, VIEWS[:1], (1,)))


def _pool(config: ConfigDict, name: str, plan: PoolPlan) -> Pool:
    root = Path(config.pool_dir) if config.pool_dir else cache_dir() / f"pool-v{VERSION}"
    with named("pool_dir"):
        show = partial(progress.frames_progress, label=f"Rendering for {name}")
        return write_pool(root / name, plan, show)
