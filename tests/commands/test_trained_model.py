"""The variables with which a training starts, and messages that name what does not match."""

import shutil

import jax
import numpy as np
import pytest

from fcfrnet_jax.commands import trained_model
from fcfrnet_jax.configs import finetune
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
from tests.commands.runs import config_of
from tests.random_weights import random_variables

pytestmark = pytest.mark.usefixtures("short_resnets")
WIDE = SparseToCoarseSpec(18, "gd", 8, base="fill")
COARSE = SparseToCoarseSpec(18, width=4)
FINE = CoarseToFineSpec(18, width=4, window=3)
MODELS = {"wide": WIDE, "coarse": COARSE, "fine": FINE, "both": TwoStageSpec(COARSE, FINE)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, short_resnets):
    folder = tmp_path_factory.mktemp("models")
    for name, spec in MODELS.items():
        checkpoint.save_model(folder / name, spec, random_variables(spec), provenance={})
    return folder


def in_folder(folder, settings):
    names = {"checkpoint", "coarse_checkpoint"} & settings.keys()
    return settings | {name: str(folder / settings[name]) for name in names}


def start(folder, **settings):
    config = config_of("", **in_folder(folder, settings))
    return trained_model.starting_variables(config, trained_model.make_model(config))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"checkpoint": "wide"},
            "checkpoint=.*/wide holds a model of another shape; to start from it, set "
            r"--config.coarse.modality=gd \(not rgbd\), --config.coarse.width=8 \(not 4\), "
            r"--config.coarse.base=fill \(not none\)$",
        ),
        (
            {"checkpoint": "fine", "stage": "fine", "coarse_checkpoint": "wide"},
            r"checkpoint=.*/fine holds .* shape; .* set --config.fine.window=3 \(not 5\)$",
        ),
        (
            {"checkpoint": "both", "stage": "joint"},
            r"checkpoint=.*/both holds .* shape; .* set --config.fine.window=3 \(not 5\)$",
        ),
        (
            {"coarse_checkpoint": "wide", "stage": "joint"},
            r"coarse_checkpoint=.*/wide holds a.*set --config.coarse.modality=gd \(not rgbd\), ",
        ),
        (
            {"checkpoint": "fine"},
            "holds a coarse_to_fine model, expected sparse_to_coarse; set --config.stage=fine",
        ),
        (
            {"checkpoint": "coarse", "stage": "joint"},
            "sparse_to_coarse model, expected two_stage; give it as --config.coarse_checkpoint",
        ),
        (
            {"coarse_checkpoint": "fine", "stage": "joint"},
            "coarse_checkpoint=.*/fine holds a coarse_to_fine model, expected sparse_to_coarse$",
        ),
        (
            {"coarse_checkpoint": "fine", "stage": "fine"},
            "coarse_checkpoint: .*/fine holds a coarse_to_fine model, expected sparse_to_coarse o",
        ),
    ],
)
def test_only_what_differs_is_named_with_the_flag_that_makes_it_agree(folder, settings, message):
    with pytest.raises(ValueError, match=message):
        start(folder, **settings)


def finetune_config(folder, name, **settings):
    config = finetune.get_config()
    config.update_from_flattened_dict({"checkpoint": str(folder / name)} | settings)
    return config


@pytest.mark.parametrize(
    ("name", "stage", "expected"),
    [("wide", "coarse", WIDE), ("fine", "fine", FINE), ("both", "joint", MODELS["both"])],
)
def test_fine_tuning_takes_stage_and_network_of_its_checkpoint(folder, name, stage, expected):
    config = trained_model.with_network(finetune_config(folder, name), folder / "new")
    assert config.stage == stage
    assert trained_model.make_model(config).spec == expected


def test_network_settings_that_contradict_the_checkpoint_are_named_together(folder):
    wrong = {"fine.width": 16, "coarse.keep_measured": True, "fine.window": 3}
    message = (
        r"contradicted by --config.coarse.keep_measured=True \(the checkpoint has False\), "
        r"--config.fine.width=16 \(the checkpoint has 4\); leave the network settings out"
    )
    with pytest.raises(ValueError, match=message):
        trained_model.with_network(finetune_config(folder, "both", **wrong), folder / "new")


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("", "--config.checkpoint is empty, and coarse.base, .* would come from it; give a model"),
        ("gone", "--config.checkpoint: gone: no such folder"),
    ],
)
def test_network_settings_need_a_checkpoint(checkpoint, message, tmp_path):
    config = finetune.get_config()
    config.checkpoint = checkpoint
    with pytest.raises(ValueError, match=message):
        trained_model.with_network(config, tmp_path)


def test_following_the_advice_loads_the_model(folder):
    config = config_of("", checkpoint=str(folder / "wide"))
    config.coarse.update(modality="gd", width=8, base="fill")
    found = trained_model.starting_variables(config, trained_model.make_model(config))
    jax.tree.map(np.testing.assert_array_equal, found, random_variables(WIDE))


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        ({"checkpoint": "both"}, "coarse"),
        ({"checkpoint": "both", "stage": "fine", "coarse_checkpoint": "coarse"}, "fine"),
    ],
)
def test_a_network_of_a_two_stage_model_starts_its_stage(folder, settings, stage):
    config = config_of("", **{"stage": "coarse"} | in_folder(folder, settings))
    config.fine.window = FINE.window
    found = trained_model.starting_variables(config, trained_model.make_model(config))
    expected = checkpoint.take_stage(checkpoint.load_model(folder / "both"), stage)[1]
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_coarse_network_of_a_two_stage_model_can_be_frozen(folder):
    config = config_of("", **in_folder(folder, {"stage": "fine", "coarse_checkpoint": "both"}))
    expected = checkpoint.load_coarse(folder / "both")[1]
    jax.tree.map(np.testing.assert_array_equal, trained_model.make_model(config).frozen, expected)


def test_a_run_that_resumes_needs_its_checkpoints_no_more():
    config = config_of("", checkpoint="gone")
    model = trained_model.make_model(config)
    found = trained_model.starting_variables(config, model, resumes=True)
    assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, random_variables(COARSE))


def test_the_digest_of_a_frozen_network_is_that_of_its_weights(folder):
    def digest(name):
        frozen = str(folder / name)
        config = config_of("", stage="fine", coarse_checkpoint=frozen)
        return trained_model.make_model(config).frozen_digest()

    shutil.copytree(folder / "coarse", folder / "moved")
    assert digest("coarse") == digest("moved") != digest("wide")
    assert trained_model.make_model(config_of("")).frozen_digest() is None
