"""The step that predicts a batch on all devices, with the expected error if it is wanted."""

from collections.abc import Mapping
from typing import Any

from fcfrnet_jax import parallel
from fcfrnet_jax.evaluation.depth_maps import (
    DepthMaps,
    EvalStep,
    Metrics,
    make_predict_step,
)
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.models import CoarseToFine, Network, Variables
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.prediction.estimate import predict_with_error

EXPECTED_ERROR = "expected_error"


def make_step(
    network: Network | None,
    compiler_options: Mapping[str, Any] | None = None,
    *,
    with_error: bool = False,
) -> EvalStep:
    """Makes a step that computes the last depth map and no metrics.

    Args:
      network, compiler_options: see `evaluation.depth_maps.make_predict_step`.
      with_error: also compute `EXPECTED_ERROR`, for networks that `estimate.check_confidence`
        accepts.
    """
    if not with_error:
        return make_predict_step(network, compiler_options)
    assert network is not None

    def step(variables: Variables, batch: Batch) -> tuple[DepthMaps, Metrics]:
        depth = sparse_depth = batch["sparse_depth"]
        if isinstance(network, CoarseToFine):
            depth = classical_fill(depth, size=batch.get("size"))
        image = batch.get("image")
        found, error = predict_with_error(network, variables, image, depth, sparse_depth)
        return {"fine": found, EXPECTED_ERROR: error}, {}

    return parallel.map_local(step, compiler_options)
