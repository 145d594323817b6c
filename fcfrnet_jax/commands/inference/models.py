"""The models that a command runs."""

from ml_collections import ConfigDict

from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.networks.specs import CoarseToFineSpec, TwoStageSpec
from fcfrnet_jax.pictures.colours import MAX_DEPTH
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


def colour_range(wanted: float, model: Model | None) -> float:
    """The far end of the colours in metres; if 0 is wanted, what the model can predict."""
    if wanted or model is None:
        return wanted or MAX_DEPTH
    spec = model[0].fine if isinstance(model[0], TwoStageSpec) else model[0]
    return min(spec.max_depth, MAX_DEPTH)
