"""Training, from the command line to the models it leaves: resume, stop, and what is refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import numpy as np
import pytest

import fcfrnet_jax
from configs import train as train_config
from fcfrnet_jax.commands import train, train_setup
from fcfrnet_jax.networks import models, specs
from fcfrnet_jax.training import update
from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.training.optimizers import make_optimizer
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.conftest import ROOT, xla_flags
from tests.random_weights import random_variables

SETTINGS = {
    "crop": (32, 64),
    "batch_size": 8,
    "steps": 4,
    "log_every": 1,
    "validate_every": 4,
    "save_every": 2,
    "panels": 1,
    "warmup_steps": 0,
}
NARROW = {"coarse.width": 4, "fine.width": 4}
pytestmark = pytest.mark.usefixtures("short_resnets")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=3, height=48, width=160)
    return root


def config_of(scenes, **settings):
    config = train_config.get_config()
    config.update_from_flattened_dict(NARROW)
    config.update(data_dir=str(scenes), **SETTINGS)
    config.update(settings)
    return config.lock()


def trained(workdir, scenes, **settings):
    train.run(config_of(scenes, **settings), workdir)
    return workdir


@pytest.fixture(scope="module")
def coarse_run(scenes, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "coarse", scenes)


def test_leaves_models_that_load(coarse_run):
    for name in ("best", "last"):
        predictor = fcfrnet_jax.load(coarse_run / name)
        assert predictor.spec == specs.SparseToCoarseSpec(18, width=4)
        image = np.zeros((1, 32, 64, 3), np.uint8)
        assert np.isfinite(predictor(image, np.ones((1, 32, 64), np.float32))).all()
        provenance = checkpoint.load_provenance(coarse_run / name)
        assert provenance["trained_steps"] == 4
        assert provenance["settings"]["crop"] == [32, 64]


def test_records_every_step_and_the_validation(coarse_run):
    lines = read_journal(coarse_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert {"loss", "coarse/depth", "gradient_norm", "learning_rate"} < lines[0].keys()
    assert "val/coarse/rmse_mm" in lines[-1]
    assert list((coarse_run / "tensorboard").iterdir())


def test_fine_stage_trains_on_the_frozen_coarse_network(coarse_run, scenes, tmp_path):
    frozen = coarse_run / "best"
    workdir = trained(tmp_path, scenes, stage="fine", coarse_checkpoint=str(frozen))
    spec, variables = checkpoint.load_model(workdir / "last")
    assert isinstance(spec, specs.TwoStageSpec)
    _, before = checkpoint.load_model(frozen)
    kept = {kind: tree["coarse"] for kind, tree in variables.items()}
    jax.tree.map(np.testing.assert_array_equal, kept, before)


def test_joint_stage_trains_both(coarse_run, scenes, tmp_path):
    frozen = coarse_run / "best"
    workdir = trained(tmp_path, scenes, stage="joint", coarse_checkpoint=str(frozen), steps=2)
    lines = read_journal(workdir)
    assert {"coarse/depth", "fine/depth"} < lines[0].keys()
    _, before = checkpoint.load_model(frozen)
    _, after = checkpoint.load_model(workdir / "last")
    kernel = ("convtf", "kernel")
    assert not np.array_equal(
        before["params"][kernel[0]][kernel[1]], after["params"]["coarse"][kernel[0]][kernel[1]]
    )


@pytest.mark.parametrize("stage", ["fine", "joint"])
def test_a_share_of_the_residual_is_kept(stage):
    fine = specs.CoarseToFineSpec(18, width=4)
    coarse = specs.SparseToCoarseSpec(18, width=4)
    spec = fine if stage == "fine" else specs.TwoStageSpec(coarse, fine)
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    depth = random.uniform(1, 80, (1, 32, 64, 1)).astype(np.float32)
    variables = random_variables(spec)
    state = update.initial_state(variables, make_optimizer("sgd", lambda _: 1.0))
    depths = []
    for share in (1.0, 0.25):
        config = config_of("nowhere", stage=stage, residual_share=share)
        kept = train.trained_variables(config, state)
        found = jax.jit(models.build(spec).apply)(kept, image, depth)
        depths.append((depth, found) if stage == "fine" else found)
    (before, whole), (same, quarter) = depths
    np.testing.assert_array_equal(same, before)
    before = models.clip_depth(before, fine.max_depth)
    assert np.abs(whole - before).max() > 0.01
    np.testing.assert_allclose(quarter - before, (whole - before) / 4, rtol=1e-3, atol=1e-4)


def test_resuming_equals_going_on(coarse_run, scenes, tmp_path):
    """Stopped after the snapshot of step 2, and on with the rest."""
    shutil.copytree(coarse_run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "snapshots" / "4")
    resumed = trained(tmp_path / "run", scenes)
    assert (resumed / "metrics.jsonl").read_bytes() == (coarse_run / "metrics.jsonl").read_bytes()
    ours, theirs = (checkpoint.load_model(run / "last")[1] for run in (resumed, coarse_run))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_finished_run_is_left_alone(coarse_run, scenes, tmp_path):
    shutil.copytree(coarse_run, tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    trained(tmp_path / "run", scenes)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_another_config_is_refused(coarse_run, scenes):
    with pytest.raises(ValueError, match=r"another config: learning_rate was 0.001, is 0.1; "):
        trained(coarse_run, scenes, learning_rate=0.1)


def test_a_loss_that_is_not_finite_stops_the_run(scenes, tmp_path):
    with pytest.raises(
        ValueError, match=r"is (nan|inf) at step \d, on the frames 2000_01_01_drive"
    ):
        trained(tmp_path, scenes, optimizer="sgd", learning_rate=1e30, save_every=1)
    restored = Snapshots(tmp_path / "snapshots", 3)
    assert restored.steps() == [1]


def test_moving_average_is_what_is_kept(scenes, tmp_path):
    settings = {"steps": 1, "validate_every": 0, "save_every": 1}
    drawn = train_setup.starting_variables(
        config_of(scenes), train_setup.make_model(config_of(scenes))
    )
    plain, averaged = (
        checkpoint.load_model(trained(tmp_path / name, scenes, ema_decay=d, **settings) / "last")
        for name, d in (("plain", 0.0), ("averaged", 0.9999))
    )
    # The first update forgets nine tenths of the start, whatever the decay.
    expected = jax.tree.map(
        lambda start, end: 0.1 * start + 0.9 * end, drawn["params"], plain[1]["params"]
    )
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), averaged[1]["params"], expected
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stage": "both"}, "config.stage must be one of coarse, fine, joint, got 'both'"),
        ({"mode": "magic"}, "mode must be one of dense, sparse, photo"),
        ({"batch_size": 6}, "config.batch_size=6 does not divide by the 8 devices"),
        ({"stage": "fine"}, "needs the coarse depth from --config.coarse_checkpoint or"),
        ({"coarse_dir": "maps"}, "config.coarse_dir is for config.stage=fine"),
        ({"split": "test_completion"}, "config.split must be one of train, val"),
        ({"crop": (30, 64)}, "config.crop must be two multiples of 16"),
        ({"steps": 0}, "config.steps or config.epochs must say how long"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'; the choices are adam"),
        ({"schedule": "linear"}, "unknown schedule 'linear'; the choices are"),
        ({"init": "zeros"}, "resnet"),
        ({"checkpoint": "nowhere"}, "nowhere: no such folder"),
        ({"residual_share": 0.0}, "config.residual_share must be over 0 and at most 1, got 0.0"),
        ({"residual_share": 0.5}, "config.residual_share is the fine network's"),
        ({"coarse": {"layers": 101}}, "layers must be one of 18, 34, 50, got 101"),
    ],
)
def test_what_cannot_be_is_refused(settings, message, scenes, tmp_path):
    with pytest.raises(ValueError, match=message):
        trained(tmp_path / "run", scenes, **settings)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_photo_needs_neighbours(scenes, tmp_path):
    """Every drive of the validation split has one frame."""
    with pytest.raises(ValueError, match=r"a photometric loss needs unbroken drives"):
        trained(tmp_path, scenes, split="val", mode="photo")


def test_a_split_without_ground_truth(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for folder in (data / "train").rglob("groundtruth"):
        shutil.rmtree(folder)
    with pytest.raises(ValueError, match=r"train frames .* have no ground_truth"):
        trained(tmp_path / "run", data)
    # Supervised by the sparse depth itself it needs none.
    trained(tmp_path / "sparse", data, mode="sparse", steps=1, validate_every=0)


def run_command(workdir, scenes, devices=1, **settings):
    flat = {"steps": 12, "batch_size": 2, "save_every": 3, "validate_every": 6} | settings
    flags = [f"--config.{name}={value}" for name, value in (SETTINGS | flat | NARROW).items()]
    environment = os.environ | {"XLA_FLAGS": xla_flags(devices)}
    command = [sys.executable, "-m", "tests.quick_command", "--config=configs/train.py"]
    arguments = [f"--config.data_dir={scenes}", f"--workdir={workdir}", *flags]
    return subprocess.Popen([*command, *arguments], cwd=ROOT, env=environment, text=True,
                            stderr=subprocess.PIPE)  # fmt: skip


def finished(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors


def wait_for_line(workdir, process, step):
    while process.poll() is None:
        if any(line["step"] >= step for line in read_journal(workdir)):
            return
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(scenes, tmp_path):
    finished(run_command(tmp_path / "whole", scenes))
    moments = random.Random(0)
    for _ in range(2):
        process = run_command(tmp_path / "killed", scenes)
        done = [line["step"] for line in read_journal(tmp_path / "killed")] or [0]
        wait_for_line(tmp_path / "killed", process, done[-1] + moments.randint(1, 3))
        time.sleep(moments.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finished(run_command(tmp_path / "killed", scenes))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert newest(killed) == newest(whole)


def newest(workdir):
    """The digest, over parameters and optimizer state alike, that a run's last snapshot bears."""
    folders = [path for path in (workdir / "snapshots").iterdir() if path.name.isdecimal()]
    last = max(folders, key=lambda path: int(path.name))
    return last.name, json.loads((last / "check" / "metadata").read_text())["digest"]


@pytest.mark.slow
def test_sigterm_saves_and_ends_cleanly(scenes, tmp_path):
    process = run_command(tmp_path / "run", scenes, steps=500, save_every=400)
    wait_for_line(tmp_path / "run", process, 3)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 0
    assert "stopped; the same command goes on" in errors
    step, _ = newest(tmp_path / "run")
    assert int(step) == read_journal(tmp_path / "run")[-1]["step"]
