"""The model of a training config: its network, its weights at the start, and how it is saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import fcfrnet_jax
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.models import Network, TwoStage, Variables, join_variables
from fcfrnet_jax.networks.specs import (
    COARSE_TO_FINE,
    SPARSE_TO_COARSE,
    TWO_STAGE,
    CoarseToFineSpec,
    SparseToCoarseSpec,
    Spec,
    TwoStageSpec,
    differing_settings,
    spec_to_json,
)
from fcfrnet_jax.training.state import TrainState
from fcfrnet_jax.weights import arrays, checkpoint

# The stage that trains a network.
STAGE_OF = {SPARSE_TO_COARSE: "coarse", COARSE_TO_FINE: "fine", TWO_STAGE: "joint"}


@dataclass(frozen=True)
class TrainedModel:
    """The model to train and the frozen coarse network before it, if there is one.

    Attributes:
      spec: of the trained variables.
      network: what the training step runs; a `TwoStage` if it includes a frozen coarse network.
      frozen: the variables of the frozen coarse network, or `{}`.
    """

    spec: Spec
    network: Network
    frozen: Variables

    def whole(self, trained: Variables) -> tuple[Spec, Variables]:
        """The model to evaluate and save: the frozen network, if any, and the trained one."""
        if not self.frozen:
            return self.spec, trained
        assert isinstance(self.network, TwoStage)
        return self.network.spec, join_variables(self.frozen, trained)

    def frozen_digest(self) -> str | None:
        """A digest of the frozen network's spec and weights; None if there is none."""
        if not self.frozen:
            return None
        assert isinstance(self.network, TwoStage)
        spec = json.dumps(spec_to_json(self.network.spec.coarse), sort_keys=True)
        described = {"spec": np.frombuffer(spec.encode(), np.uint8)}
        return arrays.digest(arrays.by_name(self.frozen) | described)


def make_model(config: ConfigDict) -> TrainedModel:
    """Builds the network to train and loads the frozen one.

    Raises:
      ValueError: an invalid network, or a checkpoint that cannot be used.
    """
    with named("coarse"):
        coarse = SparseToCoarseSpec(**config.coarse.to_dict())
    with named("fine"):
        fine = CoarseToFineSpec(**config.fine.to_dict())
    specs: dict[str, Spec] = {"coarse": coarse, "fine": fine, "joint": TwoStageSpec(coarse, fine)}
    spec = specs[config.stage]
    dtype = jnp.dtype(config.dtype)
    if config.stage != "fine" or not config.coarse_checkpoint:
        return TrainedModel(spec, select.for_training(spec, dtype=dtype, remat=config.remat), {})
    with named("coarse_checkpoint"):
        frozen_spec, frozen = checkpoint.load_coarse(config.coarse_checkpoint)
    network = select.for_training(TwoStageSpec(frozen_spec, fine), dtype=dtype, remat=config.remat)
    return TrainedModel(spec, network.clone(freeze_coarse=True), frozen)


def starting_variables(
    config: ConfigDict, model: TrainedModel, *, resumes: bool = False
) -> dict[str, Any]:
    """The variables before the first update: random, or those of the checkpoints of the config.

    Args:
      config: the config.
      model: the model.
      resumes: whether a snapshot replaces them. Then no checkpoint is read, which may be gone.

    Raises:
      ValueError: a checkpoint holds another model than the config describes.
    """
    with named("init"):
        drawn = initial_variables(model.spec, config.seed, config.init)
    if resumes:
        return drawn
    if config.checkpoint:
        return _load(config, "checkpoint", model.spec)
    if config.stage == "joint" and config.coarse_checkpoint:
        assert isinstance(model.spec, TwoStageSpec)
        loaded = _load(config, "coarse_checkpoint", model.spec.coarse)
        return {kind: tree | {"coarse": loaded[kind]} for kind, tree in drawn.items()}
    return drawn


def trained_variables(config: ConfigDict, state: TrainState) -> dict[str, Any]:
    """The variables to evaluate and save.

    These are the moving average of the parameters, if there is one, with the fine network's
    residual scaled by `config.residual_share`.
    """
    params = state.params if state.ema_params is None else state.ema_params
    share = np.float32(config.residual_share)
    if share != 1:
        fine = params["fine"] if config.stage == "joint" else params
        # The residual is linear in the last layer only.
        fine = fine | {HEAD: jax.tree.map(lambda leaf: share * leaf, fine[HEAD])}
        params = params | {"fine": fine} if config.stage == "joint" else fine
    return {"params": params, "batch_stats": state.batch_stats}


def save(
    folder: Path, config: ConfigDict, model: TrainedModel, state: TrainState, step: int
) -> None:
    """Saves the evaluated model in the format of `--config.checkpoint`."""
    if jax.process_index() == 0:
        whole = model.whole(trained_variables(config, state))
        provenance = {
            "program": f"fcfrnet_jax {fcfrnet_jax.__version__}",
            "trained_steps": step,
            "settings": config.to_dict(),
        }
        checkpoint.save_model(folder, *whole, provenance=provenance, overwrite=True)


def _load(config: ConfigDict, setting: str, wanted: Spec) -> Variables:
    with named(setting):
        spec, variables = checkpoint.load_model(config[setting])
        if isinstance(spec, TwoStageSpec) and not isinstance(wanted, TwoStageSpec):
            spec, variables = checkpoint.take_stage((spec, variables), STAGE_OF[wanted.network])
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
