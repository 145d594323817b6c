"""Fine-tunes a model with `--config=finetune`: one short run, looked at in several ways."""

import shutil

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.commands import train, trained_model
from fcfrnet_jax.configs import finetune
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.training.journal import read_journal
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.commands.evaluations import evaluated
from tests.commands.runs import SETTINGS
from tests.random_weights import random_variables

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_resnets")]
SPEC = SparseToCoarseSpec(18, width=4)
SHORT = {name: value for name, value in SETTINGS.items() if "width" not in name}


def config_of(model, scenes, **settings):
    config = finetune.get_config()
    config.update_from_flattened_dict(SHORT | {"checkpoint": str(model), "data_dir": str(scenes)})
    config.update_from_flattened_dict(settings)
    return config.lock()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, short_resnets):
    """Three frames, a model, and a run that fine-tunes it."""
    folder = tmp_path_factory.mktemp("finetune")
    numbered_scenes.write_sample(folder / "scenes", frames=3, height=48, width=160)
    checkpoint.save_model(folder / "model", SPEC, random_variables(SPEC), provenance={})
    train.run(config_of(folder / "model", folder / "scenes"), folder / "run")
    return folder


def test_the_result_is_a_model_like_the_checkpoint_with_its_running_statistics(folder):
    _, before = checkpoint.load_model(folder / "model")
    for name in ("best", "last"):
        assert fcfrnet_jax.load(folder / "run" / name).spec == SPEC
    _, after = checkpoint.load_model(folder / "run" / "last")
    jax.tree.map(np.testing.assert_array_equal, before["batch_stats"], after["batch_stats"])
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before["params"], after["params"])
    assert all(jax.tree.leaves(changed))


def test_the_start_is_validated_with_the_errors_of_the_checkpoint(folder, tmp_path):
    lines = read_journal(folder / "run")
    validations = [line for line in lines if "val/coarse/rmse_mm" in line]
    assert [line["step"] for line in validations] == [0, 4]
    settings = {"data_dir": str(folder / "scenes"), "checkpoint": str(folder / "model")}
    wanted = evaluated(tmp_path, crop=(0, 0), **settings)["metrics"]["coarse"]["rmse_mm"]
    assert validations[0]["val/coarse/rmse_mm"] == pytest.approx(wanted, rel=1e-4)


def test_the_result_can_be_fine_tuned_again(folder):
    last = folder / "run" / "last"
    config = trained_model.with_network(config_of(last, folder / "scenes"), folder / "again")
    start = trained_model.starting_variables(config, trained_model.make_model(config))
    jax.tree.map(np.testing.assert_array_equal, start, checkpoint.load_model(last)[1])


def test_the_run_resumes_without_its_checkpoint(folder, tmp_path):
    shutil.copytree(folder / "run", tmp_path / "run")
    config = config_of("gone", folder / "scenes", steps=5, validate_every=5)
    train.run(config, tmp_path / "run")
    assert checkpoint.load_spec(tmp_path / "run" / "last") == SPEC
    steps = [line["step"] for line in read_journal(tmp_path / "run")]
    assert steps == [0, 1, 2, 3, 4, 4, 5, 5]
