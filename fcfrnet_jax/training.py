"""One update of a training, as each device computes its part of it."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fcfrnet_jax.losses import (
    MODES,
    NearView,
    masked_l1,
    masked_l1_mse,
    masked_mse,
    masked_sums,
    training_loss,
)
from fcfrnet_jax.models import CoarseToFine, SparseToCoarse, TwoStage, clip_depth, with_measured

Batch = dict[str, Any]
Metrics = dict[str, jax.Array]
# The arrays of a batch that the photometric loss reads, beside those of every step.
NEAR_INPUTS = ("near_image", "rotation", "translation", "intrinsics")
DEPTH_LOSSES = {"mse": masked_mse, "l1": masked_l1, "l1+mse": masked_l1_mse}


class TrainState(NamedTuple):
    """All that an update changes, so all that an exact resume needs.

    Attributes:
      step: int32, the number of updates made.
      params: of the trained network, float32.
      batch_stats: its running statistics; empty without BatchNorm.
      opt_state: of the optimizer.
      ema_params: the moving average of `params`, or None. Its network runs with `batch_stats`,
        which are averages themselves.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any = None


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is minimised, see `losses.training_loss`.

    Attributes:
      mode: one of `losses.MODES`.
      depth_loss: `mse`, `l1` or `l1+mse`.
      photometric_weight, smoothness_weight: beside the depth loss of weight 1.
      coarse_weight, fine_weight: of the two depth maps when both networks train together.

    Raises:
      ValueError: an unknown mode or loss, or a negative weight.
    """

    mode: str = "dense"
    depth_loss: str = "mse"
    photometric_weight: float = 0.1
    smoothness_weight: float = 0.1
    coarse_weight: float = 1.0
    fine_weight: float = 1.0

    def __post_init__(self) -> None:
        for name, allowed in (("mode", MODES), ("depth_loss", tuple(DEPTH_LOSSES))):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        for name in ("photometric_weight", "smoothness_weight", "coarse_weight", "fine_weight"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    @property
    def supervision(self) -> str | None:
        """The array of the batch that the depth loss compares with."""
        if "sparse" in self.mode:
            return "sparse_depth"
        return "ground_truth" if "dense" in self.mode else None

    def weights(self) -> dict[str, float]:
        """The weight of each part of `training_loss`."""
        return {
            "depth": 1.0,
            "photometric": self.photometric_weight,
            "smoothness": self.smoothness_weight,
        }

    def parts(self, depth: jax.Array, batch: Batch, axis_name: str) -> dict[str, jax.Array]:
        """This device's shares of the parts of the loss, not weighted."""
        near = None
        if "near_image" in batch:
            near = NearView(*(batch[name] for name in NEAR_INPUTS))
        return training_loss(
            self.mode,
            depth,
            image=batch.get("image"),
            sparse_depth=batch["sparse_depth"],
            ground_truth=batch.get("ground_truth"),
            near=near,
            depth_loss=DEPTH_LOSSES[self.depth_loss],
            axis_name=axis_name,
        )[1]


