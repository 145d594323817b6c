"""How a command uses the devices."""

import jax
from ml_collections import ConfigDict

from fcfrnet_jax.commands.settings import Range, check_choices, check_ranges
from fcfrnet_jax.prediction import DTYPES


def check(config: ConfigDict) -> None:
    """Raises ValueError for a data type or a batch size that cannot be used."""
    check_choices(config, {"dtype": DTYPES})
    check_ranges(config, {"batch_size": Range(0)})
    devices = jax.device_count()
    if config.batch_size % devices:
        where = "here" if jax.process_count() == 1 else "of all processes"
        raise ValueError(
            f"--config.batch_size={config.batch_size} must be 0 or a multiple of the {devices} "
            f"devices {where}"
        )


def batch_size(config: ConfigDict) -> int:
    """The global batch size."""
    return config.batch_size or jax.device_count()
