"""Checks that several commands make, with messages that name the setting's flag."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ml_collections import ConfigDict


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


def check_choices(config: ConfigDict, choices: Mapping[str, Sequence[str]]) -> None:
    """Raises ValueError for a setting that is none of its choices."""
    for name, allowed in choices.items():
        if config[name] not in allowed:
            raise ValueError(
                f"--config.{name} must be one of {', '.join(allowed)}, got {config[name]!r}"
            )
