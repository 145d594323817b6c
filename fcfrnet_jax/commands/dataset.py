"""What evaluation and training do with the frames of a dataset."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax.commands import tables
from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.pictures import panels
from fcfrnet_jax.streets import sample


def data_dir(config: ConfigDict) -> Path:
    """The folder of the dataset; the sample frames are rendered if they are missing."""
    return Path(config.data_dir) if config.data_dir else sample.sample_dir()


def checked(
    config: ConfigDict, frames: Sequence[Frame], crop: Size
) -> tuple[list[Frame], list[check.BadFile]]:
    """Reads every file of the frames.

    Args:
      config: its `skip_bad_frames` leaves out frames instead of raising an error.
      frames: the frames.
      crop: (height, width) in pixels that must fit into each frame; 0 fits into any frame.

    Returns:
      The frames that can be used, and the bad files of the others.

    Raises:
      ValueError: files cannot be used and `config.skip_bad_frames` is off.
    """
    bad = check.check_frames(frames, crop)
    if not config.skip_bad_frames:
        check.raise_bad_files(bad)
    good = check.drop_bad_frames(frames, bad)
    check.check_density(good)
    return good, bad


def panel(frame: Frame, example: Arrays, maps: Arrays, metrics: FrameMetrics) -> np.ndarray:
    """Draws the panel of a frame; the arguments are those of `measure_frames`' `visit`."""
    return panels.panel(
        example.get("image"),
        example["sparse_depth"][..., 0],
        maps,
        example["ground_truth"][..., 0] if frame.ground_truth else None,
        captions=tables.captions(metrics),
    )
