"""The training objective: which losses are minimised, and with which weights."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax

from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.training.exact import edge_error, log_error
from fcfrnet_jax.training.losses import (
    MODES,
    RMSE_WEIGHT,
    NearView,
    loss_parts,
    masked_l1,
    masked_l1_mse,
    masked_l1_rmse,
    masked_mse,
)

# Arrays of a batch that only the photometric loss reads.
NEAR_INPUTS = ("near_image", "rotation", "translation", "intrinsics")
DEPTH_LOSSES = {
    "mse": masked_mse,
    "l1": masked_l1,
    "l1+mse": masked_l1_mse,
    "l1+rmse": masked_l1_rmse,
}


@dataclasses.dataclass(frozen=True)
class Objective:
    """The losses to minimise and their weights; see `losses.loss_parts`.

    Attributes:
      mode: one of `losses.MODES`.
      depth_loss: one of `DEPTH_LOSSES`.
      rmse_weight: of the root mean square error relative to the mean absolute error, for `l1+rmse`.
      photometric_weight, smoothness_weight: relative to the depth loss, whose weight is 1.
      exact_weight, edge_weight: of `exact.log_error` and `exact.edge_error`, relative to the depth
        loss. Above 0, they need `exact_depth` in the batch.
      scale_weight: of `exact.scale_error` of the fine depth, which needs `exact_depth` too.
      coarse_weight, fine_weight: weights of the two depth maps when both networks are trained.

    Raises:
      ValueError: an unknown mode or loss, or a weight that is negative or not finite.
    """

    mode: str = "dense"
    depth_loss: str = "mse"
    rmse_weight: float = RMSE_WEIGHT
    photometric_weight: float = 0.1
    smoothness_weight: float = 0.1
    exact_weight: float = 0.0
    edge_weight: float = 0.0
    scale_weight: float = 0.0
    coarse_weight: float = 1.0
    fine_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("depth_loss", tuple(DEPTH_LOSSES))):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        for name in WEIGHTS:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, got {getattr(self, name)}")

    @property
    def supervision(self) -> str | None:
        """Name of the array in the batch that the depth loss compares with, or None."""
        if "sparse" in self.mode:
            return "sparse_depth"
        return "ground_truth" if "dense" in self.mode else None

    def weights(self) -> dict[str, float]:
        """Returns the weight of each part of the loss."""
        return {
            "depth": 1.0,
            "photometric": self.photometric_weight,
            "smoothness": self.smoothness_weight,
            "exact": self.exact_weight,
            "edges": self.edge_weight,
        }

    def parts(self, depth: jax.Array, batch: Batch, axis_name: str | None) -> dict[str, jax.Array]:
        """Returns this device's share of each part of the loss, before weighting."""
        near = None
        if "near_image" in batch:
            near = NearView(*(batch[name] for name in NEAR_INPUTS))
        # Scaling both depths weights the error of each frame.
        weight = batch.get("weight", 1.0)
        target = batch.get("ground_truth")
        parts = loss_parts(
            self.mode,
            weight * depth,
            image=batch.get("image"),
            sparse_depth=weight * batch["sparse_depth"],
            ground_truth=target if target is None else weight * target,
            near=near,
            depth_loss=self._depth_loss(),
            axis_name=axis_name,
        )
        if self.exact_weight:
            parts["exact"] = log_error(depth, batch["exact_depth"], axis_name)
        if self.edge_weight:
            parts["edges"] = edge_error(depth, batch["exact_depth"], axis_name)
        return parts

    def _depth_loss(self) -> Callable[..., jax.Array]:
        loss = DEPTH_LOSSES[self.depth_loss]
        return partial(loss, rmse_weight=self.rmse_weight) if loss is masked_l1_rmse else loss


# The names of the weights, in the order of the attributes.
WEIGHTS = tuple(
    field.name for field in dataclasses.fields(Objective) if field.name.endswith("_weight")
)
