"""A small made-up data set in KITTI's layout, so that every command can run without a download."""

import os
from pathlib import Path

from fcfrnet_jax.files import cache_dir
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.streets.data_set import VERSION, Plan, scaled_rig, write_data_set

SAMPLE_NAME = f"sample-v{VERSION}"


def sample_dir(cache: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the sample data set, which is made on the first call.

    Args:
      cache: where to keep it; by default `files.cache_dir()`.

    Raises:
      OSError: the cache folder cannot be written.
      ValueError: something else stands in the data set's place.
    """
    try:
        root = (cache_dir() if cache is None else Path(cache)) / SAMPLE_NAME
        write_sample(root)
    except (OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
        raise OSError(
            f"cannot keep the sample data set in a cache folder ({error}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return root


def write_sample(
    root: str | os.PathLike,
    frames: int = 6,
    seed: int = 0,
    height: int = KITTI.height,
    width: int = KITTI.width,
) -> None:
    """Writes a data set of synthetic frames in the layout of KITTI's depth benchmark.

    `val` and `depth_selection` get `frames` frames, each of its own street; `train` gets one
    drive of half as many, a metre apart; `raw` the colour images and the calibration. The data set
    appears whole or not at all, see `rendered.write_data_set`.

    Args:
      root: the folder to make.
      frames: 1 to 20.
      seed: of the streets.
      height, width: of the uncropped pictures; smaller ones show the same view.

    Raises:
      ValueError: too few or too many frames, or `root` holds anything but this data set.
      OSError: `root` cannot be written.
    """
    if frames < 1:
        raise ValueError(f"a sample data set needs at least 1 frame, got {frames}")
    drive = (frames + 1) // 2
    camera, lidar = scaled_rig((height, width))
    plan = Plan(drive, frames, frames, drive_length=drive, seed=seed, camera=camera, lidar=lidar)
    write_data_set(root, plan)
