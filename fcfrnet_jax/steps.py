"""The sharded steps. This is the only module that knows of `pmap`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fcfrnet_jax.cpu_conv import compiler_options
from fcfrnet_jax.fill import classical_fill
from fcfrnet_jax.metrics import depth_metrics
from fcfrnet_jax.models import CoarseToFine, SparseToCoarse, TwoStage, clip_depth, with_measured
from fcfrnet_jax.training import Metrics, Objective, TrainState, make_update

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
        if coarse_network is not None:
            fine = with_measured(coarse_network.spec, batch["sparse_depth"], fine)
        maps["fine"] = clip_depth(fine, fine_network.spec.max_depth)
    return maps


def make_eval_step(
    coarse_network: SparseToCoarse | None, fine_network: CoarseToFine | None
) -> Callable[[Any, Batch], tuple[DepthMaps, dict[str, Any]]]:
    """The evaluation step over the local devices.

    Returns:
      A function of replicated variables and a sharded batch (see `shard`) to the maps of
      `depth_maps` and, for each, the metrics of every frame; all with a leading axis of devices.
      `unshard` joins it.
    """

    def step(variables: Any, batch: Batch) -> tuple[DepthMaps, dict[str, Any]]:
        maps = depth_maps(coarse_network, fine_network, variables, batch)
        truth = batch["ground_truth"]
        return maps, {name: depth_metrics(depth, truth) for name, depth in maps.items()}

    mapped = jax.pmap(step, axis_name=AXIS, devices=jax.local_devices())
    network = fine_network or coarse_network
    options = {} if network is None else compiler_options(network.dtype)
    # pmap takes no options, what it compiles does.
    return _compiled(mapped, options) if options else mapped


def _compiled(mapped: Any, options: dict[str, Any]) -> Callable[..., Any]:
    """The same step, compiled with options for each set of shapes and dtypes."""
    programs: dict[Any, Any] = {}

    def call(*arguments: Any) -> Any:
        leaves, structure = jax.tree.flatten(arguments)
        kind = structure, *((leaf.shape, leaf.dtype) for leaf in leaves)
        if kind not in programs:
            programs[kind] = mapped.lower(*arguments).compile(options)
        return programs[kind](*arguments)

    return call


def make_train_step(
    network: SparseToCoarse | CoarseToFine | TwoStage,
    coarse_network: SparseToCoarse | None,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    objective: Objective,
    *,
    accumulate: int = 1,
    ema_decay: float | None = None,
    sync_batchnorm: bool = True,
) -> Callable[[TrainState, Any, Batch], tuple[TrainState, Metrics]]:
    """The training step over all devices of all processes.

    Its gradient is that of the loss of the whole batch, every loss a mean over the valid pixels of
    all frames on all devices.

    Args:
      network: what is trained: a `SparseToCoarse`; a `CoarseToFine`, on a coarse depth that has no
        gradient; or a `TwoStage`, end to end with a loss on both depth maps.
      coarse_network: for a `CoarseToFine` only: makes its coarse depth, in eval mode and clipped,
        from `frozen`; where None, it is `batch["coarse_depth"]`.
      optimizer: of the whole batch's gradients.
      schedule: the optimizer's learning rate, for the metrics.
      objective: the loss.
      accumulate: micro-batches into which each device splits its part of the batch, one after the
        other, to save memory. Depth and smoothness losses stay those of the whole batch. The
        photometric loss, whose valid pixels depend on the prediction, becomes the mean of the
        micro-batches' losses; BatchNorm sees micro-batches, and its running statistics move once
        for each.
      ema_decay: of the moving average of the parameters, in [0, 1), or None for none; update t
        (from 0) uses min(ema_decay, (1 + t) / (10 + t)).
      sync_batchnorm: normalise by the moments over all devices. Else each device uses its own, and
        the running statistics are averaged.

    Returns:
      A function of (state, frozen, batch): the replicated `TrainState`, whose buffers it takes over
      (donation); the replicated variables of `coarse_network`, or `{}`; and a sharded batch with
      `image`, `sparse_depth`, and what the objective needs: `ground_truth`, and `NEAR_INPUTS` of
      `training`. It returns the next state and the metrics, float32 and the same on every device:
      `loss`; its parts before weighting, as `coarse/depth` or `fine/photometric`; `gradient_norm`
      before clipping; and `learning_rate`.

    Raises:
      ValueError: a coarse network beside one that has no use for it, or a setting out of its range.
    """
    if coarse_network is not None and not isinstance(network, CoarseToFine):
        raise ValueError(f"{type(network).__name__} does not train on another network's depth")
    if accumulate < 1:
        raise ValueError(f"accumulate must be 1 micro-batch or more, got {accumulate}")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must lie in [0, 1), got {ema_decay}")
    update = make_update(
        _with_axis(network, AXIS if sync_batchnorm else None),
        coarse_network,
        optimizer,
        schedule,
        objective,
        axis_name=AXIS,
        accumulate=accumulate,
        ema_decay=ema_decay,
    )
    return jax.pmap(update, axis_name=AXIS, donate_argnums=0)


def _with_axis(network: Any, axis_name: str | None) -> Any:
    if isinstance(network, TwoStage):
        return TwoStage(_with_axis(network.coarse, axis_name), _with_axis(network.fine, axis_name))
    return network.clone(axis_name=axis_name)


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Copies arrays to every device, with a leading axis of devices.

    Args:
      tree: the same in all processes.
      devices: the local devices for evaluation, which each process does alone; None, for training,
        is those of all processes.
    """
    if not jax.tree.leaves(tree):
        # pmap over several processes stumbles over having nothing to return.
        return tree
    # in_axes=None lets pmap itself do the copying, in every version of jax.
    counted = jnp.arange(jax.local_device_count())
    # The steps' own axis name: arrays of another would be another type, and compiled for again.
    copy = jax.pmap(lambda _, leaf: leaf, AXIS, in_axes=(0, None), devices=devices)
    return copy(counted, tree)


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


def make_source(example: Callable[[jax.Array], Batch]) -> Callable[[np.ndarray], Batch]:
    """Batches that the devices of the training step make themselves.

    Args:
      example: makes the arrays of one example of its position in the stream, uint32.

    Returns:
      A function of the positions `[B]` of this process's share of a batch to what `shard` would
      give of it, but on the devices already. It returns before they have made it. Every process
      calls it as often.
    """
    source = jax.pmap(jax.vmap(example), axis_name=AXIS)
    return lambda positions: source(shard({"position": positions.astype(np.uint32)})["position"])


def unshard(tree: Any) -> Any:
    """Brings arrays to the host and joins the axis of devices: `[D, b, ...]` to `[D * b, ...]`."""
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *leaf.shape[2:]), tree)


def unreplicate(tree: Any) -> Any:
    """Brings the first local device's copy of replicated arrays to the host, as NumPy arrays."""

    def first(leaf: jax.Array) -> np.ndarray:
        # Copied: on a CPU the array may share memory that the next step takes over.
        return np.array(leaf.addressable_shards[0].data).reshape(leaf.shape[1:])

    return jax.tree.map(first, tree)
