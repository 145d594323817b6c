"""The training step: one update of the parameters, computed on all devices."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from fcfrnet_jax.networks.models import (
    CoarseToFine,
    Network,
    SparseToCoarse,
    TwoStage,
    Variables,
    join_variables,
)
from fcfrnet_jax.networks.patches import LOG_SCALE
from fcfrnet_jax.parallel import AXIS, Batch
from fcfrnet_jax.training.exact import scale_error
from fcfrnet_jax.training.losses import masked_sums
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.state import TrainState, moving_average

Metrics = dict[str, jax.Array]
Carry = TypeVar("Carry")
Inputs = TypeVar("Inputs")
Update = Callable[[TrainState, Variables, Batch], tuple[TrainState, Metrics]]


def make_update(
    network: Network,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    objective: Objective,
    *,
    accumulate: int = 1,
    ema_decay: float | None = None,
    sync_batchnorm: bool = True,
    freeze_batchnorm: bool = False,
) -> Update:
    """Makes the training step: what each device computes, mapped over the axis `parallel.AXIS`.

    `parallel.map_global(make_update(...), donate=True)` runs it on the devices of all processes,
    with a replicated state and a sharded batch.

    The gradient is that of the loss of the whole batch, where every loss is a mean over the valid
    pixels of all frames on all devices.

    Args:
      network: the network to train: a `SparseToCoarse`; a `CoarseToFine`, on the coarse depth in
        the batch; or a `TwoStage`, either end to end with a loss on both depth maps, or with
        `freeze_coarse` only its fine network.
      optimizer: receives the gradients of the whole batch.
      schedule: the learning rate of the optimizer, for the metrics.
      objective: the loss.
      accumulate: number of micro-batches into which each device splits its part of the batch. They
        are processed one after the other to save memory. Depth and smoothness losses remain those
        of the whole batch. The photometric loss, whose valid pixels depend on the prediction, and
        the RMSE of `l1+rmse` become means over the micro-batches. BatchNorm normalises each
        micro-batch and updates its running statistics once for each.
      ema_decay: decay of the moving average of the parameters, in [0, 1); None for no average. See
        `state.moving_average`.
      sync_batchnorm: normalise by the moments over all devices. Otherwise each device uses its own,
        and the running statistics are averaged.
      freeze_batchnorm: normalise by the running statistics, which stay as they are. The parameters
        of BatchNorm are trained.

    Returns:
      A function of (state, frozen, batch): the `TrainState`; the variables of the frozen coarse
      network, or `{}`; and the device's part of the batch, with `image`, `sparse_depth`
      (`coarse_depth` for a `CoarseToFine`) and what the objective needs: `ground_truth` and
      `objective.NEAR_INPUTS`. It returns the next state and the metrics, float32: `loss`; its
      unweighted parts, e.g. `coarse/depth` or `fine/photometric`; `gradient_norm` before clipping;
      `learning_rate`; and with nearby frames `usable_neighbours`, the share of the examples that
      have a pose and a calibration. The photometric loss of the others is 0.

    Raises:
      ValueError: a setting outside its range.
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be 1 micro-batch or more, got {accumulate}")
    if ema_decay is not None and not 0 <= ema_decay < 1:
        raise ValueError(f"ema_decay must be in [0, 1), got {ema_decay}")
    network = _with_norm(network, AXIS if sync_batchnorm else None, freeze_batchnorm)
    gradients_of = make_gradients(network, objective, accumulate)

    def update(state: TrainState, frozen: Variables, batch: Batch) -> tuple[TrainState, Metrics]:
        gradients, batch_stats, metrics = gradients_of(state, frozen, batch)
        if freeze_batchnorm:
            # The mean over the devices would round them.
            batch_stats = state.batch_stats
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["learning_rate"] = schedule(state.step)
        metrics |= _neighbours(batch)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema_params = moving_average(state, params, ema_decay)
        state = TrainState(state.step + 1, params, batch_stats, opt_state, ema_params)
        return state, {name: value.astype(jnp.float32) for name, value in metrics.items()}

    return update


def make_gradients(
    network: Network, objective: Objective, accumulate: int
) -> Callable[[TrainState, Variables, Batch], tuple[Variables, Variables, Metrics]]:
    """Makes the function that computes gradients, running statistics and losses of the batch.

    The loss is L = S / N, where S is the sum of a penalty over the valid pixels of the whole batch
    and N is their number. Device d holds the sums S_dm and the counts N_dm of its micro-batches m.
    N depends only on the data, so the gradient of L is the sum over d and m of the gradients of
    S_dm / N, for any N_dm. `losses` returns S_dm / N_m, where N_m is the count of micro-batch m
    over all devices, so the factor N_m / N is applied here.
    """
    output_weights, part_weights = _output_weights(network, objective), objective.weights()

    def loss_share(
        params: Variables,
        batch_stats: Variables,
        frozen: Variables,
        batch: Batch,
        fraction: jax.Array,
    ) -> tuple[jax.Array, tuple[Metrics, Variables]]:
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, batch_stats, log_scale = _train_outputs(network, variables, frozen, batch)
        loss, metrics = jnp.zeros(()), {}
        if log_scale is not None and objective.scale_weight:
            share = scale_error(log_scale, outputs["fine"], batch["exact_depth"], AXIS) / accumulate
            metrics["fine/scale"] = share
            loss += objective.scale_weight * share
        for output, weight in output_weights.items():
            for part, value in objective.parts(outputs[output], batch, AXIS).items():
                share = value * (fraction if part == "depth" else 1.0 / accumulate)
                metrics[f"{output}/{part}"] = share
                loss += weight * part_weights[part] * share
        return loss, (metrics | {"loss": loss}, batch_stats)

    def gradients_of(
        state: TrainState, frozen: Variables, batch: Batch
    ) -> tuple[Variables, Variables, Metrics]:
        def add_micro_batch(
            carry: tuple[Variables, Variables], inputs: tuple[Batch, jax.Array]
        ) -> tuple[tuple[Variables, Variables], Metrics]:
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
        # Without synchronised BatchNorm the statistics differ between devices.
        return gradients, jax.lax.pmean(batch_stats, AXIS), metrics

    return gradients_of


