"""Every setting of the packaged configs is read, and every setting that is read exists."""

import ast
import dataclasses
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from fcfrnet_jax import main
from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.cli.tasks import TASKS
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec

COMMANDS = Path(main.__file__).parent / "commands"


def modules_of(task):
    """The files of `commands` that run a task: what its module imports, directly or not."""
    found, waiting = set(), [f"fcfrnet_jax.commands.{TASKS[task].module}"]
    while waiting:
        parts = waiting.pop().split(".")
        path = COMMANDS.joinpath(*parts[2:]).with_suffix(".py")
        if parts[:2] != ["fcfrnet_jax", "commands"] or path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                waiting += [str(node.module), *(f"{node.module}.{n.name}" for n in node.names)]
    return found


def settings_read(source):
    """The names X of all `config.X` that are read, not called."""
    tree = ast.parse(source)
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and node not in called
        and "config" in (getattr(node.value, "id", ""), getattr(node.value, "attr", ""))
    }


def read_by(task):
    files = [Path(main.__file__), COMMANDS / "cli" / "flags.py", *modules_of(task)]
    return set().union(*(settings_read(path.read_text()) for path in files))


@pytest.mark.parametrize(("task", "name"), [(name, task.config) for name, task in TASKS.items()])
def test_every_setting_is_read_and_every_read_is_a_setting(task, name):
    settings = set(config_files.load(name).config)
    assert settings - read_by(task) == set()
    assert read_by(task) - settings == set()


def test_what_counts_as_a_read():
    source = "x = config.a + line.config.b; config.c = 3; config.update(3); other.d; s = 'e'"
    assert settings_read(source) == {"a", "b"}


@pytest.mark.parametrize(
    ("group", "kind"),
    [("augmentation", Augmentation), ("coarse", SparseToCoarseSpec), ("fine", CoarseToFineSpec)],
)
def test_groups_are_the_fields_of_what_they_make(group, kind):
    settings: ConfigDict = config_files.load("train").config[group]
    assert set(settings) == {field.name for field in dataclasses.fields(kind)}
