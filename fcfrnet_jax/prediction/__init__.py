"""Prediction in other programs, with `Predictor` and `load`."""

from fcfrnet_jax.prediction.estimate import DepthEstimate
from fcfrnet_jax.prediction.predictor import DTYPES, Predictor, load

__all__ = ["DTYPES", "DepthEstimate", "Predictor", "load"]
