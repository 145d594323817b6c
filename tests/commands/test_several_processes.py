"""Training in several processes, as a job on many hosts does: two of two devices each."""

import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.commands.runs import finish, newest, start, wait_for_step
from tests.conftest import ROOT
from tests.free_port import free_address

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_resnets")]
SETTINGS = {
    "batch_size": 4,
    "steps": 3,
    "save_every": 3,
    "validate_every": 3,
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=3, height=48, width=160)
    return root


def start_two(workdir, scenes, settings=({}, {}), other=None) -> list[subprocess.Popen]:
    """Two processes of one job, each with its `settings`; the second in the workdir `other`."""
    job = SETTINGS | {"coordinator": free_address(), "processes": 2}
    return [
        start(folder, scenes, devices=2, **job | {"process": process} | settings[process])
        for process, folder in enumerate((workdir, other or workdir))
    ]


def assert_same_run(one, other):
    """Equal up to rounding, because the order of sums depends on the number of processes."""
    for mine, theirs in zip(read_journal(one), read_journal(other), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)
    models = (checkpoint.load_model(run / "last")[1] for run in (one, other))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4), *models)


def test_two_processes_equal_one(scenes, tmp_path):
    for process in start_two(tmp_path / "two", scenes):
        finish(process)
    finish(start(tmp_path / "one", scenes, devices=4, **SETTINGS))
    assert_same_run(tmp_path / "two", tmp_path / "one")


def test_processes_that_disagree_end_with_a_message(scenes, tmp_path):
    for process in start_two(tmp_path / "run", scenes, ({"seed": 1}, {"seed": 2})):
        _, errors = process.communicate()
        assert process.returncode == 1
        assert "Error: the config of process 1 differs from that of process 0" in errors
    assert not (tmp_path / "run").exists()


def test_processes_need_the_same_workdir(scenes, tmp_path):
    for process in start_two(tmp_path / "first", scenes, other=tmp_path / "second"):
        _, errors = process.communicate()
        assert process.returncode == 1
        assert "Error: the workdir of process 1 differs from that of process 0; all" in errors
    assert not any(tmp_path.iterdir())


@pytest.mark.nightly
def test_one_process_resumes_the_run_of_two(scenes, tmp_path):
    endless = {"steps": 5000}
    both = start_two(tmp_path / "run", scenes, (endless, endless))
    wait_for_step(tmp_path / "run", both[0], 2)
    for process in both:
        process.send_signal(signal.SIGTERM)
    for process in both:
        finish(process)
    end = newest(tmp_path / "run")[0] + 2
    for run in ("run", "whole"):
        settings = SETTINGS | {"steps": end}
        finish(start(tmp_path / run, scenes, devices=4, **settings))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.nightly
def test_a_killed_process_ends_the_job_and_the_run_resumes():
    program = [sys.executable, "-m", "tests.commands.killed_jobs", "--cases", "4"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("4 cases, 0 missed a bar\n")
