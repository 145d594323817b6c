"""Depth completion in JAX: sparse LiDAR and a camera image in, dense metric depth out."""

from fcfrnet_jax.prediction.predictor import Predictor, load
from fcfrnet_jax.weights.checkpoint import COMPACT
from fcfrnet_jax.weights.convert import convert_paddle

__all__ = ["COMPACT", "Predictor", "convert_paddle", "load"]
__version__ = "0.1.0"
