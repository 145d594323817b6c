"""Depth completion in JAX: sparse LiDAR and a camera image in, dense metric depth out."""

from fcfrnet_jax.checkpoint import COMPACT
from fcfrnet_jax.convert import convert_paddle
from fcfrnet_jax.predict import Predictor, load

__all__ = ["COMPACT", "Predictor", "convert_paddle", "load"]
__version__ = "0.1.0"
