"""A small synthetic dataset in KITTI's layout, for running the commands without a download."""

import os
from pathlib import Path

from fcfrnet_jax.files import cache_dir
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.data_set import VERSION, Plan, write_data_set

SAMPLE_NAME = f"sample-v{VERSION}"


def sample_dir(cache: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the sample dataset, which is written on the first call.

    Args:
      cache: the folder to keep it in, by default `files.cache_dir()`.

    Raises:
      OSError: the cache folder cannot be written.
      ValueError: the dataset's folder exists and holds something else.
    """
    try:
        root = (cache_dir() if cache is None else Path(cache)) / SAMPLE_NAME
        write_sample(root)
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        raise OSError(
            f"cannot keep the sample dataset in a cache folder ({error}); "
            "set XDG_CACHE_HOME to a writable folder"
        ) from error
    return root


def write_sample(
    root: str | os.PathLike,
    frames: int = 6,
    seed: int = 0,
    height: int = KITTI.height,
    width: int = KITTI.width,
) -> None:
    """Writes a dataset of rendered frames in the layout of KITTI's depth benchmark.

    `val` and `depth_selection` contain `frames` frames, each of a different street. `train` has one
    drive with half as many, one metre apart. `raw` has the colour images and the calibration. The
    folder is complete as soon as it exists, see `data_set.write_data_set`.

    Args:
      root: the folder to create.
      frames: the number of frames, 1 to 20.
      seed: the random seed of the streets.
      height, width: the size of the uncropped images; the field of view is always KITTI's.

    Raises:
      ValueError: `frames` is out of range, or `root` exists and is not this dataset.
      OSError: `root` cannot be written.
    """
    if frames < 1:
        raise ValueError(f"a sample dataset needs at least 1 frame, got {frames}")
    drive = (frames + 1) // 2
    camera, lidar = scaled_rig((height, width))
    plan = Plan(drive, frames, frames, drive_length=drive, seed=seed, camera=camera, lidar=lidar)
    write_data_set(root, plan)
