"""Optimizers and learning rate schedules. Steps are counted from 0."""

import math

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "step", "cosine", "plateau")
# Those that depend on the length of the training.
FINITE = ("cosine", "plateau")
# Where the decay of `plateau` starts, as a share of the steps.
PLATEAU = 0.7


def make_schedule(
    name: str,
    learning_rate: float,
    *,
    warmup_steps: int = 0,
    decay_every: int | None = None,
    decay_factor: float = 0.1,
    total_steps: int | None = None,
) -> optax.Schedule:
    """Returns the learning rate as a function of the number of updates made before.

    Args:
      name: `constant`; `step`, multiplied by `decay_factor` every `decay_every` steps, as FCFR-Net
        and the sparse-to-dense network were trained; or `cosine`, which falls to 0 at `total_steps`
        along half a cosine (Loshchilov and Hutter 2017, without restarts); or `plateau`, which
        does so after `PLATEAU` of the steps, so that the length need not be known before.
      learning_rate: the peak value, positive and finite.
      warmup_steps: number of steps over which the learning rate grows linearly from `learning_rate
        / warmup_steps` to `learning_rate`. `step` includes them in its count; the decay of `cosine`
        starts after them.
      decay_every: for `step` only.
      decay_factor: in (0, 1], for `step` only.
      total_steps: length of the training including the warm-up, for `cosine` and `plateau` only.

    Raises:
      ValueError: an unknown name, or a number outside its range.
    """
    _check_name("schedule", name, SCHEDULES)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"the learning rate must be positive and finite, got {learning_rate}")
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")
    if name == "step":
        decay = _step_decay(learning_rate, decay_every, decay_factor)
    elif name == "cosine":
        decay = _cosine_decay(learning_rate, warmup_steps, total_steps)
    elif name == "plateau":
        level = max(warmup_steps, int(PLATEAU * (total_steps or 0)))
        decay = _cosine_decay(learning_rate, level, total_steps)
    else:
        decay = optax.constant_schedule(learning_rate)

    def schedule(step: ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.float32)
        # optax.linear_schedule computes 1 - (1 - x), which rounds the first, small rates.
        warm_up = jnp.minimum((count + 1.0) / max(warmup_steps, 1), 1.0)
        return warm_up * decay(count)

    return schedule


def check_plateau(step: int, before: int, total: int) -> None:
    """Checks that a run with the schedule `plateau` may change its length from `before` to `total`.

    Raises:
      ValueError: one of the two has the learning rate decay before `step`.
    """
    decay = int(PLATEAU * min(before, total))
    if total != before and step > decay:
        raise ValueError(
            f"the length of the run cannot change from {before} to {total} at step {step}: with "
            f"the shorter one, the plateau of the learning rate ends at step {decay}"
        )


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    momentum: float = 0.9,
) -> optax.GradientTransformation:
    """Returns the optimizer for the gradients of the whole batch.

    Args:
      name: `adam` (Kingma and Ba 2015), `adamw` (Loshchilov and Hutter 2019) or `sgd`.
      schedule: the learning rate, see `make_schedule`.
      weight_decay: decoupled weight decay for `adamw` and `sgd`: each step subtracts `learning_rate
        * weight_decay * kernel`. Biases and BatchNorm parameters do not decay.
      clip_norm: maximum global norm of the gradients; None for no clipping.
      b1, b2, eps: for `adam` and `adamw`.
      momentum: for `sgd`; 0 for none.

    Raises:
      ValueError: an unknown name, or a setting outside its range.
    """
    _check_name("optimizer", name, OPTIMIZERS)
    if not 0 <= weight_decay < math.inf or (name == "adam" and weight_decay):
        raise ValueError(
            f"{name} cannot use weight_decay={weight_decay}: it must be finite and at least 0, "
            "and only adamw and sgd support it"
        )
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise ValueError(
            f"clip_norm must be positive and finite, or None for no clipping, got {clip_norm}"
        )
    if not all(0 <= decay < 1 for decay in (b1, b2, momentum)) or not 0 < eps < math.inf:
        raise ValueError(
            "b1, b2 and momentum must be in [0, 1) and eps positive and finite, "
            f"got {b1}, {b2}, {momentum} and {eps}"
        )
    chain = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    if name != "sgd":
        chain.append(optax.scale_by_adam(b1, b2, eps))
    elif momentum:
        chain.append(optax.trace(momentum))
    if weight_decay:
        chain.append(optax.add_decayed_weights(weight_decay, decay_mask))
    return optax.chain(*chain, optax.scale_by_learning_rate(schedule))


def decay_mask(params: optax.Params) -> optax.Params:
    """Returns a tree that is True for the parameters that decay: the convolution kernels."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _step_decay(learning_rate: float, every: int | None, factor: float) -> optax.Schedule:
    if every is None or every < 1:
        raise ValueError(f"the step schedule needs decay_every of 1 step or more, got {every}")
    if not 0 < factor <= 1:
        raise ValueError(f"decay_factor must be in (0, 1], got {factor}")
    return optax.exponential_decay(learning_rate, every, factor, staircase=True)


def _cosine_decay(
    learning_rate: float, warmup_steps: int, total_steps: int | None
) -> optax.Schedule:
    if total_steps is None or total_steps <= warmup_steps:
        raise ValueError(
            f"the cosine schedule needs total_steps beyond the warm-up of {warmup_steps} steps, "
            f"got {total_steps}"
        )
    decay = optax.cosine_decay_schedule(learning_rate, total_steps - warmup_steps)
    return optax.join_schedules([optax.constant_schedule(learning_rate), decay], [warmup_steps])


def _check_name(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}; the choices are {', '.join(names)}")
