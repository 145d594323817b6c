"""Initial variables for training."""

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

    Each array depends only on the seed, its name and its shape, not on the platform, the number of
    devices or the rest of the model.

    Args:
      spec: the model.
      seed: 0 or more.
      scheme: the standard deviation of the convolution kernels, which are normal with mean 0.
        `resnet`: sqrt(2 / (k^2 C)) for a k x k kernel with C output channels (He et al. 2015,
        fan-out, like the ResNets of torchvision), and 1e-3 in the last layer, so that training
        starts from a depth, or a residual, of about 0. `reference`: 1e-3 in all layers. In both
        schemes, biases and running means are 0, BatchNorm scales and running variances are 1.

    Returns:
      Float32 NumPy arrays in a tree like that of the network's `init`.

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
    """Fan-out of a kernel `[height, width, in, out]`."""
    return shape[0] * shape[1] * shape[3]


def _generator(seed: int, path: tuple) -> np.random.Generator:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    # Python's hash of a string differs between processes.
    words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4")
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *words.tolist()])))
