"""The model of a training config: its network, its weights at the start, and how it is saved."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

import fcfrnet_jax
from fcfrnet_jax.commands import workdir
from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.configs import train as train_config
from fcfrnet_jax.files import list_some
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.initialise import initial_variables
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


def with_network(config: ConfigDict, folder: str | Path) -> ConfigDict:
    """Returns the config with the network settings that it leaves open, which are None.

    These are the settings of the run in the workdir if it has a snapshot, otherwise those of the
    model `config.checkpoint`.

    Args:
      config: the config; `stage` and the settings in `coarse` and `fine` may be None.
      folder: the workdir.

    Raises:
      ValueError: there is no such model, or it contradicts a network setting of the config.
    """
    given = flat(config)
    unset = [name for name, value in given.items() if value is None]
    if not unset:
        return config
    known = workdir.recorded_settings(folder)
    if not known:
        if not config.checkpoint:
            raise ValueError(
                f"--config.checkpoint is empty, and {list_some(unset)} would come from it; give a "
                "model's folder, or compact for the compact model"
            )
        with named("checkpoint"):
            spec = checkpoint.load_spec(config.checkpoint)
        own = _own_settings(spec)
        _check_settings(config, own)
        known = flat(train_config.get_config()) | {"stage": STAGE_OF[spec.network]} | own
    whole = config.copy_and_resolve_references()
    whole.update_from_flattened_dict({name: known[name] for name in unset})
    return whole.lock()


def _own_settings(spec: Spec) -> dict[str, Any]:
    """The settings of a model's networks: `coarse.width`."""
    parts = (spec.coarse, spec.fine) if isinstance(spec, TwoStageSpec) else (spec,)
    return {
        f"{STAGE_OF[part.network]}.{name}": value
        for part in parts
        for name, value in asdict(part).items()
    }


def _check_settings(config: ConfigDict, own: Mapping[str, Any]) -> None:
    """Raises ValueError for network settings of the config that contradict the checkpoint's."""
    given = flat(config)
    wrong = [
        f"--config.{name}={given[name]} (the checkpoint has {value})"
        for name, value in own.items()
        if given[name] not in (None, value)
    ]
    if wrong:
        raise ValueError(
            f"--config.checkpoint={config.checkpoint} is contradicted by {', '.join(wrong)}; leave "
            "the network settings out, and they are those of the checkpoint"
        )


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


def trained_variables(state: TrainState) -> dict[str, Any]:
    """The variables to evaluate and save: those of the moving average, if there is one."""
    params = state.params if state.ema_params is None else state.ema_params
    return {"params": params, "batch_stats": state.batch_stats}


def save(
    folder: Path, config: ConfigDict, model: TrainedModel, state: TrainState, step: int
) -> None:
    """Saves the evaluated model in the format of `--config.checkpoint`."""
    if jax.process_index() == 0:
        whole = model.whole(trained_variables(state))
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
