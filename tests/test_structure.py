"""The house rules: imports flow downwards, and every setting is read."""

import ast
import re
from pathlib import Path

import pytest

from configs import eval as eval_config
from configs import render as render_config
from configs import train as train_config
from tests.conftest import ROOT

PACKAGE = ROOT / "fcfrnet_jax"
# From the ground up; a module imports only from floors below its own.
FLOORS = (
    (
        "bfloat16",
        "files",
        "fill",
        "geometry",
        "inputs",
        "layers",
        "optimizers",
        "pickle_nodes",
        "snapshots",
        "specs",
        "data.value_noise",
    ),
    (
        "packed_ops",
        "winograd",
        "data.camera_model",
        "data.images",
        "data.intersect",
        "data.solids",
        "data.strips",
    ),
    ("packing", "cpu_conv", "data.variation"),
    ("packed_norm",),
    ("network",),
    ("models", "metrics", "losses", "pickle_reader", "paddle_checkpoint", "data.style"),
    ("fold", "hosts", "process", "journal", "data.pinhole", "data.traffic", "data.buildings"),
    ("torch_checkpoint", "checkpoint", "training", "data.roadside", "data.kitti_layout"),
    ("foreign_checkpoint", "report", "steps", "visualize", "data.street", "data.kitti"),
    ("data.looks", "data.raycast", "data.surfaces", "data.lidar"),
    ("data.textures", "data.echoes"),
    ("data.facades", "data.vehicles", "data.ground_truth"),
    ("data.shading",),
    ("data.synthetic",),
    ("data.rendered",),
    ("convert", "initialise", "predict", "data.sample", "data.frame_check", "data.pipeline"),
    ("measure",),
    ("data.augment", "data.poses"),
    ("loop", "data.train_pipeline", "data.synthetic_batches"),
    ("train_setup",),
    ("evaluate", "train", "render"),
    ("main",),
)
# The runners alone know the config; they may use all that is below.
RUNNERS = {"evaluate", "render", "train", "train_setup", "main"}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imports(path: Path) -> set[str]:
    """Everything that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def own_imports(path: Path) -> set[str]:
    names = {name.removeprefix("fcfrnet_jax.") for name in imports(path)}
    return names & MODULES.keys()


def test_every_module_has_a_floor():
    assert MODULES.keys() == FLOOR_OF.keys()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_flow_downwards(name):
    above = [other for other in own_imports(MODULES[name]) if FLOOR_OF[other] >= FLOOR_OF[name]]
    assert above == []


@pytest.mark.parametrize("name", sorted(MODULES.keys() - RUNNERS))
def test_the_config_stops_at_the_runners(name):
    assert not any("ml_collections" in imported for imported in imports(MODULES[name]))
    assert not re.search(r"(?<![.-])\bconfig\.", MODULES[name].read_text())


def test_tensorflow_is_the_pipelines_alone():
    users = {name for name in MODULES if "tensorflow" in imports(MODULES[name])}
    assert users == {"data.augment", "data.pipeline", "data.train_pipeline"}


def test_pmap_is_the_steps_alone():
    users = {name for name in MODULES if re.search(r"\bpmap\(", MODULES[name].read_text())}
    assert users == {"steps"}


@pytest.mark.parametrize(
    ("config", "readers"),
    [
        (eval_config.get_config(), ("evaluate", "main")),
        (train_config.get_config(), ("train", "train_setup", "main")),
        (render_config.get_config(), ("render", "main")),
    ],
)
def test_every_setting_is_read(config, readers):
    code = "".join(MODULES[name].read_text() for name in readers)
    unread = [key for key in config if not re.search(rf"(config|value)\.{key}\b", code)]
    # Read by name in a loop over settings.
    assert [key for key in unread if f'"{key}"' not in code] == []


def test_no_path_of_a_machine():
    for path in [*PACKAGE.rglob("*.py"), *ROOT.glob("*.*"), *(ROOT / "docs").rglob("*.md")]:
        if path.is_file():
            assert not re.search(r"/(root|home|work|tmp)/", path.read_text(errors="ignore")), path
