"""Checks the documents: their commands run, and the files and settings that they name exist.

A comment before each code block says which test runs it, or what it needs to run.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import yaml

import fcfrnet_jax
from fcfrnet_jax.commands.cli import config_files, flags
from fcfrnet_jax.data import check, kitti
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.training.journal import read_journal
from tests import fresh_install
from tests.conftest import ROOT

PACKAGE = ROOT / "fcfrnet_jax"
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
}
BLOCK = re.compile(r"(?:<!-- ([\w-]+)(?:: (.*?))? -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
# The marks of the blocks that this module runs, and of the test command, which `.ci/run` runs.
MARKS = {
    "main-command",
    "test-command",
    "train-command",
    "synthetic-command",
    "render-command",
    "predict-command",
    "coarse-maps-command",
    "project-command",
    "own-data-command",
    "tested",
}


class Block(NamedTuple):
    """A code block: the document, the word of its mark, what it needs, its language, its text."""

    document: str
    mark: str
    needs: str
    language: str
    code: str


BLOCKS = [
    Block(document, *match.groups(default=""))
    for document, text in DOCUMENTS.items()
    for match in BLOCK.finditer(text)
]


def command_lines(code: str) -> list[list[str]]:
    """The words of each command of a shell block."""
    lines = code.replace("\\\n", " ").replace("$process", "0").splitlines()
    return [words for line in lines if (words := shlex.split(line.rstrip("& "), comments=True))]


COMMANDS = [
    words for block in BLOCKS if block.language == "sh" for words in command_lines(block.code)
]
OUR_COMMANDS = [
    words[words.index(program) + 1 :]
    for words in COMMANDS
    for program in ("fcfrnet_jax.main", "fcfrnet")
    if program in words
]
BENCHMARKS = [words[1:] for words in COMMANDS if "".join(words[1:2]).startswith("benchmarks/")]


def block(mark: str) -> str:
    (code,) = (block.code for block in BLOCKS if block.mark == mark)
    return code


def test_every_block_is_marked():
    assert len(BLOCKS) == sum(text.count("\n```") for text in DOCUMENTS.values()) // 2
    unmarked = [block for block in BLOCKS if not (block.needs or block.mark in MARKS)]
    assert unmarked == []


@pytest.mark.parametrize("arguments", OUR_COMMANDS, ids=" ".join)
def test_commands_can_be_parsed(arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert flags.parse(arguments).config is not None


@pytest.mark.parametrize("words", BENCHMARKS, ids=" ".join)
def test_benchmarks_have_the_flags_that_commands_use(words):
    source = (ROOT / words[0]).read_text()
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word.replace("--no-", "--")}"' in source


@pytest.mark.parametrize("document", DOCUMENTS)
def test_settings_exist(document):
    files = (config_files.load(name) for name in config_files.packaged())
    known = {name for file in files for name in config_files.flat(file.config)}
    groups = {name.partition(".")[0] for name in known if "." in name}
    named = re.findall(r"--config\.(\w+(?:\.\w+)*)", DOCUMENTS[document])
    assert set(named) - known - groups - {"NAME"} == set()


def test_every_setting_of_the_evaluation_is_explained():
    settings = config_files.flat(config_files.load("eval").config).keys()
    rows = re.findall(r"^\| `--config\.(\w+)` \|", DOCUMENTS["README.md"], re.M)
    assert {*rows, "task", "data_dir"} == settings


@pytest.mark.parametrize("document", sorted(DOCUMENTS.keys() - {"CHANGELOG.md"}))
def test_files_exist(document):
    named = re.findall(r"(?<![\w./<])((?:\w+/)+\w+\.py)\b", DOCUMENTS[document])
    roots = (ROOT, PACKAGE, PACKAGE / "networks")
    assert [name for name in named if not any((root / name).is_file() for root in roots)] == []


def test_the_layout_names_all_modules():
    rows = re.findall(r"^\| `([\w/]+)/`.*? \| (.*?) \|", DOCUMENTS["BUILD_NOTES.md"], re.M)
    code = {path.parent for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    folders = {str(folder.relative_to(PACKAGE)) for folder in code - {PACKAGE}}
    assert {folder for folder, _ in rows} == folders - {"configs"}
    for folder, cell in rows:
        modules = {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}
        assert set(re.findall(r"`(\w+)`", cell)) - {"TwoStage"} == modules, folder


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_have_targets(document):
    for link in re.findall(r"\]\((?!https?:)(.*?)\)", DOCUMENTS[document]):
        path, _, fragment = link.partition("#")
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.is_file(), link
        if fragment:
            text = target.read_text()
            headings = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.M)
            assert fragment in map(anchor, headings), link


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == fcfrnet_jax.__version__
    papers = [identifier["identifiers"][0]["value"] for identifier in citation["references"]]
    assert papers == ["arXiv:2012.08270", "arXiv:1807.00275"]


def run(command: str, folder: Path, cache: Path) -> str:
    """Runs a command of README in `folder`, as after a fresh install, and returns its output.

    Caches are in `cache`.
    """
    program, *arguments = shlex.split(command)
    assert program in ("python", ".venv/bin/python")
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    fresh = folder / "fresh_install"
    if not fresh.exists():
        fresh_install.hide_other_packages(fresh)
        (folder / "configs").symlink_to(ROOT / "configs")
    environment |= {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": f"{fresh}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_main_command_works_on_a_fresh_machine(tmp_path):
    set_up, install, command = block("main-command").splitlines()
    assert set_up.endswith("venv .venv")
    assert install.endswith("install -e .")
    assert "RMSE (mm)" in run(command, tmp_path, tmp_path / "cache")
    result = json.loads((tmp_path / "output" / "metrics.json").read_text())
    fill, coarse, fine = (result["metrics"][name] for name in ("fill", "coarse", "fine"))
    for measure in ("rmse_mm", "mae_mm"):
        assert 0 < fine[measure] < coarse[measure] < fill[measure] < 2000
    models = result["provenance"]["checkpoint"]["averaged"]
    assert {model["settings"]["source"] for model in models} == {"synthetic"}
    assert len(list((tmp_path / "output" / "panels").iterdir())) == result["frames"] == 6


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample scenes that the slow tests share."""
    return tmp_path_factory.mktemp("cache")


