"""Validates a training on rendered frames."""

from collections.abc import Callable

import jax.numpy as jnp
from ml_collections import ConfigDict

from fcfrnet_jax.commands.rendered import pools
from fcfrnet_jax.commands.trained_model import TrainedModel, trained_variables
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.models import SIZE_MULTIPLE
from fcfrnet_jax.training.pool_validation import make_pool_validation, relative_rmse
from fcfrnet_jax.training.state import TrainState

# The metric by which `best` is selected; see `pool_validation.relative_rmse`.
SELECTING = "val/relative_rmse"


def make_rendered_validation(
    config: ConfigDict, model: TrainedModel
) -> Callable[[TrainState], dict[str, float]]:
    """Makes the function that validates a state; the frames must have been rendered.

    Every process measures all frames.

    Returns:
      A function of the state to the metrics: `SELECTING`, and `val/CASE/MAP/MEASURE` for the
      figures of `make_pool_validation`.
    """
    options = select.compiler_options(jnp.dtype(config.dtype))
    frames = pools.validation_frames(config)
    compare = make_pool_validation(model.network, options, frames, validation_crop(config))

    def validate(state: TrainState) -> dict[str, float]:
        figures = compare(model.whole(trained_variables(state))[1])
        named = {
            f"val/{case}/{name}/{measure}": value
            for case, maps in figures.items()
            for name, values in maps.items()
            for measure, value in values.items()
        }
        return {SELECTING: relative_rmse(figures)} | named

    return validate


def validation_crop(config: ConfigDict) -> Size:
    """The validated part of the frames, where 0 means all rows or columns that networks can read.

    Raises:
      ValueError: the crop is larger than the frames, or not a multiple of 16.
    """
    size, crop = tuple(config.camera), tuple(config.val_crop)
    if any(side % SIZE_MULTIPLE for side in crop) or crop[0] > size[0] or crop[1] > size[1]:
        raise ValueError(
            f"--config.val_crop={crop} must be multiples of {SIZE_MULTIPLE} within the rendered "
            f"frames, --config.camera={size}"
        )
    height, width = (
        side or whole // SIZE_MULTIPLE * SIZE_MULTIPLE
        for side, whole in zip(crop, size, strict=True)
    )
    return height, width
