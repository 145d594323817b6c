"""Commands that are killed: at every operation on files, and training at random moments."""

import random
import re
import signal
import subprocess
import sys
import time

import pytest

from fcfrnet_jax.training.journal import read_journal
from tests import numbered_scenes
from tests.commands.runs import finish, newest, start, wait_for_step
from tests.conftest import ROOT

KILLS, STEPS = 10, 60


def kills(task, folder, step):
    """Kills a command at every `step`-th operation; returns the number of kills."""
    program = [sys.executable, "-m", "tests.commands.killed_commands", task, str(folder), str(step)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    match = re.search(rf"{task}: (\d+) kills, 0 files left\n", done.stdout)
    assert match, done.stderr
    return int(match[1])


@pytest.mark.slow
@pytest.mark.parametrize(("task", "step"), [("convert", 13), ("render", 37), ("evaluate", 37)])
def test_a_killed_command_leaves_the_old_or_the_new_result(task, step, tmp_path):
    assert kills(task, tmp_path, step) >= 2


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("task", "step"),
    [
        ("convert", 1),
        ("render", 1),
        ("evaluate", 2),
        ("train", 11),
        ("predict", 1),
        ("coarse_maps", 1),
        ("submit", 1),
        ("project", 1),
    ],
)
def test_a_command_that_is_killed_at_any_operation(task, step, tmp_path):
    assert kills(task, tmp_path, step) > 20


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1])
def test_ten_kills_change_nothing(tmp_path, seed):
    """Every kill is a SIGKILL at a random moment, possibly while a snapshot is being written."""
    scenes, whole, killed = (tmp_path / name for name in ("scenes", "whole", "killed"))
    numbered_scenes.write_sample(scenes, frames=3, height=48, width=160)
    settings = {"steps": STEPS, "save_every": 4, "validate_every": 12}
    finish(start(whole, scenes, **settings))
    moments = random.Random(seed)
    for kill in range(KILLS):
        process = start(killed, scenes, **settings)
        done = ([line["step"] for line in read_journal(killed)] or [0])[-1]
        # Few steps at a time, so that all kills happen before the end.
        ahead = max(1, (STEPS - done) // (KILLS - kill))
        wait_for_step(killed, process, done + moments.randint(1, ahead))
        time.sleep(0.3 * moments.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    finish(start(killed, scenes, **settings))
    assert newest(whole) == newest(killed)
    assert (whole / "metrics.jsonl").read_bytes() == (killed / "metrics.jsonl").read_bytes()
