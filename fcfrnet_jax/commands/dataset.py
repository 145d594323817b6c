"""What evaluation and training do with the frames of a dataset."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from fcfrnet_jax.commands import tables
from fcfrnet_jax.commands.data import certificate, opening
from fcfrnet_jax.commands.settings import crop_multiple
from fcfrnet_jax.data import check, plausibility, sets
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.images import read_image
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.evaluation.frames import Arrays, FrameMetrics
from fcfrnet_jax.geometry import Size, crop_box
from fcfrnet_jax.pictures import panels
from fcfrnet_jax.pictures.colours import MAX_DEPTH, MAX_ERROR

# Metres. The largest error that panels distinguish indoors.
INDOOR_ERROR = 1.0


def find_frames(
    config: ConfigDict,
    data: DataSet,
    split: str,
    require: Collection[str],
    *,
    crop_setting: str = "crop",
    random_crop: bool = False,
    read_files: bool = True,
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of a split that can be used.

    Args:
      config: of evaluation or training.
      data: its data set.
      split: one of `DataSet.splits`.
      require: what every frame needs in addition to its sparse depth, as in `kitti.search_frames`.
      crop_setting: the setting with the crop at the bottom centre; 0 fits into any frame.
      random_crop: whether the crop is placed at random.
      read_files: whether every file is read, or only its existence is checked. A current
        `check_data.json` replaces the reading, see `certificate`. With `config.check_depth`, the
        files of sampled frames are read in any case.

    Returns:
      The frames that can be used, and the bad files of the others.

    Raises:
      ValueError: frames cannot be used and `config.skip_bad_frames` is off, no frame is left, or
        the depth of sampled frames is impossible and `config.check_depth` is on.
    """
    found, bad = data.search(split, coarse_dir=config.coarse_dir or None, require=require)
    crop = tuple(config[crop_setting])
    if read_files:
        bad_files = certificate.known_bad_files(
            opening.data_dir(config), split, found, crop, random_crop=random_crop
        )
        if bad_files is None:
            # An image whose pixels alone are damaged is rare. Without `skip_bad_frames` it ends the
            # run when it is read, with its name.
            bad_files = check.check_frames(
                found, crop, random_crop=random_crop, image_pixels=config.skip_bad_frames
            )
        bad = bad + bad_files
    good = check.without_bad(found, bad)
    if not (good and config.skip_bad_frames):
        check.raise_bad_files(bad, _advice(config, good, bad, crop_setting))
    check.log_left_out(bad)
    if config.check_depth:
        sampled = plausibility.sample_frames(good)
        if not read_files:
            bad_samples = check.check_frames(
                sampled, crop, random_crop=random_crop, image_pixels=False
            )
            others = check.without_bad(good, bad_samples)
            check.raise_bad_files(bad_samples, _advice(config, others, bad_samples, crop_setting))
        opening.check_depth(sampled, (0, 0) if random_crop else crop, data)
    return good, bad


def find_frames_to_read(
    config: ConfigDict, data: DataSet, split: str, require: Collection[str]
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of a split whose files exist; they are checked when they are read.

    With `config.check_depth`, the depth of sampled frames is compared by the first process.

    Args:
      config: of evaluation.
      data: its data set.
      split, require: as in `find_frames`.

    Returns:
      The frames, and the bad files of the others.

    Raises:
      ValueError: as in `find_frames`; with all bad files of all frames if any is found.
    """
    found, bad = data.search(split, coarse_dir=config.coarse_dir or None, require=require)
    good, crop = check.without_bad(found, bad), tuple(config.crop)
    if bad and not (good and config.skip_bad_frames):
        raise_bad_files(config, found, bad)
    if config.check_depth and jax.process_index() == 0:
        sampled = plausibility.sample_frames(good)
        bad_samples = check.check_frames(sampled, crop, image_pixels=False)
        if bad_samples and not config.skip_bad_frames:
            raise_bad_files(config, good, bad_samples)
        opening.check_depth(check.without_bad(sampled, bad_samples), crop, data)
    return good, bad


def raise_bad_files(config: ConfigDict, frames: Sequence[Frame], known: Sequence[BadFile]) -> None:
    """Raises ValueError with the bad files of all frames, of which some are known, and advice."""
    bad = check.check_frames(frames, tuple(config.crop))
    bad = [*(item for item in known if item not in bad), *bad]
    check.raise_bad_files(bad, _advice(config, check.without_bad(frames, bad), bad, "crop"))


def _advice(
    config: ConfigDict, good: Sequence[Frame], bad: Sequence[BadFile], crop_setting: str
) -> list[str]:
    """What to do about bad frames."""
    advice = []
    if any(item.path.suffix == ".txt" for item in bad):
        advice.append("the photometric loss and --config.augmentation.beams need calibration")
    if any(item.too_small for item in bad):
        crop = tuple(config[crop_setting])
        fitting = check.largest_crop(bad, crop, crop_multiple(config, crop_setting))
        if fitting:
            advice.append(f'--config.{crop_setting}="{fitting}" fits every frame that was read')
        if config.task == "evaluate" or crop_setting == "val_crop":
            advice.append(f'--config.{crop_setting}="(0, 0)" uses whole frames')
    if good:
        advice.append("--config.skip_bad_frames=True leaves such frames out")
    return advice


def panel_images(
    config: ConfigDict, data: DataSet, split: str, frames: Sequence[Frame]
) -> dict[str, Path]:
    """Finds the images of frames, by name, for the panels of models that use no image.

    Panels need no image, so folders in which the images are ambiguous only cause a warning.
    """
    if not config.panels:
        return {}
    try:
        return data.find_images(split, [frame.name for frame in frames])
    except ValueError as error:
        logging.warning("The panels have no images: %s", error)
        return {}


def panel(
    data: DataSet,
    frame: Frame,
    example: Arrays,
    maps: Arrays,
    metrics: FrameMetrics,
    images: Mapping[str, Path],
) -> np.ndarray:
    """Draws the panel of a frame, without the image if there is none that can be read.

    Args:
      data: the data set, which decides the scales of the colours and the metrics of the captions.
      frame, example, maps, metrics: the arguments of `measure_frames`' `visit`.
      images: of `panel_images`, for an example without an image.
    """
    sparse_depth = example["sparse_depth"][..., 0]
    image = example.get("image")
    if image is None and frame.name in images:
        image = _cropped_image(frame, images[frame.name], sparse_depth.shape)
    return panels.panel(
        image,
        sparse_depth,
        maps,
        example["ground_truth"][..., 0] if frame.ground_truth else None,
        max_depth=min(data.limits[1], MAX_DEPTH),
        captions=tables.captions(metrics, data.metrics),
        max_error=INDOOR_ERROR if data.limits[1] <= sets.INDOOR_DEPTH else MAX_ERROR,
    )


def _cropped_image(frame: Frame, path: Path, crop: Size) -> np.ndarray | None:
    try:
        image = frame.stored.read(["image"])["image"] if frame.stored else read_image(path)
        top, left = crop_box(image.shape[:2], crop)
    except (OSError, ValueError) as error:
        logging.warning("The panel has no image: %s", error)
        return None
    return image[top : top + crop[0], left : left + crop[1]]
