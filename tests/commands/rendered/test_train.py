"""Training on a pool of rendered frames, from the config to the models."""

import shutil

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.commands import train, trained_model
from fcfrnet_jax.commands.rendered.validation import SELECTING
from fcfrnet_jax.commands.train_check import check_config
from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.commands.rendered.runs import NETWORKS, config_of
from tests.commands.runs import newest


@pytest.fixture(scope="module")
def quick():
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        yield


@pytest.fixture(scope="module")
def pools(tmp_path_factory):
    return tmp_path_factory.mktemp("pools")


@pytest.fixture(scope="module")
def whole_run(quick, pools, tmp_path_factory):
    """Four steps, with validations after two and four."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train.run(config_of(pools, validate_every=2), folder)
    return folder


@pytest.mark.slow
def test_trains_validates_and_selects_the_best(whole_run):
    lines = read_journal(whole_run)
    assert [line["step"] for line in lines] == [1, 2, 2, 3, 4, 4]
    assert {"fine/exact", "fine/edges", "fine/scale", "coarse/depth"} <= lines[0].keys()
    validated = {line["step"]: line for line in lines if SELECTING in line}
    patterns = ("64_beams", "32_beams", "16_beams", "8_beams", "1000_points")
    for line in validated.values():
        rmse = {m: [line[f"val/{p}/{m}/rmse_mm"] for p in patterns] for m in ("fill", "fine")}
        assert line[SELECTING] == pytest.approx(np.mean(np.divide(rmse["fine"], rmse["fill"])))
        assert {"val/16_beams_gray/fine/rmse_mm", "val/dense_traffic/fine/worst_frame"} <= set(line)
    best = min(validated, key=lambda step: validated[step][SELECTING])
    assert checkpoint.load_provenance(whole_run / "best")["trained_steps"] == best


@pytest.mark.slow
def test_resuming_equals_an_uninterrupted_run(quick, whole_run, pools, tmp_path):
    """Stopped after the snapshot of step 2, and resumed to the end."""
    shutil.copytree(whole_run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "snapshots" / "4")
    train.run(config_of(pools, validate_every=2), tmp_path / "run")
    journals = [path / "metrics.jsonl" for path in (tmp_path / "run", whole_run)]
    assert journals[0].read_bytes() == journals[1].read_bytes()
    assert newest(tmp_path / "run") == newest(whole_run)


@pytest.mark.slow
def test_a_model_is_trained_further(quick, whole_run, pools, tmp_path):
    config = config_of(pools, validate_every=2, checkpoint=str(whole_run / "last"), seed=1, steps=2)
    train.run(config, tmp_path)
    first, last = read_journal(whole_run)[-1], read_journal(tmp_path)[-1]
    assert last["step"] == 2
    assert last[SELECTING] != first[SELECTING]
    assert checkpoint.load_provenance(tmp_path / "last")["settings"]["checkpoint"]


def test_training_starts_from_the_weights_of_a_model(pools, tmp_path):
    config = config_of(pools, checkpoint=str(tmp_path / "model"), seed=1)
    model = trained_model.make_model(config)
    drawn = trained_model.starting_variables(config_of(pools), model)
    checkpoint.save_model(tmp_path / "model", model.spec, drawn, provenance={})
    started = trained_model.starting_variables(config, model)
    jax.tree.map(np.testing.assert_array_equal, started, drawn)


def test_a_model_without_image_input(quick, pools, tmp_path):
    """It neither asks for images nor takes them."""
    config = config_of(pools, fine=NETWORKS["fine"] | {"modality": "d"})
    check_config(config)
    model = trained_model.make_model(config)
    variables = trained_model.starting_variables(config, model)
    checkpoint.save_model(tmp_path / "model", model.spec, variables, provenance={})
    predictor = fcfrnet_jax.load(tmp_path / "model")
    sparse = np.zeros((32, 48), np.float32)
    sparse[20:, ::3] = 7.0
    assert predictor(None, sparse).shape == (32, 48)
    with pytest.raises(ValueError, match="image"):
        predictor(np.zeros((32, 48, 3), np.uint8), sparse)
    assert not model.spec.uses_image


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "photo"}, "--config.mode=photo needs nearby frames, which a pool"),
        ({"misalignment": 0.5}, "--config.misalignment must be a whole number .* got 0.5"),
        ({"val_crop": (16, 240)}, r"--config.val_crop=\(16, 240\) must be multiples of 16"),
        (
            {"fine": NETWORKS["fine"] | {"patch": 1}},
            "--config.scale_weight needs a fine network of patches",
        ),
        ({"pool_frames": 0}, "--config.exact_weight needs the exact depth of a pool"),
        ({"source": "files"}, "--config.pool_frames applies to --config.source=synthetic only"),
    ],
)
def test_settings_that_do_not_fit_a_pool_are_refused(settings, message, pools):
    with pytest.raises(ValueError, match=message):
        check_config(config_of(pools, **settings))
