"""The depth maps to evaluate, and the step that computes and measures them on all devices."""

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
    Variables,
    clip_depth,
)
from fcfrnet_jax.networks.patches import Limits
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.parallel import Batch

DepthMaps = dict[str, jax.Array]
Metrics = dict[str, dict[str, jax.Array]]
EvalStep = Callable[[Variables, Batch], tuple[DepthMaps, Metrics]]
# The names of the depth maps, in the order of the stages.
MAPS = ("fill", "coarse", "fine")
# Metres, those of the reference on KITTI.
KITTI_LIMITS = SparseToCoarseSpec().limits
# The arrays of a batch that the step reads.
INPUTS = ("image", "sparse_depth", "coarse_depth", "ground_truth")


def depth_maps(
    network: Network | None,
    variables: Variables,
    batch: Batch,
    limits: Limits = KITTI_LIMITS,
) -> DepthMaps:
    """Computes every available depth map of a batch, clipped for evaluation.

    Args:
      network: predicts the coarse depth, the fine depth or both; None for the fill alone.
      variables: the variables of the network.
      batch: `sparse_depth` `[B, H, W, 1]` metres, 0 = missing; `image` `[B, H, W, 3]` or
        `[B, H, W, 1]`, 0..255, if the network uses it; and optionally `coarse_depth`, which a
        `CoarseToFine` refines. Without `coarse_depth`, that network refines the fill. In both cases
        it gets the sparse depth too, as in a `TwoStage`. `size`, int32 `[B, 2]`, is the height and
        width of frames that are padded with zeros at the bottom and the right. The fill then is
        that of the frame alone, and networks see the padded arrays, as in `prediction.Predictor`.
      limits: the range in metres to which maps are clipped that no network has made. The others are
        clipped to that of their network.

    Returns:
      `fill`, and if available `coarse` and `fine`, each `[B, H, W, 1]` metres; in the padding, the
      values have no meaning.
    """
    image, sparse_depth = batch.get("image"), batch["sparse_depth"]
    maps: dict[str, Any] = {"fill": classical_fill(sparse_depth, size=batch.get("size"))}
    if isinstance(network, TwoStage):
        maps["coarse"], maps["fine"] = network.apply(variables, image, sparse_depth)
    elif isinstance(network, SparseToCoarse):
        maps["coarse"] = network.apply(variables, image, sparse_depth)
    else:
        if "coarse_depth" in batch:
            maps["coarse"] = batch["coarse_depth"]
        if isinstance(network, CoarseToFine):
            coarse = maps.setdefault("coarse", maps["fill"])
            maps["fine"] = network.apply(variables, image, coarse, sparse_depth=sparse_depth)
    ranges: dict[str, Limits] = {}
    if isinstance(network, TwoStage):
        ranges = {"coarse": network.coarse.spec.limits, "fine": network.fine.spec.limits}
    elif network is not None:
        name = "coarse" if isinstance(network, SparseToCoarse) else "fine"
        ranges = {name: network.spec.limits}
    return {name: clip_depth(depth, ranges.get(name, limits)) for name, depth in maps.items()}


def make_eval_step(
    network: Network | None,
    compiler_options: Mapping[str, Any] | None = None,
    limits: Limits = KITTI_LIMITS,
) -> EvalStep:
    """Makes the evaluation step over the local devices.

    Args:
      network, limits: see `depth_maps`.
      compiler_options: see `parallel.map_local`.

    Returns:
      A function of replicated variables and a sharded batch, which must have `ground_truth`. It
      returns the maps of `depth_maps` and, for each map, the metrics of every frame, all with a
      leading axis of devices that `parallel.unshard` joins.
    """

    def step(variables: Variables, batch: Batch) -> tuple[DepthMaps, Metrics]:
        maps = depth_maps(network, variables, batch, limits)
        ground_truth = batch["ground_truth"]
        return maps, {name: depth_metrics(depth, ground_truth) for name, depth in maps.items()}

    return parallel.map_local(step, compiler_options)


def make_predict_step(
    network: Network | None,
    compiler_options: Mapping[str, Any] | None = None,
    wanted: str | None = None,
) -> EvalStep:
    """Makes a step that computes one depth map and no metrics, in place of `make_eval_step`.

    Args:
      network, compiler_options: as in `make_eval_step`.
      wanted: one of `MAPS`; None for the last one that the network gives.
    """

    def step(variables: Variables, batch: Batch) -> tuple[DepthMaps, Metrics]:
        maps = depth_maps(network, variables, batch)
        name = wanted or list(maps)[-1]
        return {name: maps[name]}, {}

    return parallel.map_local(step, compiler_options)
