"""Parses the command line with absl and ml_collections.

It imports no jax, so that a wrong flag is reported at once.
"""

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags, logging
from ml_collections import ConfigDict, config_dict, config_flags

from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.cli.config_files import ConfigFile
from fcfrnet_jax.commands.cli.tasks import TASKS

# The settings that hold paths, in which `~` is the home folder.
PATHS = (
    "data_dir",
    "checkpoint",
    "coarse_checkpoint",
    "coarse_dir",
    "pool_dir",
    "image",
    "depth",
    "intrinsics",
    "predictions",
    "scan",
    "scans",
    "calibration",
    "extrinsics",
    "oxts",
    "poses",
)
# The arguments that messages below the commands name, each as `NAME=VALUE`.
ARGUMENTS = (
    "accumulate",
    "check_depth",
    "coarse_dir",
    "data_dir",
    "depth_scale",
    "skip_bad_frames",
    "weight_decay",
)
FLAGS = ("config", "workdir", "verbosity", "help", "version")


@dataclass
class CommandLine:
    """What a command line asks for.

    Attributes:
      file: the config file as it is, None where --config is missing.
      config: its config, locked, with the settings of the command line.
      workdir: folder for everything that the run writes.
      help, version: whether to print these and end.
    """

    file: ConfigFile | None
    config: ConfigDict | None
    workdir: str
    help: bool
    version: bool


def parse(arguments: Sequence[str]) -> CommandLine:
    """Parses a command line; flags may be in any order, and `--verbosity` takes effect immediately.

    Raises:
      ValueError: an unknown flag or setting, or a wrong value.
    """
    path, verbosity, rest = _first_flags(arguments)
    logging.set_verbosity(verbosity)
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    flags.DEFINE_string("workdir", "output", "", flag_values=values)
    flags.DEFINE_boolean("help", False, "", short_name="h", flag_values=values)
    flags.DEFINE_boolean("version", False, "", flag_values=values)
    file = config = None
    if path is not None:
        file = config_files.load(path)
        config = complete(file)
        _check_names(rest, file.name, list(config_files.flat(config)))
        config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=["fcfrnet", *rest]
        )
    defaults = _examples(config) if config else {}
    defaults |= {"help": False, "version": False}
    _apply(values, rest, defaults)
    if config is not None:
        if config.task != defaults["task"]:
            raise ValueError(
                f"--config.task={config.task}: the config selects the task; to change it, give "
                "another --config"
            )
        _check_tuples(config, defaults)
        expand_paths(config)
    workdir = os.path.expanduser(values.workdir)
    _check_workdir(workdir)
    return CommandLine(file, config, workdir, values.help, values.version)


def complete(file: ConfigFile) -> ConfigDict:
    """The config of a file; settings that it does not mention have the defaults of its task.

    Raises:
      ValueError: an unknown task, or settings that the task does not have.
    """
    task = file.config.task if "task" in file.config else None
    if task not in TASKS:
        raise ValueError(
            f"{file.path}: config.task must be one of {', '.join(TASKS)}, got {task!r}"
        )
    config = config_files.load(TASKS[task].config).config.copy_and_resolve_references()
    defaults = config_files.flat(config)
    for name, value in config_files.flat(file.config).items():
        place = f"{file.path}: config.{name}"
        if name not in defaults:
            hint = _unknown_setting(name, f"the task {task}", list(defaults))
            raise ValueError(f"{place}: {hint}")
        try:
            if value is None and config_files.may_be_open(name):
                value = config_dict.placeholder(type(defaults[name]))
            # ml_collections allows None in place of any value.
            if value is None:
                raise TypeError
            config.update_from_flattened_dict({name: value})
        except TypeError as error:
            raise ValueError(f"{place}={value!r}: {_expected(defaults[name])}") from error
    return config


def expand_paths(config: ConfigDict) -> None:
    """Replaces a leading `~` by the home folder in every setting that holds a path."""
    for name in PATHS:
        if name in config:
            config[name] = os.path.expanduser(config[name])


def name_flags(message: str) -> str:
    """Writes the arguments that an error names as flags.

    `data_dir=kitti` becomes `--config.data_dir=kitti`.

    Only the commands know the command line, so the functions below them name their arguments.
    """
    return re.sub(rf"(?<![\w./-])(?=(?:{'|'.join(ARGUMENTS)})=)", "--config.", message)


