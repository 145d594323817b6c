"""Depth with its confidence, as networks of patches predict it."""

from typing import Any, NamedTuple

import jax
import numpy as np

from fcfrnet_jax.networks import models, patches
from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec, TwoStageSpec
from fcfrnet_jax.prediction.expected_error import expected_error

# The relative error below which `DepthEstimate.confidence` counts a depth as correct.
CORRECT = 0.05


class DepthEstimate(NamedTuple):
    """Depth and its expected error, each float32 `[B, H, W]`, or `[H, W]` for one frame.

    The error is that of the network's own depth, before measured depths are put back, so it says
    nothing about the scanner's own errors. See `expected_error.py`.

    Attributes:
      depth: metres.
      expected_error: the expected absolute error in metres, positive.
    """

    depth: np.ndarray
    expected_error: np.ndarray

    @property
    def confidence(self) -> np.ndarray:
        """The probability that the relative error is below 5%, in [0, 1].

        It is 1 - exp(-0.05 depth / expected_error), that of a Laplace distribution.
        """
        return -np.expm1(-CORRECT * self.depth / self.expected_error)


def check_confidence(spec: Spec) -> None:
    """Raises ValueError if the model predicts no confidence."""
    if isinstance(spec, TwoStageSpec):
        check_confidence(spec.fine)
    elif not isinstance(spec, CoarseToFineSpec):
        raise ValueError(
            f"a {spec.network} network predicts no confidence: use a model with a fine network "
            "with patch=2 or 4, such as the compact model"
        )
    elif spec.patch == 1:
        raise ValueError(
            "this model predicts no confidence: its fine network has patch=1, and networks with "
            "patch=2 or 4 predict it, such as the compact model"
        )


def predict(
    network: models.Network,
    variables: models.Variables,
    image: jax.Array | None,
    depth: jax.Array | None,
) -> jax.Array:
    """Predicts clipped depth `[B, H, W, 1]`, the fine one if the network is a `TwoStage`."""
    prediction: Any = network.apply(variables, image, depth)
    if isinstance(network, models.TwoStage):
        _, prediction = prediction
    return models.clip_depth(prediction, network.spec.limits)


def predict_with_error(
    network: models.Network,
    variables: models.Variables,
    image: jax.Array | None,
    depth: jax.Array | None,
    sparse_depth: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Predicts depth as `predict` does and its expected error, each `[B, H, W, 1]`.

    `sparse_depth` is for a `CoarseToFine`, whose `depth` is the coarse one; None if not known.
    """
    shown = predict_with_scale(network, variables, image, depth, sparse_depth)
    return shown[0], expected_error(*shown)


def predict_with_scale(
    network: models.Network,
    variables: models.Variables,
    image: jax.Array | None,
    depth: jax.Array | None,
    sparse_depth: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Predicts depth as `predict` does. Returns the arguments of `expected_error`."""
    two_stage = isinstance(network, models.TwoStage)
    known: dict[str, Any] = {} if two_stage else {"sparse_depth": sparse_depth}
    prediction, stored = network.apply(variables, image, depth, mutable=["intermediates"], **known)
    features: dict[str, Any] = stored["intermediates"]
    before = depth
    if two_stage:
        sparse_depth, (before, prediction), features = depth, prediction, features["fine"]
    assert before is not None
    prediction = models.clip_depth(prediction, network.spec.limits)
    [log_scale] = features[patches.LOG_SCALE]
    return prediction, before, log_scale, sparse_depth
