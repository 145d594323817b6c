"""Training, from the config to the saved models: stages, resuming, stopping, refused settings."""

import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.training import loop
from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.training.optimizers import make_optimizer
from fcfrnet_jax.training.snapshots import Snapshots
from fcfrnet_jax.training.state import initial_state
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.commands.evaluations import evaluated
from tests.commands.runs import finish, newest, start, trained, wait_for_step
from tests.random_weights import random_variables

COARSE, FINE = SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4)
pytestmark = pytest.mark.usefixtures("short_resnets")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=3, height=48, width=160)
    return root


@pytest.fixture(scope="module")
def coarse_run(scenes, short_resnets, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "coarse", scenes)


@pytest.fixture
def copied_run(coarse_run, tmp_path):
    shutil.copytree(coarse_run, tmp_path / "run")
    return tmp_path / "run"


def assert_same(tree, other):
    jax.tree.map(np.testing.assert_array_equal, tree, other)


def test_leaves_models_that_load(coarse_run):
    predictor = fcfrnet_jax.load(coarse_run / "best")
    assert predictor.spec == COARSE == checkpoint.load_spec(coarse_run / "last")
    image = np.zeros((1, 32, 64, 3), np.uint8)
    assert np.isfinite(predictor(image, np.ones((1, 32, 64), np.float32))).all()
    for name in ("best", "last"):
        provenance = checkpoint.load_provenance(coarse_run / name)
        assert provenance["program"] == f"fcfrnet_jax {fcfrnet_jax.__version__}"
        assert provenance["trained_steps"] == 4
        assert provenance["settings"]["crop"] == [32, 64]


