"""The command that renders datasets."""

import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from configs import render as render_config
from fcfrnet_jax.commands import render
from fcfrnet_jax.data import check, kitti, plausibility
from fcfrnet_jax.data.images import read_image
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64
from tests import numbered_scenes
from tests.conftest import ROOT

SETTINGS = {
    "frames": 8,
    "val_share": 0.375,
    "selection_share": 0.25,
    "drive_length": 3,
    "camera": (48, 160),
    "seed": 5,
}


def config_of(**settings):
    config = render_config.get_config()
    config.update(SETTINGS | settings)
    return config.lock()


def command(workdir, **settings):
    flags = [f"--config.{name}={value}" for name, value in (SETTINGS | settings).items()]
    program = [sys.executable, "-m", "fcfrnet_jax.main", "--config=configs/render.py"]
    return subprocess.Popen(
        [*program, f"--workdir={workdir}", *flags], cwd=ROOT, text=True, stderr=subprocess.PIPE
    )


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_outcome_is_reported(tmp_path, monkeypatch, capsys):
    numbered_scenes.put_in_place(monkeypatch)
    for outcome in (f"Wrote {tmp_path / 'set'}", f"{tmp_path / 'set'} is complete already"):
        render.run(config_of(), tmp_path / "set")
        parts = "5 frames for train, 3 for val (2 of them also in the selection)"
        assert f"{outcome}: {parts}" in capsys.readouterr().err


def test_a_data_set_of_another_config_is_refused(tmp_path, monkeypatch):
    numbered_scenes.put_in_place(monkeypatch)
    render.run(config_of(), tmp_path / "set")
    with pytest.raises(ValueError, match="seed is 5, not 6; delete it or use another folder"):
        render.run(config_of(seed=6), tmp_path / "set")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "--config.frames must be at least 1, got 0"),
        ({"val_share": 1.5}, "--config.val_share must be at least 0.0 and at most 1.0, got 1.5"),
        ({"selection_share": 0.5}, "--config.selection_share must be at most --config.val_share"),
        ({"camera": (48,)}, "--config.camera must be rows and columns"),
        ({"camera": (8, 160)}, r"--config.camera must be at least 16, got \(8, 160\)"),
        ({"seed": -1}, "--config.seed must be at least 0 and at most 9223372036854775807, got -1"),
        (
            {"seed": 2**63},
            "--config.seed must be at least 0 and at most 9223372036854775807, got 9",
        ),
        ({"beams": 24}, "--config.beams must be 64, 32 or 16, got 24"),
        ({"drive_length": 0}, "--config.drive_length must be at least 1 and at most 10, got 0"),
    ],
)
def test_invalid_settings_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        render.run(config_of(**settings), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("beams", "expected"), [(64, 64), (32, 32), (16, 16)])
def test_the_scanner_has_the_requested_number_of_beams(beams, expected):
    plan = render.make_plan(config_of(beams=beams, camera=(375, 1242)))
    assert plan.camera == KITTI
    assert len(plan.lidar.elevations) == expected
    assert (plan.lidar == HDL64) == (beams == 64)


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """A dataset from the real renderer, written by the command."""
    workdir = tmp_path_factory.mktemp("streets") / "whole"
    process = command(workdir)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Rendering" in errors
    return workdir


@pytest.mark.slow
def test_a_killed_and_repeated_command_gives_the_same_data_set(streets, tmp_path):
    process = command(tmp_path / "killed")
    while process.poll() is None and len(list(tmp_path.rglob("*.png"))) < 7:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed").exists()
    process = command(tmp_path / "killed")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert contents(tmp_path / "killed") == contents(streets)


@pytest.mark.slow
def test_rendered_frames_pass_the_checks_and_drives_move_on(streets):
    frames = kitti.find_frames(streets, "train")
    assert check.check_frames(frames, (48, 160)) == []
    plausibility.check_depth(frames, (0, 0))
    first, second, other = (read_image(frames[i].image).astype(float) for i in (0, 1, 3))
    assert 1 < np.abs(first - second).mean() < np.abs(first - other).mean()
