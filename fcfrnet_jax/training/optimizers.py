"""Optimizers and learning rate schedules. Everything counts in steps, from 0."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "step", "cosine")


def make_schedule(
    name: str,
    learning_rate: float,
    *,
    warmup_steps: int = 0,
    decay_every: int | None = None,
    decay_factor: float = 0.1,
    total_steps: int | None = None,
) -> optax.Schedule:
    """The learning rate as a function of the number of updates made before.

    Args:
      name: `constant`; `step`, which multiplies by `decay_factor` after every `decay_every` steps
        as FCFR-Net and the sparse-to-dense network were trained; or `cosine`, which falls to 0 at
        `total_steps` along half a cosine (Loshchilov and Hutter 2017, without restarts).
      learning_rate: the largest one.
      warmup_steps: over this many first steps the rate grows linearly, from `learning_rate /
        warmup_steps`; `step` counts them in, `cosine` begins to fall after them.
      decay_every: for `step` only.
      decay_factor: for `step` only.
      total_steps: for `cosine` only, the length of the training with its warm-up.

    Raises:
      ValueError: an unknown name, or numbers that make no schedule.
    """
    _check_name("schedule", name, SCHEDULES)
    if learning_rate <= 0:
        raise ValueError(f"the learning rate must be positive, got {learning_rate}")
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")
    shape: optax.Schedule = jnp.ones_like
    if name == "step":
        shape = _staircase(decay_every, decay_factor)
    elif name == "cosine":
        shape = _cosine(warmup_steps, total_steps)

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.float32)
        warmth = jnp.minimum((count + 1.0) / max(warmup_steps, 1), 1.0)
        return learning_rate * warmth * shape(count)

    return schedule


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
    """The optimizer for gradients of the whole batch.

    Args:
      name: `adam` (Kingma and Ba 2015), `adamw` (Loshchilov and Hutter 2019) or `sgd`.
      schedule: the learning rate, see `make_schedule`.
      weight_decay: decoupled from the gradients, `learning_rate * weight_decay * kernel` a step;
        biases and BatchNorm's parameters do not decay. For `adamw` and `sgd`.
      clip_norm: gradients whose norm, over all parameters together, exceeds this are scaled down to
        it; None to leave them.
      b1, b2, eps: of `adam` and `adamw`.
      momentum: of `sgd`; 0 for none.

    Raises:
      ValueError: an unknown name, or a setting out of its range.
    """
    _check_name("optimizer", name, OPTIMIZERS)
    if weight_decay < 0 or (name == "adam" and weight_decay):
        raise ValueError(
            f"{name} cannot have a weight decay of {weight_decay}; "
            "it must not be negative, and adamw and sgd alone have one"
        )
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"clip_norm must be positive, or None for no clipping, got {clip_norm}")
    if not all(0 <= decay < 1 for decay in (b1, b2, momentum)) or eps <= 0:
        raise ValueError(
            "b1, b2 and momentum must lie in [0, 1) and eps above 0, "
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


def decay_mask(params: Any) -> Any:
    """True for the parameters that decay: the kernels of convolutions."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def _staircase(every: int | None, factor: float) -> optax.Schedule:
    if every is None or every < 1:
        raise ValueError(f"the step schedule needs decay_every of 1 step or more, got {every}")
    if not 0 < factor <= 1:
        raise ValueError(f"decay_factor must lie in (0, 1], got {factor}")
    return lambda count: factor ** jnp.floor(count / every)


def _cosine(warmup_steps: int, total_steps: int | None) -> optax.Schedule:
    if total_steps is None or total_steps <= warmup_steps:
        raise ValueError(
            f"the cosine schedule needs total_steps beyond the warm-up of {warmup_steps} steps, "
            f"got {total_steps}"
        )

    def shape(count: jax.typing.ArrayLike) -> jax.Array:
        done = (count - warmup_steps) / (total_steps - warmup_steps)
        return 0.5 + 0.5 * jnp.cos(jnp.pi * jnp.clip(done, 0.0, 1.0))

    return shape


def _check_name(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"unknown {kind} {name!r}; the choices are {', '.join(names)}")
