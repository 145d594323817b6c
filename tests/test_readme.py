"""The README's commands do what it says."""

import json
import os
import re
import subprocess
import sys

import pytest

from configs import eval as eval_config
from fcfrnet_jax import checkpoint
from fcfrnet_jax.specs import COARSE_TO_FINE, SPARSE_TO_COARSE, ModelSpec, TwoStageSpec
from tests.conftest import ROOT
from tests.weights import random_variables

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"<!-- ([\w-]+)(?:: (.*?))? -->\n```\w+\n(.*?)```", README, re.DOTALL)


def block(mark):
    (code,) = (code for name, _, code in BLOCKS if name == mark)
    return code


def test_every_block_is_marked():
    assert len(BLOCKS) == README.count("```") // 2
    assert {name for name, _, _ in BLOCKS} == {"main-command", "test-command", "needs", "tested"}


def test_settings_exist():
    settings = set(re.findall(r"--config\.(\w+)", README))
    assert settings <= set(eval_config.get_config())
    # All but the one that tells what to run.
    assert settings | {"task"} == set(eval_config.get_config())


def test_main_command_works_on_a_fresh_machine(tmp_path):
    set_up, install, command = block("main-command").splitlines()
    assert set_up.endswith("venv .venv")
    assert install.endswith("install -e .")
    program, *arguments = command.split()
    assert program == ".venv/bin/python"
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "RMSE (mm)" in done.stdout
    result = json.loads((tmp_path / "output" / "metrics.json").read_text())
    # True depth is at hand, so a fill that were broken would be far off.
    assert 0 < result["metrics"]["fill"]["mae_mm"] < 1000
    assert len(list((tmp_path / "output" / "panels").iterdir())) == result["frames"] == 6


def test_program_example_works(tmp_path, monkeypatch):
    parts = (ModelSpec(kind, 18, width=4) for kind in (SPARSE_TO_COARSE, COARSE_TO_FINE))
    spec = TwoStageSpec(*parts)
    folder = tmp_path / "models" / "both"
    checkpoint.save_model(folder, spec, random_variables(spec), provenance={})
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("tested"), names)
    assert names["depth"].shape == (1, 300, 500)


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)(.*?)\)", README))
def test_links_lead_somewhere(path):
    assert (ROOT / path).is_file()
