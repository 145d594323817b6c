"""The README's commands do what it says."""

import json
import os
import re
import subprocess
import sys

import pytest

import fcfrnet_jax
from configs import eval as eval_config
from configs import render as render_config
from configs import train as train_config
from fcfrnet_jax.data import check, kitti
from fcfrnet_jax.training.journal import read_journal
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"<!-- ([\w-]+)(?:: (.*?))? -->\n```\w+\n(.*?)```", README, re.DOTALL)


def block(mark):
    (code,) = (code for name, _, code in BLOCKS if name == mark)
    return code


def test_every_block_is_marked():
    assert len(BLOCKS) == README.count("```") // 2
    marks = {"main-command", "test-command", "tested-command", "needs", "tested"}
    marks |= {"synthetic-command", "render-command"}
    assert {name for name, _, _ in BLOCKS} == marks


def test_settings_exist():
    settings = set(re.findall(r"--config\.(\w+)", README))
    configs = (eval_config, train_config, render_config)
    assert settings <= {name for config in configs for name in config.get_config()}
    # All of the evaluation's but the one that tells what to run.
    assert set(eval_config.get_config()) <= settings | {"task"}


def run(command, folder):
    """Runs a command of the README in `folder`, on a machine that is fresh but for the install."""
    program, *arguments = command.split()
    assert program in ("python", ".venv/bin/python")
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    (folder / "configs").symlink_to(ROOT / "configs")
    line = [sys.executable, *arguments]
    done = subprocess.run(
        line, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_main_command_works_on_a_fresh_machine(tmp_path):
    set_up, install, command = block("main-command").splitlines()
    assert set_up.endswith("venv .venv")
    assert install.endswith("install -e .")
    assert "RMSE (mm)" in run(command, tmp_path)
    result = json.loads((tmp_path / "output" / "metrics.json").read_text())
    fill, coarse, fine = (result["metrics"][name] for name in ("fill", "coarse", "fine"))
    for measure in ("rmse_mm", "mae_mm"):
        assert 0 < fine[measure] < coarse[measure] < fill[measure] < 2000
    assert result["provenance"]["checkpoint"]["settings"]["source"] == "synthetic"
    assert len(list((tmp_path / "output" / "panels").iterdir())) == result["frames"] == 6


def assert_learned(workdir):
    """The loss of a batch varies with the streets that are in it; the validation frames stay."""
    rows = [line for line in read_journal(workdir) if "val/coarse/rmse_mm" in line]
    rmse = [line["val/coarse/rmse_mm"] for line in rows]
    # The crops show the road in front: a map of zeros would be off by some 8 m.
    assert rmse[-1] < min(rmse[0], 6000.0)


@pytest.mark.slow
def test_training_command_learns(tmp_path):
    run(block("tested-command").strip(), tmp_path)
    assert_learned(tmp_path / "output" / "train")
    predictor = fcfrnet_jax.load(tmp_path / "output" / "train" / "best")
    assert predictor.spec.width == 8


@pytest.mark.slow
def test_training_on_rendered_streets_works(tmp_path):
    run(block("synthetic-command").strip(), tmp_path)
    assert_learned(tmp_path / "output" / "synthetic")


@pytest.mark.slow
def test_rendered_data_set_can_be_evaluated(tmp_path):
    run(block("render-command").strip(), tmp_path)
    streets = tmp_path / "output" / "streets"
    assert len(list(streets.glob("*/*/proj_depth/groundtruth/image_02/*.png"))) == 20
    frames = kitti.find_frames(streets, "val_selection", require={"image", "ground_truth"})
    assert frames
    assert check.check_frames(frames, (352, 1216)) == []


def test_program_example_works():
    names: dict = {}
    exec(block("tested"), names)
    assert names["depth"].shape == (1, 300, 500)


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)(.*?)\)", README))
def test_links_lead_somewhere(path):
    assert (ROOT / path).is_file()