def _examples(config: ConfigDict) -> dict[str, Any]:
    """A value of each setting: its default or, where that is None, the default of the task."""
    base = config_files.flat(config_files.load(TASKS[config.task].config).config)
    values = config_files.flat(config).items()
    return {name: base[name] if value is None else value for name, value in values}


def _first_flags(arguments: Sequence[str]) -> tuple[str | None, int, list[str]]:
    """The flags that are needed before the others can be parsed, and the others.

    Which settings there are depends on `--config`, and how its errors are shown on `--verbosity`.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-config", "--config")
    parser.add_argument("-verbosity", "--verbosity", type=int, default=logging.WARNING)
    try:
        found, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        flag = str(error.argument_name).rpartition("/")[2]
        raise ValueError(f"{flag}: {error.message}") from None
    return found.config, found.verbosity, rest


def _apply(values: flags.FlagValues, arguments: Sequence[str], defaults: dict[str, Any]) -> None:
    try:
        rest = values(["fcfrnet", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        raise ValueError(_unknown_flag(error.flagname)) from error
    except flags.IllegalFlagValueError as error:
        # absl's message has the flag, its value and an error of Python's.
        flag, value = re.findall(r"flag --([\w.]+)=(.*?): ", str(error), re.DOTALL)[0]
        expected = _expected(defaults.get(flag.removeprefix("config.")))
        raise ValueError(f"--{flag}={value}: {expected}") from error
    except flags.Error as error:
        raise ValueError(str(error)) from error
    if rest:
        raise ValueError(f"unexpected argument {rest[0]!r}; flags look like --config=FILE")


def _check_names(arguments: Sequence[str], title: str, known: list[str]) -> None:
    """Checks the names of settings before ml_collections does, whose error has no hint."""
    for argument in arguments:
        flag = re.match(r"--?((?:no)?config)\.([^=]+)", argument)
        if flag and flag[2] not in known:
            raise ValueError(f"--{flag[1]}.{flag[2]}: {_unknown_setting(flag[2], title, known)}")


def _check_tuples(config: ConfigDict, defaults: dict[str, Any]) -> None:
    """Checks the elements of tuples, which ml_collections does not."""
    for name, value in config_files.flat(config).items():
        if isinstance(value, tuple) and not all(type(element) is int for element in value):
            given = ",".join(map(str, value))
            raise ValueError(f"--config.{name}={given}: {_expected(defaults[name])}")


def _check_workdir(workdir: str) -> None:
    """Raises ValueError unless the workdir is a folder or can be created."""
    if not workdir:
        raise ValueError("--workdir= is empty; name a folder, or leave the flag out for output")
    path = Path(workdir)
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            found = "is a file" if place == path else f"is inside the file {place}"
            raise ValueError(f"--workdir={workdir} {found}, expected a folder")


def _expected(default: Any) -> str:
    names = {bool: "true or false", int: "an integer", float: "a number", tuple: "integers"}
    wanted = names.get(type(default), "text")
    return f"expected {wanted}, such as the default {default!r}"


def _unknown_flag(name: str) -> str:
    if name.startswith("noconfig."):
        return f"--{name}: only settings that are true or false have this form"
    if name.startswith("config."):
        return f"--{name} needs a config; add --config=eval or another one"
    close = difflib.get_close_matches(name, FLAGS, n=1)
    hint = f"did you mean --{close[0]}?" if close else "--help lists all flags"
    return f"--{name}: there is no such flag; {hint}"


def _unknown_setting(name: str, title: str, known: list[str]) -> str:
    group = [other for other in known if other.startswith(f"{name}.")]
    if group:
        return f"this is a group of settings; give one of them, such as --config.{group[0]}"
    last = name.rpartition(".")[2]
    close = [other for other in known if other.rpartition(".")[2] == last]
    close = close or difflib.get_close_matches(name, known, n=1)
    hint = " or ".join(f"--config.{other}" for other in close[:2])
    hint = f"did you mean {hint}?" if hint else "--help lists all"
    return f"{title} has no such setting; {hint}"