def assert_learned(workdir: Path) -> None:
    """The loss of a batch depends on its streets; the validation frames stay the same."""
    rows = [line for line in read_journal(workdir) if "val/coarse/rmse_mm" in line]
    rmse = [line["val/coarse/rmse_mm"] for line in rows]
    # On the whole frames, a map of 0.9 m has an error of 14.6 m.
    assert rmse[-1] < min(rmse[0], 9000.0)


@pytest.mark.slow
def test_training_command_learns(tmp_path, cache):
    run(block("train-command"), tmp_path, cache)
    assert_learned(tmp_path / "output" / "train")
    predictor = fcfrnet_jax.load(tmp_path / "output" / "train" / "best")
    assert predictor.spec.width == 8


@pytest.mark.nightly
def test_training_on_rendered_streets_learns(tmp_path, cache):
    run(block("synthetic-command"), tmp_path, cache)
    assert_learned(tmp_path / "output" / "synthetic")


@pytest.mark.slow
def test_prediction_command_writes_a_point_cloud(tmp_path, cache):
    run(block("predict-command").replace("\\\n", " "), tmp_path, cache)
    written = {str(path.relative_to(tmp_path)) for path in (tmp_path / "output").rglob("*.*")}
    images = {f"output/predict/{kind}/sample.png" for kind in ("depth", "panels", "confidence")}
    assert written == images | {f"output/predict/{kind}/sample.{kind}" for kind in ("ply", "pcd")}
    workdir = tmp_path / "output" / "predict"
    depth, confidence = (
        cv2.imread(str(workdir / kind / "sample.png"), cv2.IMREAD_UNCHANGED)
        for kind in ("depth", "confidence")
    )
    assert 0 < np.mean(depth == 0) < 0.3
    # Half of 255, rounded.
    assert confidence[depth == 0].max() <= 128
    assert confidence[depth > 0].min() >= 127


