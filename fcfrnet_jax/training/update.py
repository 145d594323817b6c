"""The training step: one update of the parameters, computed by all devices together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from fcfrnet_jax import parallel
from fcfrnet_jax.networks.models import CoarseToFine, Network, TwoStage
from fcfrnet_jax.parallel import AXIS, Batch
from fcfrnet_jax.training.losses import masked_sums
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.state import TrainState, moving_average

Metrics = dict[str, jax.Array]
Variables = dict[str, Any]
Update = Callable[[TrainState, Any, Batch], tuple[TrainState, Metrics]]


def make_train_step(
    network: Network,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    objective: Objective,
    *,
    accumulate: int = 1,
    ema_decay: float | None = None,
    sync_batchnorm: bool = True,
) -> Update:
    """The training step over the devices of all processes.

    The gradient is that of the loss of the whole batch, where every loss is a mean over the valid
    pixels of all frames on all devices.

    Args:
      network: what is trained: a `SparseToCoarse`; a `CoarseToFine`, on the coarse depth of the
        batch; or a `TwoStage`: end to end with a loss on both depth maps, or with `freeze_coarse`
        the fine network alone.
      optimizer: for the gradients of the whole batch.
      schedule: the optimizer's learning rate, for the metrics.
      objective: the loss.
      accumulate: micro-batches into which each device splits its part of the batch, one after the
        other, to save memory. Depth and smoothness losses stay those of the whole batch. The
        photometric loss, whose valid pixels depend on the prediction, becomes the mean of the
        micro-batches' losses; BatchNorm sees micro-batches, and its running statistics move once
        for each.
      ema_decay: of the moving average of the parameters, in [0, 1), or None for none; see
        `state.moving_average`.
      sync_batchnorm: normalise by the moments over all devices. Otherwise each device uses its own,
        and the running statistics are averaged.

    Returns:
      A function of (state, frozen, batch): the replicated `TrainState`, whose buffers it takes over
      (donation); the replicated variables of a frozen coarse network, or `{}`; and a sharded batch
      with `image`, `sparse_depth` (or `coarse_depth` for a `CoarseToFine`) and what the objective
      needs: `ground_truth`, and `objective.NEAR_INPUTS`. It returns the next state and the metrics,
      float32 and the same on every device: `loss`; its parts before weighting, such as
      `coarse/depth` or `fine/photometric`; `gradient_norm` before clipping; and `learning_rate`.

    Raises:
      ValueError: a setting out of its range.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be 1 micro-batch or more, got {accumulate}")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must lie in [0, 1), got {ema_decay}")
    network = _with_axis(network, AXIS if sync_batchnorm else None)
    gradients_of = make_gradients(network, objective, accumulate)

    def update(state: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients, batch_stats, metrics = gradients_of(state, frozen, batch)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["learning_rate"] = schedule(state.step)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = moving_average(state, params, ema_decay)
        state = TrainState(state.step + 1, params, batch_stats, opt_state, ema_params)
        return state, {name: value.astype(jnp.float32) for name, value in metrics.items()}

    return parallel.map_global(update, donate=True)


def make_gradients(
    network: Network, objective: Objective, accumulate: int
) -> Callable[[TrainState, Any, Batch], tuple[Any, Any, Metrics]]:
    """What each device computes: the whole batch's gradients, running statistics and losses.

    The loss is L = S / N, the sum of a penalty over the valid pixels of the whole batch divided by
    their number. Device d with the micro-batches m holds the sums S_dm and the counts N_dm. N
    depends on the data alone, so the gradient of L is the sum over d and m of the gradients of S_dm
    / N, whatever the N_dm. `losses` returns S_dm / N_m, with N_m the count of micro-batch m over
    all devices, so the factor N_m / N is applied here.
    """
    part_weights = objective.weights()
    output_weights = {"coarse": 1.0, "fine": 1.0}
    if isinstance(network, TwoStage) and not network.freeze_coarse:
        output_weights = {"coarse": objective.coarse_weight, "fine": objective.fine_weight}

    def loss_share(
        params: Any, batch_stats: Any, frozen: Any, batch: Batch, fraction: jax.Array
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, batch_stats = _train_outputs(network, variables, frozen, batch)
        loss, metrics = jnp.zeros(()), {}
        for output, depth in outputs.items():
            for part, value in objective.parts(depth, batch, AXIS).items():
                share = value * (fraction if part == "depth" else 1.0 / accumulate)
                metrics[f"{output}/{part}"] = share
                loss += output_weights[output] * part_weights[part] * share
        return loss, (metrics | {"loss": loss}, batch_stats)

    def gradients_of(state: TrainState, frozen: Any, batch: Batch) -> tuple[Any, Any, Metrics]:
        def add_micro_batch(carry: tuple, inputs: tuple) -> tuple[tuple, Metrics]:
            gradients, batch_stats = carry
            more, (metrics, batch_stats) = jax.grad(loss_share, has_aux=True)(
                state.params, batch_stats, frozen, *inputs
            )
            return (jax.tree.map(jnp.add, gradients, more), batch_stats), metrics

        micro_batches = _split(batch, accumulate)
        fractions = _fractions(objective, micro_batches)
        start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
        (gradients, batch_stats), metrics = _scan(
            add_micro_batch, start, (micro_batches, fractions), accumulate
        )
        gradients, metrics = jax.lax.psum(
            (gradients, {name: jnp.sum(values) for name, values in metrics.items()}), AXIS
        )
        # Where BatchNorm is not synchronised they differ; a replicated state must not.
        return gradients, jax.lax.pmean(batch_stats, AXIS), metrics

    return gradients_of


def with_frozen(frozen: Variables, trained: Variables) -> Variables:
    """The variables of a `TwoStage`, of its frozen coarse network and the trained fine one."""
    return {kind: {"coarse": frozen[kind], "fine": tree} for kind, tree in trained.items()}


def _with_axis(network: Network, axis_name: str | None) -> Network:
    if not isinstance(network, TwoStage):
        return network.clone(axis_name=axis_name)
    # A frozen network runs in eval mode, which has no axis.
    coarse, fine = (part.clone(axis_name=axis_name) for part in (network.coarse, network.fine))
    return network.clone(coarse=coarse, fine=fine)


def _scan(body: Callable, carry: Any, inputs: Any, length: int) -> tuple[Any, Any]:
    """`jax.lax.scan`, but without a loop where a loop is slow."""
    if length > 1 and jax.default_backend() != "cpu":
        return jax.lax.scan(body, carry, inputs)
    # On CPUs XLA converts convolutions to its fast layout only outside loops: 14 times faster.
    outputs = []
    for i in range(length):
        carry, output = body(carry, jax.tree.map(lambda leaf, i=i: leaf[i], inputs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


def _train_outputs(
    network: Network, variables: Variables, frozen: Variables, batch: Batch
) -> tuple[dict[str, jax.Array], Any]:
    """The depth maps that have a loss, by name, and the new running statistics."""
    image = batch.get("image")
    if isinstance(network, CoarseToFine):
        if "coarse_depth" not in batch:
            raise ValueError(
                "a CoarseToFine alone trains on coarse_depth, which the batch lacks; "
                "train a TwoStage to compute it"
            )
        output, batch_stats = _apply(network, variables, image, batch["coarse_depth"])
        return {"fine": output}, batch_stats
    if not isinstance(network, TwoStage):
        output, batch_stats = _apply(network, variables, image, batch["sparse_depth"])
        return {"coarse": output}, batch_stats
    if network.freeze_coarse:
        variables = with_frozen(frozen, variables)
        (_, fine), batch_stats = _apply(network, variables, image, batch["sparse_depth"])
        return {"fine": fine}, batch_stats.get("fine", {})
    (coarse, fine), batch_stats = _apply(network, variables, image, batch["sparse_depth"])
    return {"coarse": coarse, "fine": fine}, batch_stats


def _apply(
    network: Network, variables: Variables, image: jax.Array | None, depth: jax.Array
) -> tuple[Any, Any]:
    output, changed = network.apply(variables, image, depth, train=True, mutable=["batch_stats"])
    return output, changed.get("batch_stats", {})


def _split(batch: Batch, parts: int) -> Batch:
    """`[B, ...]` to `[parts, B / parts, ...]`."""
    size = len(next(iter(batch.values())))
    if size % parts:
        raise ValueError(
            f"{size} frames on each device are not divisible by the {parts} micro-batches to "
            "accumulate"
        )
    return {name: leaf.reshape(parts, -1, *leaf.shape[1:]) for name, leaf in batch.items()}


def _fractions(objective: Objective, micro_batches: Batch) -> jax.Array:
    """N_m / N of `make_gradients`, `[accumulate]`."""
    name = objective.supervision
    if name not in micro_batches:
        # Either the objective has no depth loss, or `loss_parts` reports the missing array.
        return jnp.ones(len(next(iter(micro_batches.values()))))
    target = micro_batches[name]
    pixels = jax.vmap(lambda depth: masked_sums(jnp.square, depth, depth).pixels)(target)
    pixels = jax.lax.psum(pixels, AXIS)
    return pixels / jnp.maximum(jnp.sum(pixels), 1.0)
