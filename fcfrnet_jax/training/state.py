"""The state that a training step updates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fcfrnet_jax.networks.models import Variables


class TrainState(NamedTuple):
    """Everything that an update changes, and so everything that an exact resume needs.

    Attributes:
      step: int32, the number of updates made.
      params: parameters of the trained network, float32.
      batch_stats: its running statistics; empty without BatchNorm.
      opt_state: state of the optimizer.
      ema_params: the moving average of `params`, or None. It is used with `batch_stats`, which are
        moving averages themselves.
    """

    step: jax.Array | np.ndarray
    params: Variables
    batch_stats: Variables
    opt_state: optax.OptState
    ema_params: Variables | None = None


def initial_state(
    variables: Variables, optimizer: optax.GradientTransformation, *, ema: bool = False
) -> TrainState:
    """Returns the state before the first update.

    Args:
      variables: `params` and `batch_stats` of the trained network.
      optimizer: the optimizer of the training.
      ema: keep a moving average of the parameters, which starts at their initial values.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables.get("batch_stats", {}),
        opt_state=optimizer.init(params),
        ema_params=params if ema else None,
    )


def moving_average(state: TrainState, params: Variables, decay: float | None) -> Variables | None:
    """Returns the next moving average; update t, from 0, uses min(decay, (1 + t) / (10 + t)).

    Raises:
      ValueError: a decay without an average in the state, or an average without a decay.
    """
    if decay is None and state.ema_params is None:
        return None
    if decay is None or state.ema_params is None:
        raise ValueError(
            "ema_decay of the training step and ema of the state must be given together, got "
            f"ema_decay={decay} and a state {'without' if state.ema_params is None else 'with'} "
            "a moving average"
        )
    # The initial parameters are random, so their weight must fall quickly. The rule is that of
    # TensorFlow's ExponentialMovingAverage.
    early = (1.0 + state.step) / (10.0 + state.step)
    return optax.incremental_update(params, state.ema_params, 1.0 - jnp.minimum(decay, early))
