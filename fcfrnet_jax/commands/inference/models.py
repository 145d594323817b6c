"""The models that a command runs, and where they come from."""

from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.networks.specs import CoarseToFineSpec
from fcfrnet_jax.weights import checkpoint
from fcfrnet_jax.weights.checkpoint import Model


def load_model(config: ConfigDict) -> Model | None:
    """Loads the checkpoints of the config as one model.

    Returns:
      Its spec and its variables, or None without a checkpoint: the fill alone.

    Raises:
      ValueError: a folder is not a checkpoint, or the networks do not fit together.
    """
    model = None
    if config.checkpoint:
        with named("checkpoint"):
            model = checkpoint.load_model(config.checkpoint)
    if not config.coarse_checkpoint:
        return model
    with named("coarse_checkpoint"):
        coarse = checkpoint.load_coarse(config.coarse_checkpoint)
    if model is None:
        return coarse
    if not isinstance(model[0], CoarseToFineSpec):
        raise ValueError(
            f"--config.checkpoint={config.checkpoint} holds a coarse network, which leaves "
            f"--config.coarse_checkpoint={config.coarse_checkpoint} unused; give one of them"
        )
    return checkpoint.combine(coarse, model)


def describe_origins(config: ConfigDict) -> dict[str, Any]:
    """The provenance and the digest of each model, which a training may replace during the run."""
    given = [name for name in ("checkpoint", "coarse_checkpoint") if config.get(name)]
    return {
        "provenance": {name: checkpoint.load_provenance(config[name]) for name in given},
        "digests": {name: checkpoint.load_digest(config[name]) for name in given},
    }