def test_records_every_step_and_the_validation(coarse_run):
    lines = read_journal(coarse_run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert {"loss", "coarse/depth", "gradient_norm", "learning_rate"} < lines[0].keys()
    assert "val/coarse/rmse_mm" in lines[-1]
    assert list((coarse_run / "tensorboard").iterdir())


def test_validation_measures_whole_frames_as_the_evaluation_does(coarse_run, scenes, tmp_path):
    settings = {"data_dir": str(scenes), "checkpoint": str(coarse_run / "last"), "crop": (0, 0)}
    means = evaluated(tmp_path, **settings)["metrics"]
    recorded = read_journal(coarse_run)[-1]
    for name in ("fill", "coarse"):
        assert recorded[f"val/{name}/rmse_mm"] == pytest.approx(means[name]["rmse_mm"], rel=1e-4)


def test_the_moving_average_is_saved(coarse_run):
    optimizer = make_optimizer("adam", lambda _: 1.0)
    template = initial_state(random_variables(COARSE), optimizer, ema=True)
    state, _ = loop.restore(Snapshots(coarse_run / "snapshots", 3), template)
    _, saved = checkpoint.load_model(coarse_run / "last")
    assert_same(saved, {"params": state.ema_params, "batch_stats": state.batch_stats})
    assert not np.array_equal(saved["params"][HEAD]["kernel"], state.params[HEAD]["kernel"])


@pytest.mark.slow
def test_fine_stage_trains_on_the_frozen_coarse_network(coarse_run, scenes, tmp_path):
    frozen = coarse_run / "best"
    workdir = trained(tmp_path, scenes, stage="fine", coarse_checkpoint=str(frozen), steps=1)
    spec, variables = checkpoint.load_model(workdir / "last")
    assert spec == TwoStageSpec(COARSE, FINE)
    _, before = checkpoint.load_model(frozen)
    assert_same({kind: tree["coarse"] for kind, tree in variables.items()}, before)
    assert {"val/coarse/rmse_mm", "val/fine/rmse_mm"} < read_journal(workdir)[-1].keys()


@pytest.mark.slow
def test_joint_stage_trains_both(coarse_run, scenes, tmp_path):
    frozen = coarse_run / "best"
    workdir = trained(tmp_path, scenes, stage="joint", coarse_checkpoint=str(frozen), steps=2)
    assert {"coarse/depth", "fine/depth"} < read_journal(workdir)[0].keys()
    _, before = checkpoint.load_model(frozen)
    _, after = checkpoint.load_model(workdir / "last")
    kernels = before["params"][HEAD]["kernel"], after["params"]["coarse"][HEAD]["kernel"]
    assert 0 < np.abs(kernels[1] - kernels[0]).max() < 0.1


@pytest.mark.nightly
def test_resuming_equals_an_uninterrupted_run(coarse_run, copied_run, scenes):
    """Stopped after the snapshot of step 2, and resumed to the end."""
    shutil.rmtree(copied_run / "snapshots" / "4")
    trained(copied_run, scenes)
    journals = [(run / "metrics.jsonl").read_bytes() for run in (copied_run, coarse_run)]
    assert journals[0] == journals[1]
    assert newest(copied_run) == newest(coarse_run)
    assert_same(*(checkpoint.load_model(run / "last")[1] for run in (copied_run, coarse_run)))


def test_a_finished_run_is_left_alone(copied_run, scenes):
    before = (copied_run / "metrics.jsonl").read_bytes()
    trained(copied_run, scenes)
    assert (copied_run / "metrics.jsonl").read_bytes() == before


@pytest.mark.nightly
def test_a_longer_run_equals_an_extended_one(copied_run, scenes, tmp_path):
    trained(copied_run, scenes, steps=6)
    whole = trained(tmp_path / "whole", scenes, steps=6)
    journals = [(run / "metrics.jsonl").read_bytes() for run in (copied_run, whole)]
    assert journals[0] == journals[1]
    assert newest(copied_run) == newest(whole)


@pytest.mark.nightly
def test_an_extended_cosine_restarts_and_resumes_exactly(scenes, tmp_path):
    run, copy = tmp_path / "run", tmp_path / "copy"
    trained(run, scenes, schedule="cosine", steps=2)
    trained(run, scenes, schedule="cosine", steps=6)
    rates = [line["learning_rate"] for line in read_journal(run) if "learning_rate" in line]
    expected = [0.5 + 0.5 * np.cos(np.pi * done) for done in (0, 1 / 2, 0, 1 / 4, 1 / 2, 3 / 4)]
    np.testing.assert_allclose(rates, 1e-3 * np.array(expected), rtol=1e-5)
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "snapshots" / "6")
    trained(copy, scenes, schedule="cosine", steps=6)
    assert (copy / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert newest(copy) == newest(run)


def test_a_length_below_the_current_step_is_refused(copied_run, scenes):
    shutil.rmtree(copied_run / "last")
    before = (copied_run / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"is at step 4 already, and --config.steps=3 ends at ste"):
        trained(copied_run, scenes, steps=3)
    assert (copied_run / "metrics.jsonl").read_bytes() == before


def stopped_at_2(run):
    """Takes a finished run back to the snapshot of step 2, which has no validation."""
    shutil.rmtree(run / "snapshots" / "4")
    for name in ("best", "last"):
        shutil.rmtree(run / name)
    return run


def test_a_stopped_run_is_finished_at_its_step(copied_run, scenes, capsys):
    trained(stopped_at_2(copied_run), scenes, steps=2)
    for name in ("best", "last"):
        assert checkpoint.load_provenance(copied_run / name)["trained_steps"] == 2
    assert [line["step"] for line in read_journal(copied_run)] == [1, 2, 2]
    rmse = read_journal(copied_run)[-1]["val/coarse/rmse_mm"]
    printed = capsys.readouterr().err
    assert "Continuing with steps=2 (was 4)." in printed
    assert f"Step 2 of 2: models best (step 2, RMSE {rmse:.1f} mm) and last are in" in printed


@pytest.mark.nightly
def test_each_validation_and_the_best_are_told(scenes, tmp_path, capsys):
    trained(tmp_path / "run", scenes, validate_every=1)
    printed = capsys.readouterr().err.splitlines()
    lines = [line for line in printed if "RMSE / MAE in mm: fill " in line]
    assert len(lines) == 4
    assert lines[0].endswith("; best so far")
    rmse = [row["val/coarse/rmse_mm"] for row in read_journal(tmp_path / "run") if len(row) > 9]
    best = f"step {1 + int(np.argmin(rmse))}, RMSE {min(rmse):.1f} mm"
    assert f"models best ({best}) and last are in" in printed[-1]


@pytest.mark.nightly
def test_moved_data_resume(copied_run, coarse_run, scenes, tmp_path, capsys):
    shutil.copytree(scenes, tmp_path / "moved")
    shutil.rmtree(copied_run / "snapshots" / "4")
    trained(copied_run, tmp_path / "moved")
    assert (copied_run / "metrics.jsonl").read_bytes() == (
        coarse_run / "metrics.jsonl"
    ).read_bytes()
    assert (
        f"Continuing with data_dir='{tmp_path}/moved' (was '{scenes}')." in capsys.readouterr().err
    )


@pytest.mark.slow
def test_the_advice_about_a_damaged_frame_works_in_a_run(copied_run, scenes, tmp_path):
    shutil.copytree(scenes, tmp_path / "moved")
    victim = next((tmp_path / "moved" / "train").rglob("velodyne_raw/image_02/*.png"))
    victim.write_bytes(victim.read_bytes()[:500])
    shutil.rmtree(copied_run / "snapshots" / "4")
    with pytest.raises(ValueError, match=r"truncated .*skip_bad_frames=True leaves such frames"):
        trained(copied_run, tmp_path / "moved")
    trained(copied_run, tmp_path / "moved", skip_bad_frames=True)
    assert newest(copied_run)[0] == 4


def test_an_interrupted_run_tells_its_snapshot(copied_run, scenes, monkeypatch, capsys):
    shutil.rmtree(copied_run / "snapshots" / "4")

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained(copied_run, scenes)
    told = "Interrupted; the same command continues from the snapshot of step 2 in "
    assert told in capsys.readouterr().err


def test_another_config_is_refused(coarse_run, scenes):
    message = r"other settings, which the updates depend on: learning_rate was 0.001, is 0.1; give"
    with pytest.raises(ValueError, match=message):
        trained(coarse_run, scenes, learning_rate=0.1)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run(scenes, tmp_path):
    wild = {"optimizer": "sgd", "learning_rate": 1e30, "save_every": 1}
    message = r"the loss is nan at step 2, on the frames 2000_01_01_drive"
    with pytest.raises(ValueError, match=message):
        trained(tmp_path, scenes, **wild)
    assert Snapshots(tmp_path / "snapshots", 3).steps() == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stage": "both"}, "--config.stage must be one of coarse, fine, joint, got 'both'"),
        ({"mode": "magic"}, "mode must be one of dense, sparse, photo"),
        ({"batch_size": 6}, "--config.batch_size=6 must be a multiple of the 8 devices"),
        ({"accumulate": 0}, "--config.accumulate must be at least 1, got 0"),
        ({"stage": "fine"}, "needs either --config.coarse_checkpoint or --config.coarse_dir"),
        (
            {"stage": "joint", "checkpoint": "x", "coarse_checkpoint": "y"},
            "holds both networks, so it leaves --config.coarse_checkpoint unused; give one",
        ),
        ({"coarse_checkpoint": "x"}, "--config.stage=coarse does not use --config.coarse_checkp"),
        ({"coarse_dir": "maps"}, "--config.coarse_dir applies to --config.stage=fine only"),
        ({"split": "test_completion"}, "--config.split must be one of train, val, got"),
        ({"val_crop": (0, -1)}, r"--config.val_crop must be at least 0, got \(0, -1\)"),
        ({"crop": (30, 64)}, r"--config.crop must be two multiples of 16, got \(30, 64\)"),
        ({"steps": 0}, "--config.steps or --config.epochs must set the length of the training"),
        ({"keep": 0}, "--config.keep must be at least 1, got 0"),
        ({"optimizer": "lion"}, "--config.optimizer: unknown optimizer 'lion'; the choices are"),
        ({"schedule": "linear"}, "--config.schedule: unknown schedule 'linear'; the choices are"),
        ({"init": "zeros"}, "--config.init: .*resnet"),
        ({"checkpoint": "nowhere"}, "--config.checkpoint: nowhere: no such folder"),
        (
            {"freeze_batchnorm": True},
            "--config.freeze_batchnorm keeps the running statistics of --config.checkpoint, which",
        ),
        (
            {"coarse": {"layers": 101}},
            "--config.coarse: layers must be one of 10, 18, 34, 50, got 101",
        ),
        (
            {"augmentation": {"flip": 2.0}},
            "--config.augmentation.flip must be at least 0.0 and at most 1.0",
        ),
        ({"mode": "magic"}, "--config.mode must be one of dense, sparse, photo"),
        ({"fine_weight": -1.0}, "--config.fine_weight must be finite and at least 0.0, got -1.0"),
        (
            {"schedule": "cosine", "warmup_steps": 5},
            "a training of 4 steps ends before --config.warmup_steps=5 are over",
        ),
        ({"ema_decay": 1.0}, "--config.ema_decay must be at least 0.0 and below 1.0, got 1.0"),
        ({"init": "magic"}, "--config.init: unknown initialisation 'magic'"),
        ({"clutter": 0.5}, "--config.clutter applies to --config.source=synthetic only"),
        ({"misalignment": 1.0}, "--config.misalignment applies to --config.source=synthetic only"),
    ],
)
def test_invalid_settings_are_refused(settings, message, scenes, tmp_path):
    with pytest.raises(ValueError, match=message):
        trained(tmp_path / "run", scenes, **settings)
    # The corrected command can use the workdir.
    assert not (tmp_path / "run").exists()


