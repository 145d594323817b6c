"""The variables with which a training starts."""

from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.commands.train_setup import TrainedModel
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.models import Variables
from fcfrnet_jax.networks.specs import (
    COARSE_TO_FINE,
    SPARSE_TO_COARSE,
    TWO_STAGE,
    Spec,
    TwoStageSpec,
    differing_settings,
)
from fcfrnet_jax.weights import checkpoint

# The stage that trains a network.
STAGE_OF = {SPARSE_TO_COARSE: "coarse", COARSE_TO_FINE: "fine", TWO_STAGE: "joint"}


def starting_variables(config: ConfigDict, model: TrainedModel) -> dict[str, Any]:
    """The variables before the first update: random, or those of the checkpoints of the config.

    Raises:
      ValueError: a checkpoint holds another model than the config describes.
    """
    with named("init"):
        drawn = initial_variables(model.spec, config.seed, config.init)
    if config.checkpoint:
        return _load(config, "checkpoint", model.spec)
    if config.stage == "joint" and config.coarse_checkpoint:
        assert isinstance(model.spec, TwoStageSpec)
        loaded = _load(config, "coarse_checkpoint", model.spec.coarse)
        return {kind: tree | {"coarse": loaded[kind]} for kind, tree in drawn.items()}
    return drawn


def _load(config: ConfigDict, setting: str, wanted: Spec) -> Variables:
    with named(setting):
        spec, variables = checkpoint.load_model(config[setting])
    if spec != wanted:
        raise ValueError(f"--config.{setting}={config[setting]} {_mismatch(spec, wanted, setting)}")
    return variables


def _mismatch(found: Spec, wanted: Spec, setting: str) -> str:
    """Why a model cannot start a training, and the settings with which it can."""
    if found.network != wanted.network:
        what = f"holds a {found.network} model, expected {wanted.network}"
        if setting == "coarse_checkpoint":
            return what
        coarse_of_joint = (found.network, wanted.network) == (SPARSE_TO_COARSE, TWO_STAGE)
        hint = f"set --config.stage={STAGE_OF[found.network]} to train it"
        return f"{what}; {'give it as --config.coarse_checkpoint' if coarse_of_joint else hint}"
    group = "" if wanted.network == TWO_STAGE else f"{STAGE_OF[wanted.network]}."
    flags = [
        f"--config.{group}{name}={theirs} (not {ours})"
        for name, (theirs, ours) in differing_settings(found, wanted).items()
    ]
    return f"holds a model of another shape; to start from it, set {', '.join(flags)}"
