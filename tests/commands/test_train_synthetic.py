"""Training on streets rendered during training, from the config to the models."""

import shutil
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.commands import train_setup, trained_model, validation
from fcfrnet_jax.commands.data import opening
from fcfrnet_jax.streets import sample
from fcfrnet_jax.streets.frame import RenderedPair
from fcfrnet_jax.training import street_batches
from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.commands.runs import SETTINGS, STREETS, config_of, finish, newest, start, trained
from tests.conftest import ROOT

pytestmark = pytest.mark.usefixtures("short_resnets")


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        yield


@pytest.fixture(scope="module")
def scenes(quick, tmp_path_factory):
    """Scenes for the validation."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    sample.write_sample(root, frames=2, height=40, width=120)
    return root


@pytest.fixture(scope="module")
def whole_run(scenes, short_resnets, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "whole", scenes, **STREETS)


@pytest.mark.nightly
def test_the_command_trains_on_rendered_streets(scenes, tmp_path):
    """With the real renderer, and with neighbours."""
    settings = SETTINGS | STREETS | {"data_dir": scenes, "mode": "dense+photo"}
    flags = [f"--config.{name}={value}" for name, value in settings.items()]
    program = [sys.executable, "-m", "fcfrnet_jax.main", "--config=configs/train.py"]
    done = subprocess.run(
        [*program, f"--workdir={tmp_path}", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    losses = [line["coarse/depth"] for line in read_journal(tmp_path)[:4]]
    assert len(set(losses)) == 4
    # The checkpoint holds the whole ResNet, so it does not load in this process.
    assert checkpoint.load_spec(tmp_path / "last").width == 4


@pytest.mark.nightly
def test_two_processes_render_the_batches_of_one(scenes, tmp_path):
    """Two processes of two devices each, and one of four."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    settings = STREETS | {"batch_size": 4, "steps": 2, "validate_every": 0}
    job = settings | {"coordinator": address, "processes": 2}
    both = [start(tmp_path / "two", scenes, devices=2, **job, process=i) for i in range(2)]
    for process in both:
        finish(process)
    finish(start(tmp_path / "one", scenes, devices=4, **settings))
    pairs = zip(read_journal(tmp_path / "two"), read_journal(tmp_path / "one"), strict=True)
    for two, one in pairs:
        assert two == pytest.approx(one, rel=1e-3)


def test_trains_and_validates(whole_run):
    lines = read_journal(whole_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert len({line["loss"] for line in lines[:4]}) == 4
    assert "val/coarse/rmse_mm" in lines[-1]


@pytest.mark.slow
def test_resuming_equals_an_uninterrupted_run(whole_run, scenes, tmp_path):
    """Stopped after the snapshot of step 2, and resumed to the end."""
    shutil.copytree(whole_run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "snapshots" / "4")
    trained(tmp_path / "run", scenes, **STREETS)
    journals = [path / "metrics.jsonl" for path in (tmp_path / "run", whole_run)]
    assert journals[0].read_bytes() == journals[1].read_bytes()
    assert newest(tmp_path / "run") == newest(whole_run)


def test_batches_and_nearby_frames_for_the_photometric_loss(quick, monkeypatch, scenes):
    rotation, translation = jnp.eye(3)[jnp.array([1, 0, 2])], jnp.array([1.0, 2.0, 3.0])

    def render_pair(*view):
        frame = numbered_scenes.render_scene(*view)
        return RenderedPair(frame, 255 - frame.image, rotation, translation)

    monkeypatch.setattr(street_batches, "render_pair", render_pair)
    plain = {"flip": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0}
    config = config_of(scenes, **STREETS, mode="photo", augmentation=plain)
    source = train_setup.make_source(config, [])
    assert source.name(7) == "synthetic frame 7 of seed 0"
    positions, inputs = next(source.batches(5))
    np.testing.assert_array_equal(positions, np.arange(40, 48))
    assert inputs["image"].shape == (8, 1, 32, 64, 3)
    np.testing.assert_array_equal(inputs["near_image"], 255 - np.asarray(inputs["image"]))
    np.testing.assert_array_equal(inputs["rotation"][5, 0], rotation)
    np.testing.assert_array_equal(inputs["translation"][5, 0], translation)


def test_every_process_needs_a_frame_to_validate(quick, scenes, monkeypatch):
    config = config_of(scenes, **STREETS)
    frames, _ = train_setup.validation_frames(
        config, opening.open_data_set(config), trained_model.make_model(config)
    )
    monkeypatch.setattr(jax, "process_count", lambda: 3)
    with pytest.raises(ValueError, match=r"--config.val_split=val has 2 frames, too few for 3"):
        validation.check_share(config, frames)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "radio"}, "--config.source must be one of files, synthetic, got 'radio'"),
        ({"steps": 0, "epochs": 3}, "has no epochs; set the length with --config.steps"),
        ({"schedule": "step"}, "--config.schedule=step counts epochs"),
        ({"crop": (32, 128)}, r"--config.camera=\(40, 120\) must be .*--config.crop=\(32, 128\)"),
        ({"camera": (40,)}, r"--config.camera=\(40,\) must be rows and columns"),
        (
            {"stage": "fine", "coarse_dir": "maps"},
            "give --config.coarse_checkpoint instead of --config.coarse_dir=maps",
        ),
        ({"augmentation": {"beams": (99,)}}, r"--config.augmentation.beams .* 64, got \(99,\)"),
        ({"clutter": 1.5}, "--config.clutter must be at least 0.0 and at most 1.0, got 1.5"),
        ({"misalignment": 32.0}, "--config.source=synthetic: misalignment .* 0 and .* 32"),
    ],
)
def test_invalid_settings_are_refused(settings, message, scenes, tmp_path):
    with pytest.raises(ValueError, match=message):
        trained(tmp_path / "run", scenes, **STREETS | settings)
    assert not (tmp_path / "run").exists()
