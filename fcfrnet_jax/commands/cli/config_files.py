"""Finds config files, runs them, and reads the comments of their settings."""

import ast
import difflib
import sys
import tokenize
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

PACKAGED = Path(__file__).parents[2] / "configs"


class ConfigFile(NamedTuple):
    """A config file that was run.

    Attributes:
      name: the file's name without `.py`.
      path: the file.
      config: what its `get_config` returned.
      module: the file as a module.
    """

    name: str
    path: Path
    config: ConfigDict
    module: ModuleType


def load(value: str) -> ConfigFile:
    """Runs the config file that `--config` names.

    Args:
      value: the path of a Python file with a function `get_config`, or the name of a packaged
        config, with or without `.py`; `PATH:ARGUMENT` calls `get_config("ARGUMENT")`.

    Raises:
      ValueError: there is no such file, or it fails; the message has the file and line.
    """
    name, colon, argument = value.partition(":")
    path = find(name)
    try:
        with _importable(path.parent):
            module = _run(path)
            config = module.get_config(*([argument] if colon else []))
    except (Exception, SystemExit) as error:  # a config file can raise anything
        raise ValueError(_located(error, path)) from error
    if not isinstance(config, ConfigDict):
        found = type(config).__name__
        raise ValueError(
            f"{path}: get_config must return an ml_collections.ConfigDict, got {found}"
        )
    return ConfigFile(path.stem, path, config, module)


def find(name: str) -> Path:
    """Returns the config file of this path or, if there is none, the packaged one of this name.

    Raises:
      ValueError: there is neither.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    stem = name.removesuffix(".py")
    if stem in packaged():
        return PACKAGED / f"{stem}.py"
    close = difflib.get_close_matches(path.stem, packaged(), n=1)
    hint = f"did you mean --config={close[0]}? " if close else ""
    raise ValueError(
        f"--config={name}: there is no such file; {hint}packaged configs: {', '.join(packaged())}"
    )


def packaged() -> list[str]:
    """The names of the configs that come with the package."""
    return sorted(path.stem for path in PACKAGED.glob("*.py") if path.stem != "__init__")


def may_be_open(name: str) -> bool:
    """Whether a setting may be None: a training then takes it from its checkpoint."""
    return name == "stage" or name.startswith(("coarse.", "fine."))


def flat(config: ConfigDict | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The settings of a config, or of one read from JSON, by dotted names: `coarse.width`."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def comments(module: ModuleType) -> dict[str, str]:
    """Reads the comment above each `config.NAME = ...` in the file of a module's `get_config`.

    Where a config starts from that of another module, the comments of that module come first.

    Returns:
      The comments, by the dotted names of the settings that have one, in the order of the files.
    """
    function = module.get_config
    if not isinstance(function, FunctionType):
        return {}
    # The globals of the function, not of the module, which may only have imported the function.
    found: dict[str, str] = {}
    for value in function.__globals__.values():
        if isinstance(value, ModuleType) and hasattr(value, "get_config"):
            found |= comments(value)
    own = _own_comments(Path(function.__code__.co_filename))
    return found | {name: text for name, text in own.items() if name not in found}


def _own_comments(path: Path) -> dict[str, str]:
    with tokenize.open(path) as file:  # as Python reads it
        source = file.read()
    lines = source.splitlines()
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            first, last = node.lineno - 1, node.lineno - 1
            while first and lines[first - 1].lstrip().startswith("#"):
                first -= 1
            _, _, name = ast.unparse(node.targets[0]).partition(".")
            text = " ".join(line.strip().removeprefix("#").strip() for line in lines[first:last])
            if text:
                found[name] = text
    return found


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Lets a config file import modules beside it."""
    sys.path.insert(0, str(folder.absolute()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.absolute()))


def _run(path: Path) -> ModuleType:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), str(path), "exec"), vars(module))
    if not callable(getattr(module, "get_config", None)):
        raise ValueError("the file defines no function get_config")
    return module


def _located(error: BaseException, path: Path) -> str:
    """The message of an error, after the file and line that raised it."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame.lineno for frame in frames if frame.filename == str(path)]
    place = f"{path}, line {inside[-1]}" if inside else str(path)
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{place}: {kind}{error}"
