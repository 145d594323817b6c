"""Where the models of a command come from."""

from typing import Any

from ml_collections import ConfigDict

from fcfrnet_jax.weights import checkpoint


def describe_origins(config: ConfigDict) -> dict[str, Any]:
    """The provenance and the digest of each model, which a training may replace during the run."""
    given = [name for name in ("checkpoint", "coarse_checkpoint") if config.get(name)]
    return {
        "provenance": {name: checkpoint.load_provenance(config[name]) for name in given},
        "digests": {name: checkpoint.load_digest(config[name]) for name in given},
    }
