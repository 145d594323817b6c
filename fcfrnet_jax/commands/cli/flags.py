"""Parses the command line. It imports no jax, so that a wrong flag is reported at once."""

import ast
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.cli.config_files import ConfigFile
from fcfrnet_jax.commands.cli.tasks import TASKS

# The settings that hold paths, in which `~` is the home folder.
PATHS = ("data_dir", "checkpoint", "coarse_checkpoint", "coarse_dir")
# Flags with and without a value, beside `--config.NAME`.
VALUED = ("config", "workdir", "verbosity")
SWITCHES = ("help", "h", "version")
BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


@dataclass
class CommandLine:
    """What a command line asks for.

    Attributes:
      file: the config file as it is, None where --config is missing.
      config: its config, locked, with the settings of the command line.
      workdir: folder for everything that the run writes.
      help, version: whether to print these and end.
    """

    file: ConfigFile | None = None
    config: ConfigDict | None = None
    workdir: str = "output"
    help: bool = False
    version: bool = False


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parses a command line: `--flag=value` or `--flag value`, in any order.

    Booleans also have the forms `--config.NAME` and `--noconfig.NAME`. If a flag is repeated, the
    last one counts. `--verbosity` takes effect immediately.

    Raises:
      ValueError: an unknown flag or setting, or a wrong value.
    """
    result = CommandLine()
    overrides: dict[str, str | None] = {}
    config_file = None
    for name, value in _pairs(arguments):
        match name, value:
            case (("help" | "h"), None):
                result.help = True
            case "version", None:
                result.version = True
            case "config", str():
                config_file = value
            case "workdir", str():
                result.workdir = os.path.expanduser(value)
            case "verbosity", str():
                logging.set_verbosity(convert("--verbosity", value, logging.WARNING))
            case _ if re.match(r"(no)?config\.", name):
                overrides[name] = value
            case _:
                raise ValueError(_unknown_flag(name, value))
    if config_file is not None:
        result.file = config_files.load(config_file)
        check_complete(result.file)
        result.config = result.file.config.copy_and_resolve_references()
        override(result.config, result.file.name, overrides)
        expand_paths(result.config)
        result.config.lock()
    return result


def check_complete(file: ConfigFile) -> None:
    """Checks that a config has the settings of its task and no others.

    Raises:
      ValueError: an unknown task, or settings that are unknown or missing.
    """
    task = file.config.task if "task" in file.config else None
    if task not in TASKS:
        raise ValueError(
            f"{file.name}: config.task must be one of {', '.join(TASKS)}, got {task!r}"
        )
    base = config_files.load(TASKS[task].config)
    known, found = config_files.settings(base.config), config_files.settings(file.config)
    for name in found:
        if name not in known:
            raise ValueError(
                f"config.{name}: {_unknown_setting(name, f'the task {task}', list(known))}"
            )
    missing = [name for name in base.config if name not in file.config]
    if missing:
        raise ValueError(
            f"{file.name} lacks config.{', config.'.join(missing)}; start from the packaged "
            f"config: from fcfrnet_jax.configs import {base.name}"
        )


def override(config: ConfigDict, title: str, overrides: dict[str, str | None]) -> None:
    """Sets settings of a config from the command line.

    Args:
      config: changed in place.
      title: what messages call it.
      overrides: value by flag, `config.NAME` or, for a boolean, `noconfig.NAME` without a value.

    Raises:
      ValueError: an unknown setting, or a value of another type than the setting's default.
    """
    known = config_files.settings(config)
    for flag, value in overrides.items():
        prefix, _, name = flag.partition(".")
        if name not in known:
            raise ValueError(f"--{flag}: {_unknown_setting(name, title, list(known))}")
        if isinstance(known[name], bool) and value is None:
            value = str(prefix == "config").lower()
        elif value is None or prefix == "noconfig":
            raise ValueError(f"--{flag}: give a value, as in --config.{name}={known[name]}")
        converted = convert(f"--config.{name}", value, known[name])
        config.update_from_flattened_dict({name: converted})


def convert(flag: str, text: str, default: Any) -> Any:
    """Converts the text of a flag to the type of its default.

    The types of settings are bool, int, float, str and tuples of integers.

    Raises:
      ValueError: another type.
    """
    try:
        if isinstance(default, bool):
            return BOOLEANS[text.lower()]
        if isinstance(default, str):
            return text
        if isinstance(default, int | float):
            return type(default)(text)
        # `96,320` and a single `32` are tuples as well.
        values = ast.literal_eval(text)
        values = values if isinstance(values, tuple) else (values,)
        if isinstance(default, tuple) and all(isinstance(value, int) for value in values):
            return values
    except (ValueError, KeyError, SyntaxError):
        pass
    names = {bool: "true or false", int: "an integer", float: "a number", tuple: "integers"}
    wanted = names.get(type(default), f"a {type(default).__name__}")
    raise ValueError(f"{flag}={text}: expected {wanted}, such as the default {default}")


def expand_paths(config: ConfigDict) -> None:
    """Replaces a leading `~` by the home folder in every setting that holds a path."""
    for name in PATHS:
        if name in config:
            config[name] = os.path.expanduser(config[name])


def name_flags(message: str, names: Iterable[str]) -> str:
    """Writes the arguments that an error names as flags: `crop=None` becomes `--config.crop=None`.

    Only the commands know the command line, so the functions below them name their arguments.

    Args:
      message: the message of an error.
      names: the settings of the config; the arguments have the same names.
    """
    return re.sub(rf"(?<![\w./-])(?=(?:{'|'.join(names)})=)", "--config.", message)


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        flag = re.fullmatch(r"--?([A-Za-z][^=]*)(?:=(.*))?", argument, re.DOTALL)
        if not flag:
            raise ValueError(f"unexpected argument {argument!r}; flags look like --config=FILE")
        name, value = flag.groups()
        follows = rest and not re.match(r"--?[A-Za-z]", rest[0])
        if value is None and follows and name not in SWITCHES and not name.startswith("no"):
            value = rest.pop(0)
        yield name, value


def _unknown_flag(name: str, value: str | None) -> str:
    if name in VALUED:
        return f"--{name} needs a value, as in --{name}=VALUE"
    if name in SWITCHES:
        return f"--{name} takes no value, got {value!r}"
    close = difflib.get_close_matches(name, [*VALUED, *SWITCHES], n=1)
    hint = f"did you mean --{close[0]}?" if close else "--help lists all flags"
    return f"--{name}: there is no such flag; {hint}"


def _unknown_setting(name: str, title: str, known: list[str]) -> str:
    group = [other for other in known if other.startswith(f"{name}.")]
    if group:
        return f"this is a group of settings; give one of them, such as config.{group[0]}"
    last = name.rpartition(".")[2]
    close = [other for other in known if other.rpartition(".")[2] == last]
    close = close or difflib.get_close_matches(name, known, n=1)
    hint = " or ".join(f"--config.{other}" for other in close[:2])
    hint = f"did you mean {hint}?" if hint else "--help lists all"
    return f"{title} has no such setting; {hint}"
