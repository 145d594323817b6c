"""Makes one model of several trained ones, as the compact model was made:

    python -m benchmarks.quality.assemble OUT MODEL [MODEL ...] --coarse 2 --fine 2

The models, which have continued the same training, are averaged (Wortsman et al., Model soups,
arXiv 2203.05482). `--coarse` and `--fine` raise the weights that the networks of patches give to
the depth before them, the fill and the coarse depth. Trained on rendered frames, the networks are
too sure that they know better. The weights are logarithms: 2 makes the depth before 7 times as
important where both are equal, and changes little where the network is sure.
"""

import argparse
import sys
from pathlib import Path

import jax
import numpy as np

from fcfrnet_jax.networks.models import Variables
from fcfrnet_jax.networks.patches import outputs
from fcfrnet_jax.networks.specs import TwoStageSpec
from fcfrnet_jax.weights import checkpoint


def average(models: list[Variables]) -> Variables:
    """The mean of the variables of models of one kind."""
    return jax.tree.map(lambda *leaves: np.mean(leaves, axis=0, dtype=np.float64), *models)


def prefer_base(variables: Variables, network: str, patch: int, weight: float) -> None:
    """Adds `weight` to the logits of the pixels' depth before, in the bias of the last layer."""
    bias = variables["params"][network]["convtf"]["bias"]
    last = outputs(patch)
    bias[last - patch**2 : last] += weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the model folder to write")
    parser.add_argument("models", nargs="+", help="model folders")
    parser.add_argument("--coarse", type=float, default=0.0)
    parser.add_argument("--fine", type=float, default=0.0)
    options = parser.parse_args()
    specs, models = zip(*map(checkpoint.load_model, options.models), strict=True)
    spec = specs[0]
    patches = isinstance(spec, TwoStageSpec) and 1 not in (spec.coarse.patch, spec.fine.patch)
    if not patches or set(specs) != {spec}:
        parser.error("expected two-stage models of patches with equal networks")
    variables = average(list(models))
    prefer_base(variables, "coarse", spec.coarse.patch, options.coarse)
    prefer_base(variables, "fine", spec.fine.patch, options.fine)
    variables = jax.tree.map(lambda leaf: leaf.astype(np.float32), variables)
    provenance = {
        "averaged": [checkpoint.load_provenance(model) for model in options.models],
        "weight_of_the_depth_before": {"coarse": options.coarse, "fine": options.fine},
    }
    checkpoint.save_model(options.out, spec, variables, provenance=provenance, overwrite=True)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        sys.exit(f"Error: {error}")
