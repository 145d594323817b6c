"""The sharded steps. This is the only module that knows of `pmap`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.fill import classical_fill
from fcfrnet_jax.metrics import depth_metrics
from fcfrnet_jax.models import CoarseToFine, SparseToCoarse, clip_depth

Batch = dict[str, Any]
DepthMaps = dict[str, jax.Array]
AXIS = "devices"
# The depth maps there can be, from the crudest to the best.
MAPS = ("fill", "coarse", "fine")
# The arrays of a batch that the steps read.
INPUTS = ("image", "sparse_depth", "coarse_depth", "ground_truth")


def depth_maps(
    coarse_network: SparseToCoarse | None,
    fine_network: CoarseToFine | None,
    variables: dict[str, Any],
    batch: Batch,
) -> DepthMaps:
    """Every depth map there is for a batch, `[B, H, W, 1]` metres, clipped as they are evaluated.

    Args:
      coarse_network: makes the coarse depth; where None, it is `batch["coarse_depth"]`, or the fill
        where the batch has none either.
      fine_network: refines the coarse depth; where None, there is no fine depth.
      variables: of the networks, as `{"coarse": ..., "fine": ...}`.
      batch: `image`, `sparse_depth` and perhaps `coarse_depth`.

    Returns:
      `fill`; `coarse` where it comes from a network or the batch, or is refined; `fine`.
    """
    filled = classical_fill(batch["sparse_depth"])
    maps = {"fill": clip_depth(filled, 100.0)}
    image = batch.get("image")
    if coarse_network is not None:
        coarse: Any = coarse_network.apply(variables["coarse"], image, batch["sparse_depth"])
        maps["coarse"] = coarse = clip_depth(coarse, coarse_network.spec.max_depth)
    elif "coarse_depth" in batch:
        coarse = batch["coarse_depth"]
        maps["coarse"] = clip_depth(coarse, 100.0)
    else:
        coarse = filled
    if fine_network is not None:
        maps.setdefault("coarse", maps["fill"])
        fine: Any = fine_network.apply(variables["fine"], image, coarse)
        maps["fine"] = clip_depth(fine, fine_network.spec.max_depth)
    return maps


def make_eval_step(
    coarse_network: SparseToCoarse | None, fine_network: CoarseToFine | None
) -> Callable[[Any, Batch], tuple[DepthMaps, dict[str, Any]]]:
    """The evaluation step over all local devices.

    Returns:
      A function of replicated variables and a sharded batch (see `shard`) to the maps of
      `depth_maps` and, for each, the metrics of every frame; all with a leading axis of devices.
      `unshard` joins it.
    """

    def step(variables: Any, batch: Batch) -> tuple[DepthMaps, dict[str, Any]]:
        maps = depth_maps(coarse_network, fine_network, variables, batch)
        truth = batch["ground_truth"]
        return maps, {name: depth_metrics(depth, truth) for name, depth in maps.items()}

    return jax.pmap(step, axis_name=AXIS)


def replicate(tree: Any) -> Any:
    """Copies arrays to every local device, with a leading axis of devices."""
    # in_axes=None lets pmap itself do the copying, in every version of jax.
    devices = jnp.arange(jax.local_device_count())
    return jax.pmap(lambda _, leaf: leaf, in_axes=(0, None))(devices, tree)


def shard(batch: dict[str, np.ndarray]) -> Batch:
    """Splits the leading axis of NumPy arrays over the local devices: `[B, ...]` to `[D, B / D,
    ...]`.

    Raises:
      ValueError: a batch size that the number of devices does not divide.
    """
    devices = jax.local_device_count()
    size = len(next(iter(batch.values())))
    if size % devices:
        raise ValueError(f"a batch of {size} frames does not divide by the {devices} devices here")
    return {name: leaf.reshape(devices, -1, *leaf.shape[1:]) for name, leaf in batch.items()}


def unshard(tree: Any) -> Any:
    """Brings arrays to the host and joins the axis of devices: `[D, b, ...]` to `[D * b, ...]`."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)
