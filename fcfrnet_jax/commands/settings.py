"""Checks that several commands make, with messages that name the setting's flag."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.networks.models import SIZE_MULTIPLE
from fcfrnet_jax.training.losses import SCALES


class Range(NamedTuple):
    """A range of finite numbers.

    Attributes:
      low, high: the ends, which belong to the range.
      above, below: exclude the low or the high end.
    """

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, int | float)
        if not math.isfinite(value) or not self.low <= value <= self.high:
            return False
        return not (self.above and value == self.low) and not (self.below and value == self.high)

    def __str__(self) -> str:
        low = f"above {self.low}" if self.above else f"at least {self.low}"
        if self.high == math.inf:
            return f"finite and {low}" if isinstance(self.low, float) else low
        return f"{low} and {'below' if self.below else 'at most'} {self.high}"


@contextmanager
def named(setting: str) -> Iterator[None]:
    """Puts the flag of a setting before the message of a ValueError, which names no flags."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"--config.{setting}: {error}") from error


@contextmanager
def flagged() -> Iterator[None]:
    """Turns the argument with which the message of a ValueError begins into its flag."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"--config.{error}") from error


def check_choices(
    config: ConfigDict, choices: Mapping[str, Sequence[str]], data_set: str = ""
) -> None:
    """Raises ValueError for a setting that is none of its choices.

    Args:
      config: the config to check.
      choices: by the dotted names of the settings.
      data_set: the name of the data set that has these choices, for the message.
    """
    settings = flat(config)
    reason = f"; the data set is {data_set}" if data_set else ""
    for name, allowed in choices.items():
        if settings[name] not in allowed:
            raise ValueError(
                f"--config.{name} must be one of {', '.join(allowed)}, "
                f"got {settings[name]!r}{reason}"
            )


def check_ranges(config: ConfigDict, ranges: Mapping[str, Range]) -> None:
    """Raises ValueError for a number, or an element of a tuple, outside its range.

    Args:
      config: the config to check.
      ranges: by the dotted names of the settings.
    """
    settings = flat(config)
    for name, allowed in ranges.items():
        value = settings[name]
        for number in value if isinstance(value, tuple) else (value,):
            if number not in allowed:
                raise ValueError(f"--config.{name} must be {allowed}, got {value}")


def crop_multiple(config: ConfigDict, setting: str) -> int:
    """The number of which the rows and columns of a crop should be multiples.

    Training needs them to be. Crops for evaluation and validation may have any size, and are padded
    to multiples of 16.
    """
    # The photometric loss halves the maps once for each scale. Only training has a mode.
    halved = setting == "crop" and "photo" in config.get("mode", "")
    return max(SIZE_MULTIPLE, 2**SCALES) if halved else SIZE_MULTIPLE


def check_crop(config: ConfigDict, setting: str) -> None:
    """Raises ValueError unless a setting is the rows and columns of a crop, or 0 for all."""
    crop = tuple(config[setting])
    if len(crop) != 2 or min(crop) < 0:
        raise ValueError(
            f"--config.{setting} must be rows and columns, where 0 keeps all of them, got {crop}"
        )
