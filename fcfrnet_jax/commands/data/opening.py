"""Opens the data set that a config names, and checks the depth of its frames."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.data import plausibility, sets
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.sets import DataSet
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.streets import sample


def open_data_set(config: ConfigDict) -> DataSet:
    """Opens the data set in `config.data_dir`; without one, that of the sample frames.

    Raises:
      ValueError: the description of an own data set is damaged.
    """
    if not config.data_dir:
        return sets.kitti_in(sample.sample_dir)
    with named("data_dir"):
        return sets.open_folder(data_dir(config), config.points)


def data_dir(config: ConfigDict) -> Path:
    """The folder of the dataset; the sample frames are rendered if they are missing."""
    return Path(config.data_dir).expanduser() if config.data_dir else sample.sample_dir()


def check_depth(frames: Sequence[Frame], crop: Size, data: DataSet) -> None:
    """Applies `plausibility.check_depth`; its errors get the likely scale and the way out."""
    try:
        plausibility.check_depth(frames, crop, data.limits)
    except plausibility.ImpossibleDepthError as error:
        advice = data.advise_scale(error.frame, error.finding)
        raise ValueError(f"{error}{advice}; --config.check_depth=False skips this check") from error
