"""The variables a training starts from."""

import hashlib
from typing import Any

import jax
import numpy as np

from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.models import variable_shapes
from fcfrnet_jax.networks.specs import Spec

SCHEMES = ("resnet", "reference")
# Standard deviation of every convolution's weights in the reference.
REFERENCE_STD = 1e-3


def initial_variables(spec: Spec, seed: int, scheme: str = "resnet") -> dict[str, Any]:
    """Draws `params` and `batch_stats` on the host.

    Every array depends on the seed and on its own name and shape alone, not on the platform, the
    number of devices or what else the model has.

    Args:
      spec: the model.
      seed: 0 or more.
      scheme: how the convolutions are drawn, about 0. `resnet`: standard deviation sqrt(2 / (k^2
        C)) for C output channels and a k x k kernel (He et al. 2015, fan-out, as torchvision's
        ResNet), except for the last layer, which is not a ResNet's: a weak one as in `reference`,
        so that training starts from a depth, or a residual, of about 0. `reference`: 1e-3
        everywhere. In both, biases and running means are 0, BatchNorm's scales and running
        variances 1.

    Returns:
      Float32 NumPy arrays in the tree of the network's `init`.

    Raises:
      ValueError: an unknown scheme or a negative seed.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown initialisation {scheme!r}; the choices are {', '.join(SCHEMES)}")
    if seed < 0:
        raise ValueError(f"the seed must not be negative, got {seed}")

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        kind = path[-1].key
        if kind in ("bias", "mean"):
            return np.zeros(leaf.shape, np.float32)
        if kind in ("scale", "var"):
            return np.ones(leaf.shape, np.float32)
        assert kind == "kernel", path
        published = scheme == "resnet" and path[-2].key != HEAD
        std = np.sqrt(2.0 / _fan_out(leaf.shape)) if published else REFERENCE_STD
        return np.float32(std) * _generator(seed, path).standard_normal(leaf.shape, np.float32)

    return jax.tree_util.tree_map_with_path(draw, variable_shapes(spec))


def _fan_out(shape: tuple[int, ...]) -> int:
    """Of a kernel `[height, width, in, out]`."""
    return shape[0] * shape[1] * shape[3]


def _generator(seed: int, path: tuple) -> np.random.Generator:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    # Python's own hash of a string differs from run to run.
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words.tolist()])))
