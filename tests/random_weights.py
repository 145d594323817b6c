"""Random variables for a model, drawn without compiling an initialiser."""

import jax
import numpy as np

from fcfrnet_jax.networks import models


def random_variables(spec, seed=0):
    """Weights that keep activations and predictions in a reasonable range."""
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        kind = path[-1].key
        if kind == "kernel":
            gain = 0.1 if path[-2].key == "convtf" else 1.4
            return gain * random.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        if kind in ("scale", "var"):
            return random.uniform(0.5, 1.5, leaf.shape)
        return 0.1 * random.standard_normal(leaf.shape)

    shapes = models.variable_shapes(spec)
    drawn = jax.tree_util.tree_map_with_path(draw, shapes)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), drawn)