@pytest.mark.slow
def test_coarse_maps_are_read_by_the_evaluation(tmp_path, cache):
    for command in block("coarse-maps-command").replace("\\\n", " ").splitlines():
        run(command, tmp_path, cache)
    result = json.loads((tmp_path / "output" / "second" / "metrics.json").read_text())
    assert result["coarse_source"] == "files"
    metrics = result["metrics"]
    assert metrics["fine"]["rmse_mm"] < metrics["coarse"]["rmse_mm"] < metrics["fill"]["rmse_mm"]


@pytest.mark.slow
def test_rendered_data_set_can_be_evaluated(tmp_path, cache):
    run(block("render-command"), tmp_path, cache)
    streets = tmp_path / "output" / "streets"
    assert len(list(streets.glob("*/*/proj_depth/groundtruth/image_02/*.png"))) == 20
    frames = kitti.find_frames(streets, "val_selection", require={"image", "ground_truth"})
    assert frames
    assert check.check_frames(frames, (352, 1216)) == []


def example(document: str) -> dict:
    """Runs the Python example of a document and returns its names."""
    (code,) = (block.code for block in BLOCKS if block[:2] == (document, "tested"))
    names: dict = {}
    exec(code, names)
    return names


def test_point_cloud_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # The size of the example of the README, for which the model is compiled anyway.
    names = example("docs/predict.md")
    assert names["depth"].shape == (300, 500)
    cloud = names["cloud"]
    assert len(cloud.points) == len(cloud.colours) > 0
    assert (tmp_path / "cloud.ply").stat().st_size > 15 * len(cloud.points)


def test_projection_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = example("docs/sensors.md")
    # Points that are seen have u = 320 - 500 y / x and v = 240 - 500 (z + 0.2) / x.
    x, y, z = names["points"].T
    u, v = 320 - 500 * y / x, 240 - 500 * (z + 0.2) / x
    seen = (np.abs(u - 319.5) < 320) & (np.abs(v - 239.5) < 240)
    assert names["sparse_depth"].shape == (480, 640)
    assert 0.95 * seen.sum() < (names["sparse_depth"] > 0).sum() <= seen.sum()


@pytest.mark.slow
def test_the_example_of_a_drive_can_be_projected(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    example("docs/project.md")
    run(block("project-command").replace("\\\n", " "), tmp_path, cache)
    frames = kitti.find_frames("output/projected", "train", require={"ground_truth", "intrinsics"})
    assert [frame.name[-1] for frame in frames] == ["1", "2", "3"]
    for frame in frames:
        sparse, truth = read_depth(frame.sparse), read_depth(frame.ground_truth)
        assert sparse.max() == truth.max() == 12 - 0.5 * int(frame.name[-1])
        assert (truth > 0).sum() > 2 * (sparse > 0).sum() > 1000


@pytest.mark.slow
def test_the_example_of_an_own_data_set_can_be_evaluated(tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    example("docs/own_data.md")
    run(block("own-data-command").replace("\\\n", " "), tmp_path, cache)
    found = json.loads((tmp_path / "output" / "eval" / "metrics.json").read_text())
    assert found["frames"] == 3
    # The ground and the wall are smooth; the images show nothing.
    assert found["metrics"]["fine"]["rmse_mm"] < 2000


@pytest.mark.slow
def test_the_example_of_a_stream(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    (code,) = (block.code for block in BLOCKS if block[:2] == ("docs/robot.md", "tested"))
    line = [sys.executable, "-c", f"{code}\nprint(depth.shape, nearest > 0)"]
    environment |= {"PYTHONPATH": str(ROOT), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
    done = subprocess.run(
        line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "(64, 96) True\n", done.stderr
    assert any((tmp_path / "compiled").glob("*-cache"))


def test_program_example_predicts_depth():
    depth = example("README.md")["depth"]
    assert depth.shape == (1, 300, 500)
    assert depth.min() >= 0.9


def test_features_are_those_of_the_network():
    names = example("docs/python.md")
    assert names["fine_depth"].shape == names["coarse_depth"].shape == (1, 64, 96, 1)
    assert names["colour"].shape == names["depth"].shape == (1, 16, 24, 32)
    assert names["fused"].shape == (1, 1, 2, 128)
    layers = names["features"].keys()
    convolutions = {f"conv{i}{branch}" for i in range(2, 7) for branch in ("", "_2")}
    assert convolutions | {f"shuffle{i}" for i in range(2, 7)} <= layers
