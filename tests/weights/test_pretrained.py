"""The model in the package: its description, its files, and its accuracy on real frames."""

import json
import tomllib

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import fcfrnet_jax
from fcfrnet_jax.commands import evaluate, trained_model
from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.workdir import OLD_BEHAVIOUR
from fcfrnet_jax.configs import eval as eval_config
from fcfrnet_jax.configs import pretrain_compact
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import arrays, checkpoint
from tests.conftest import ROOT

DIGEST = "3d6258d24e3c0a7ceafc97e2d5ceede2"


def files():
    return [path for path in fcfrnet_jax.COMPACT.rglob("*") if path.is_file()]


def test_is_small():
    assert 0 < sum(path.stat().st_size for path in files()) <= 12e6


def test_networks_are_those_of_the_committed_config():
    spec = checkpoint.load_spec(fcfrnet_jax.COMPACT)
    config = pretrain_compact.get_config()
    assert isinstance(spec, TwoStageSpec)
    assert spec.coarse == SparseToCoarseSpec(**config.coarse.to_dict())
    assert spec.fine == CoarseToFineSpec(**config.fine.to_dict())


def test_was_trained_with_the_committed_config_on_rendered_streets_alone():
    config = flat(ConfigDict(json.loads(json.dumps(pretrain_compact.get_config().to_dict()))))
    # The last part of each training continued a model for fewer and smaller steps.
    other = {"batch_size", "checkpoint", "ema_decay", "learning_rate", "schedule", "seed", "steps"}
    other |= {"pool_frames", "warmup_steps"}
    models = checkpoint.load_provenance(fcfrnet_jax.COMPACT)["averaged"]
    assert len(models) == 2
    for record in models:
        # Settings that are newer than the training have the values that it had without them.
        settings = OLD_BEHAVIOUR | flat(ConfigDict(record["settings"]))
        assert {name for name in config if settings[name] != config[name]} <= other
        assert sum(part["steps"] for part in record["parts"]) == record["trained_steps"]
        assert (settings["source"], settings["data_dir"]) == ("synthetic", "")


def test_has_the_weights_that_its_description_was_written_for():
    _, variables = checkpoint.load_model(fcfrnet_jax.COMPACT)
    digest = arrays.digest(arrays.by_name(variables))
    record = json.loads((fcfrnet_jax.COMPACT / "model.json").read_text())
    assert record["variables"]["digest"] == digest == DIGEST


def test_its_name_is_enough_to_predict_and_to_start_a_training():
    spec, variables = checkpoint.load_model(fcfrnet_jax.COMPACT)
    assert fcfrnet_jax.load("compact").spec == spec
    config = pretrain_compact.get_config()
    config.checkpoint = "compact"
    found = trained_model.starting_variables(config, trained_model.make_model(config))
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_contains_no_path_of_the_training_machine():
    for path in files():
        assert b"/tmp" not in path.read_bytes()
        assert b"/home" not in path.read_bytes()


def test_is_packaged():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    package = ROOT / "fcfrnet_jax"
    patterns = project["tool"]["setuptools"]["package-data"]["fcfrnet_jax"]
    packaged = {path for pattern in patterns for path in package.glob(pattern)}
    packaged |= {path for folder in packaged for path in folder.glob("*")}
    assert files()
    assert set(files()) <= packaged


def test_predicts_any_size():
    predictor = fcfrnet_jax.load(fcfrnet_jax.COMPACT)
    sparse_depth = np.zeros((1, 50, 70), np.float32)
    sparse_depth[:, ::10, ::10] = 12.0
    depth = predictor(np.full((1, 50, 70, 3), 128, np.uint8), sparse_depth)
    # A wall ahead: the networks change the fill only a little.
    np.testing.assert_allclose(depth, 12.0, atol=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val_selection", "val"])
def test_on_real_frames_every_stage_beats_the_one_before(split, kitti_real, tmp_path):
    config = eval_config.get_config()
    config.update(data_dir=str(kitti_real), split=split, batch_size=8, panels=0)
    means = evaluate.run(config.lock(), tmp_path)["metrics"]
    for measure in ("rmse_mm", "mae_mm"):
        assert means["fine"][measure] < means["coarse"][measure] < means["fill"][measure]
    assert means["fine"]["mae_mm"] < 0.93 * means["fill"]["mae_mm"]
