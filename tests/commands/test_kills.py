"""A training run that is killed again and again equals an uninterrupted one."""

import random
import signal
import time

import pytest

from fcfrnet_jax.training.journal import read_journal
from tests import numbered_scenes
from tests.commands.runs import finish, newest, start, wait_for_step

KILLS, STEPS = 10, 60


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