def _with_norm(network: Network, axis_name: str | None, freeze: bool) -> Network:
    """Sets the axis over which BatchNorm averages in train mode, and whether it is frozen."""
    if not isinstance(network, TwoStage):
        return network.clone(axis_name=axis_name, freeze_norm=freeze)
    parts = (network.coarse, network.fine)
    coarse, fine = (part.clone(axis_name=axis_name, freeze_norm=freeze) for part in parts)
    return network.clone(coarse=coarse, fine=fine)


def _output_weights(network: Network, objective: Objective) -> dict[str, float]:
    """The weights of the depth maps that have a loss."""
    if isinstance(network, TwoStage) and not network.freeze_coarse:
        return {"coarse": objective.coarse_weight, "fine": objective.fine_weight}
    return {"coarse": 1.0} if isinstance(network, SparseToCoarse) else {"fine": 1.0}


def _train_outputs(
    network: Network, variables: Variables, frozen: Variables, batch: Batch
) -> tuple[dict[str, jax.Array], Variables, jax.Array | None]:
    """Runs the network in train mode.

    Returns:
      Its depth maps, the new running statistics, and the log scale of the error, if it predicts it.
    """
    freezes = isinstance(network, TwoStage) and network.freeze_coarse
    refines = isinstance(network, CoarseToFine)
    if refines and "coarse_depth" not in batch:
        raise ValueError(
            "a CoarseToFine trains on coarse_depth, which is missing from the batch; "
            "train a TwoStage to compute it"
        )
    # Networks of patches know which depths were measured.
    known: dict[str, Any] = {"sparse_depth": batch.get("sparse_depth")} if refines else {}
    depth, changed = network.apply(
        join_variables(frozen, variables) if freezes else variables,
        batch.get("image"),
        batch["coarse_depth" if refines else "sparse_depth"],
        train=True,
        mutable=["batch_stats", "intermediates"],
        **known,
    )
    batch_stats, stored = changed.get("batch_stats", {}), changed.get("intermediates", {})
    if isinstance(network, TwoStage):
        stored = stored.get("fine", {})
        outputs = dict(zip(("coarse", "fine"), depth, strict=True))
        batch_stats = batch_stats.get("fine", {}) if freezes else batch_stats
    else:
        outputs = {"fine" if refines else "coarse": depth}
    return outputs, batch_stats, stored[LOG_SCALE][0] if LOG_SCALE in stored else None


def _neighbours(batch: Batch) -> Metrics:
    """The share of the examples of all devices whose nearby frame can be warped."""
    if "translation" not in batch:
        return {}
    moved = jnp.any(batch["translation"] != 0, axis=-1)
    usable = moved & jnp.all(batch["intrinsics"][..., :2] > 0, axis=-1)
    return {"usable_neighbours": jax.lax.pmean(jnp.mean(usable), AXIS)}


def _scan(
    body: Callable[[Carry, Inputs], tuple[Carry, Metrics]],
    carry: Carry,
    inputs: Inputs,
    length: int,
) -> tuple[Carry, Metrics]:
    """Runs `jax.lax.scan`, unrolled on CPUs."""
    if length > 1 and jax.default_backend() != "cpu":
        return jax.lax.scan(body, carry, inputs)
    # In loops on CPUs, XLA does not convert convolutions to its fast layout: 14 times slower.
    outputs = []
    for i in range(length):
        carry, output = body(carry, jax.tree.map(lambda leaf, i=i: leaf[i], inputs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


def _split(batch: Batch, parts: int) -> Batch:
    """Splits arrays `[B, ...]` into micro-batches, `[parts, B / parts, ...]`."""
    size = len(next(iter(batch.values())))
    if size % parts:
        raise ValueError(
            f"the {size} frames on each device are not divisible by accumulate={parts}: "
            f"take a batch size that is a multiple of {parts * jax.device_count()}"
        )
    return {name: leaf.reshape(parts, -1, *leaf.shape[1:]) for name, leaf in batch.items()}


def _fractions(objective: Objective, micro_batches: Batch) -> jax.Array:
    """Returns N_m / N of `make_gradients`, `[accumulate]`."""
    name = objective.supervision
    if name not in micro_batches:
        # Either the objective has no depth loss, or `loss_parts` reports the missing array.
        return jnp.ones(len(next(iter(micro_batches.values()))))
    target = micro_batches[name]
    pixels = jax.vmap(lambda depth: masked_sums(jnp.square, depth, depth).pixels)(target)
    pixels = jax.lax.psum(pixels, AXIS)
    return pixels / jnp.maximum(jnp.sum(pixels), 1.0)