def initial_state(
    variables: dict[str, Any], optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """The state before the first update.

    Args:
      variables: `params` and `batch_stats` of the trained network.
      optimizer: of the training.
      ema: keep a moving average of the parameters, which starts from them.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        ema_params=params if ema else None,
    )


def make_update(
    network: SparseToCoarse | CoarseToFine | TwoStage,
    coarse_network: SparseToCoarse | None,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    objective: Objective,
    *,
    axis_name: str,
    accumulate: int,
    ema_decay: float | None,
) -> Callable[[TrainState, Any, Batch], tuple[TrainState, Metrics]]:
    """The update that `steps.make_train_step` runs on each device; see there.

    The loss is L = S / N, the sum of a penalty over the valid pixels of the whole batch over their
    number. Device d with the micro-batches m holds the sums S_dm and the counts N_dm. N depends on
    the data alone, so the gradient of L is the sum over d and m of that of S_dm / N, whatever the
    N_dm. `losses` returns S_dm / N_m, with N_m the count of micro-batch m over the devices, which
    leaves the factor N_m / N to be applied here.
    """
    part_weights = objective.weights()
    output_weights = {"coarse": 1.0, "fine": 1.0}
    if isinstance(network, TwoStage):
        output_weights = {"coarse": objective.coarse_weight, "fine": objective.fine_weight}

    def loss_share(params: Any, batch_stats: Any, batch: Batch, fraction: jax.Array) -> tuple:
        variables = {"params": params, "batch_stats": batch_stats}
        outputs, batch_stats = _train_outputs(network, coarse_network, variables, batch)
        loss, metrics = jnp.zeros(()), {}
        for output, depth in outputs.items():
            for part, value in objective.parts(depth, batch, axis_name).items():
                share = value * (fraction if part == "depth" else 1.0 / accumulate)
                metrics[f"{output}/{part}"] = share
                loss += output_weights[output] * part_weights[part] * share
        return loss, (metrics | {"loss": loss}, batch_stats)

    def update(state: TrainState, frozen: Any, batch: Batch) -> tuple[TrainState, Metrics]:
        def add_micro_batch(carry: tuple, inputs: tuple) -> tuple[tuple, Metrics]:
            gradients, batch_stats = carry
            micro_batch, fraction = inputs
            micro_batch = _with_coarse_depth(network, coarse_network, frozen, micro_batch)
            more, (metrics, batch_stats) = jax.grad(loss_share, has_aux=True)(
                state.params, batch_stats, micro_batch, fraction
            )
            return (jax.tree.map(jnp.add, gradients, more), batch_stats), metrics

        micro_batches = _split(batch, accumulate)
        fractions = _fractions(objective, micro_batches, axis_name)
        start = jax.tree.map(jnp.zeros_like, state.params), state.batch_stats
        (gradients, batch_stats), metrics = _scan(
            add_micro_batch, start, (micro_batches, fractions), accumulate
        )
        gradients, metrics = jax.lax.psum(
            (gradients, {name: jnp.sum(values) for name, values in metrics.items()}), axis_name
        )
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        metrics["learning_rate"] = schedule(state.step)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        state = TrainState(
            state.step + 1,
            params,
            # Where BatchNorm is not synchronised they differ; a replicated state must not.
            jax.lax.pmean(batch_stats, axis_name),
            opt_state,
            _moving_average(state, params, ema_decay),
        )
        return state, {name: value.astype(jnp.float32) for name, value in metrics.items()}

    return update


def _scan(body: Callable, carry: Any, inputs: Any, length: int) -> tuple[Any, Any]:
    """`jax.lax.scan`, but without a loop where a loop is slow."""
    if length > 1 and jax.default_backend() != "cpu":
        return jax.lax.scan(body, carry, inputs)
    # On CPUs XLA brings convolutions into its fast layout only outside of loops: 14 times faster.
    outputs = []
    for i in range(length):
        carry, output = body(carry, jax.tree.map(lambda leaf, i=i: leaf[i], inputs))
        outputs.append(output)
    return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)


def _train_outputs(
    network: SparseToCoarse | CoarseToFine | TwoStage,
    coarse_network: SparseToCoarse | None,
    variables: dict[str, Any],
    batch: Batch,
) -> tuple[dict[str, jax.Array], Any]:
    """The depth maps to compare, by name, and the new running statistics."""
    fine_only = isinstance(network, CoarseToFine)
    depth = batch["coarse_depth" if fine_only else "sparse_depth"]
    output, changed = network.apply(
        variables, batch.get("image"), depth, train=True, mutable=["batch_stats"]
    )
    batch_stats = changed.get("batch_stats", {})
    if isinstance(network, TwoStage):
        coarse, fine = output
        return {"coarse": coarse, "fine": fine}, batch_stats
    if coarse_network is not None:
        output = with_measured(coarse_network.spec, batch["sparse_depth"], output)
    return {"fine" if fine_only else "coarse": output}, batch_stats


def _with_coarse_depth(
    network: SparseToCoarse | CoarseToFine | TwoStage,
    coarse_network: SparseToCoarse | None,
    frozen: Any,
    batch: Batch,
) -> Batch:
    if not isinstance(network, CoarseToFine):
        return batch
    if coarse_network is None:
        if "coarse_depth" not in batch:
            raise ValueError(
                "to train the fine network alone, the batch needs coarse_depth or the step needs a "
                "coarse network"
            )
        return batch
    coarse: Any = coarse_network.apply(frozen, batch.get("image"), batch["sparse_depth"])
    return batch | {"coarse_depth": clip_depth(coarse, coarse_network.spec.max_depth)}


def _split(batch: Batch, parts: int) -> Batch:
    """`[B, ...]` to `[parts, B / parts, ...]`."""
    size = len(next(iter(batch.values())))
    if size % parts:
        raise ValueError(
            f"{size} frames on each device do not divide by the {parts} micro-batches to accumulate"
        )
    return {name: leaf.reshape(parts, -1, *leaf.shape[1:]) for name, leaf in batch.items()}


def _fractions(objective: Objective, micro_batches: Batch, axis_name: str) -> jax.Array:
    """N_m / N of `make_update`, `[accumulate]`."""
    name = objective.supervision
    if name not in micro_batches:
        # The loss itself says what is missing, or has no such part.
        return jnp.ones(len(next(iter(micro_batches.values()))))
    target = micro_batches[name]
    pixels = jax.vmap(lambda depth: masked_sums(jnp.square, depth, depth).pixels)(target)
    pixels = jax.lax.psum(pixels, axis_name)
    return pixels / jnp.maximum(jnp.sum(pixels), 1.0)


def _moving_average(state: TrainState, params: Any, decay: float | None) -> Any:
    if (decay is None) != (state.ema_params is None):
        raise ValueError(
            "the step and its state disagree about a moving average of the parameters: "
            f"ema_decay is {decay}, the state has {'no' if state.ema_params is None else 'one'}"
        )
    if decay is None:
        return None
    # The first parameters are random: forget them fast, as TensorFlow's moving average does.
    early = (1.0 + state.step) / (10.0 + state.step)
    return optax.incremental_update(params, state.ema_params, 1.0 - jnp.minimum(decay, early))
