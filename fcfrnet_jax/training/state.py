"""What a training step changes."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax


class TrainState(NamedTuple):
    """All that an update changes, and so all that an exact resume needs.

    Attributes:
      step: int32, the number of updates made.
      params: of the trained network, float32.
      batch_stats: its running statistics; empty without BatchNorm.
      opt_state: of the optimizer.
      ema_params: the moving average of `params`, or None. It is used with `batch_stats`, which are
        averages themselves.
    """

    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    ema_params: Any = None


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


def moving_average(state: TrainState, params: Any, decay: float | None) -> Any:
    """The next moving average of the parameters; update t uses min(decay, (1 + t) / (10 + t)).

    Raises:
      ValueError: a decay without an average in the state, or the reverse.
    """
    if (decay is None) != (state.ema_params is None):
        raise ValueError(
            "the step and its state disagree about a moving average of the parameters: "
            f"ema_decay is {decay}, the state has {'no' if state.ema_params is None else 'one'}"
        )
    if decay is None:
        return None
    # The first parameters are random and should be forgotten fast, as in TensorFlow's
    # ExponentialMovingAverage.
    early = (1.0 + state.step) / (10.0 + state.step)
    return optax.incremental_update(params, state.ema_params, 1.0 - jnp.minimum(decay, early))
