"""What evaluation and training do with the frames of a dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fcfrnet_jax.commands import tables
from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_image
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics
from fcfrnet_jax.geometry import Size, crop_box
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


def panel_images(config: ConfigDict, split: str, frames: Sequence[Frame]) -> dict[str, Path]:
    """Finds the images of frames, by name, for the panels of models that use no image."""
    return layout.image_files(data_dir(config), split, [frame.name for frame in frames])


def panel(
    frame: Frame,
    example: Arrays,
    maps: Arrays,
    metrics: FrameMetrics,
    images: Mapping[str, Path],
) -> np.ndarray:
    """Draws the panel of a frame, without the image if there is none that can be read.

    Args:
      frame, example, maps, metrics: the arguments of `measure_frames`' `visit`.
      images: of `panel_images`, for an example without an image.
    """
    sparse_depth = example["sparse_depth"][..., 0]
    image = example.get("image")
    if image is None and frame.name in images:
        image = _cropped_image(images[frame.name], sparse_depth.shape)
    return panels.panel(
        image,
        sparse_depth,
        maps,
        example["ground_truth"][..., 0] if frame.ground_truth else None,
        captions=tables.captions(metrics),
    )


def _cropped_image(path: Path, crop: Size) -> np.ndarray | None:
    try:
        image = read_image(path)
        top, left = crop_box(image.shape[:2], crop)
    except (OSError, ValueError) as error:
        logging.warning("The panel has no image: %s", error)
        return None
    return image[top : top + crop[0], left : left + crop[1]]
