"""Python as after a fresh install of the package: without what only the tests need."""

import re
import sys
from importlib import metadata
from pathlib import Path

from tests.conftest import ROOT

CODE = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec
names = {names}


def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in names else found(name, path, target)


PathFinder.find_spec = find_spec
"""


def hide_other_packages(folder: Path) -> str:
    """Hides the installed packages that the requirements do not bring; see `hide`."""
    return hide(folder, not_required())


def hide(folder: Path, modules: list[str]) -> str:
    """Hides installed packages.

    Args:
      folder: created; gets a module that Python imports when it starts.
      modules: their modules at the top level.

    Returns:
      The folder, for PYTHONPATH.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CODE.format(names=modules))
    return str(folder)


def not_required() -> list[str]:
    """The modules at the top level of packages that the requirements do not bring."""
    seen: set[tuple[str, str]] = set()
    left = (ROOT / "requirements.txt").read_text().splitlines()
    while left:
        name, extras = re.match(r"([\w.-]+)(?:\[([^]]*)\])?", left.pop()).groups()
        for extra in ["", *(extras or "").split(",")]:
            if (normalised(name), extra) not in seen:
                seen.add((normalised(name), extra))
                left += requirements(name, extra)
    required = {name for name, _ in seen}
    found = metadata.packages_distributions().items()
    others = {name for name, owners in found if not required & {*map(normalised, owners)}}
    return sorted(others - {"fcfrnet_jax"} - sys.stdlib_module_names)


def requirements(name: str, extra: str) -> list[str]:
    """What a package, or one of its extras, requires; nothing for one of another platform."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    marked = [(line, re.search(r"extra == [\"'](.*?)[\"']", line)) for line in lines]
    return [line for line, mark in marked if (mark[1] if mark else "") == extra]


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
