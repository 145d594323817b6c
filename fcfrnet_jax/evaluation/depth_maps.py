"""The depth maps that are evaluated, and the step that makes and measures them on all devices."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from fcfrnet_jax import parallel
from fcfrnet_jax.evaluation.metrics import depth_metrics
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.models import (
    CoarseToFine,
    Network,
    SparseToCoarse,
    TwoStage,
    clip_depth,
)
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec
from fcfrnet_jax.parallel import Batch

DepthMaps = dict[str, jax.Array]
# The depth maps there can be, from the crudest to the best.
MAPS = ("fill", "coarse", "fine")
# The arrays of a batch that the step reads.
INPUTS = ("image", "sparse_depth", "coarse_depth", "ground_truth")


def depth_maps(network: Network | None, variables: Any, batch: Batch) -> DepthMaps:
    """Every depth map there is for a batch, `[B, H, W, 1]` metres, clipped as it is evaluated.

    Args:
      network: makes the coarse depth, the fine depth or both; None for the fill alone.
      variables: of the network.
      batch: `image`, `sparse_depth` and perhaps `coarse_depth`, which a `CoarseToFine` refines;
        without it, that network refines the fill.

    Returns:
      `fill`; `coarse` if a network or the batch provides it, or a network refines it; `fine`.
    """
    image, sparse_depth = batch.get("image"), batch["sparse_depth"]
    maps: dict[str, Any] = {"fill": classical_fill(sparse_depth)}
    if isinstance(network, TwoStage):
        maps["coarse"], maps["fine"] = network.apply(variables, image, sparse_depth)
    elif isinstance(network, SparseToCoarse):
        maps["coarse"] = network.apply(variables, image, sparse_depth)
    else:
        if "coarse_depth" in batch:
            maps["coarse"] = batch["coarse_depth"]
        if isinstance(network, CoarseToFine):
            coarse = maps.setdefault("coarse", maps["fill"])
            maps["fine"] = network.apply(variables, image, coarse)
    limits = {"fine": CoarseToFineSpec.max_depth}
    return {
        name: clip_depth(depth, limits.get(name, SparseToCoarseSpec.max_depth))
        for name, depth in maps.items()
    }


def make_eval_step(
    network: Network | None, compiler_options: Mapping[str, Any] | None = None
) -> Callable[[Any, Batch], tuple[DepthMaps, dict[str, Any]]]:
    """The evaluation step over the local devices.

    Args:
      network: see `depth_maps`.
      compiler_options: see `parallel.map_local`.

    Returns:
      A function of replicated variables and a sharded batch to the maps of `depth_maps` and, for
      each map, the metrics of every frame; all with a leading axis of devices, which
      `parallel.unshard` joins.
    """

    def step(variables: Any, batch: Batch) -> tuple[DepthMaps, dict[str, Any]]:
        maps = depth_maps(network, variables, batch)
        ground_truth = batch["ground_truth"]
        return maps, {name: depth_metrics(depth, ground_truth) for name, depth in maps.items()}

    return parallel.map_local(step, compiler_options)