def test_the_photometric_loss_needs_neighbours(scenes, tmp_path):
    """Every drive of the validation split has one frame."""
    with pytest.raises(ValueError, match=r"a photometric loss needs unbroken drives"):
        trained(tmp_path / "run", scenes, split="val", mode="photo")
    assert not (tmp_path / "run").exists()


@pytest.mark.nightly
def test_only_supervision_by_sparse_depth_needs_no_ground_truth(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for folder in (data / "train").rglob("groundtruth"):
        shutil.rmtree(folder)

    with pytest.raises(ValueError, match=r"train frames .* have no ground_truth"):
        trained(tmp_path / "dense", data)
    trained(tmp_path / "sparse", data, mode="sparse", steps=1, validate_every=0)
    assert read_journal(tmp_path / "sparse")[0]["coarse/depth"] > 0


def test_leaving_out_beams_needs_calibration(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    next(data.rglob("calib_cam_to_cam.txt")).unlink()
    beams = {"beams": (32,), "beam_probability": 0.5}
    with pytest.raises(
        ValueError,
        match=r"2 frames cannot be used: .*calib_cam_to_cam.txt is missing .* need calibration$",
    ):
        trained(tmp_path / "run", data, augmentation=beams)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(scenes, tmp_path):
    finish(start(tmp_path / "whole", scenes))
    moments = random.Random(0)
    for _ in range(2):
        process = start(tmp_path / "killed", scenes)
        done = [line["step"] for line in read_journal(tmp_path / "killed")] or [0]
        wait_for_step(tmp_path / "killed", process, done[-1] + moments.randint(1, 3))
        time.sleep(moments.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finish(start(tmp_path / "killed", scenes))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert newest(killed) == newest(whole)


@pytest.mark.slow
def test_sigterm_saves_and_ends_cleanly(scenes, tmp_path):
    process = start(tmp_path / "run", scenes, steps=500, save_every=400)
    wait_for_step(tmp_path / "run", process, 3)
    process.send_signal(signal.SIGTERM)
    printed = finish(process)
    step = newest(tmp_path / "run")[0]
    assert f"stopped; the same command continues from the snapshot of step {step} in" in printed
    assert step == read_journal(tmp_path / "run")[-1]["step"]
