"""Losses on the exact depth of rendered frames, which is known at all pixels.

They compare logarithms, so errors are relative to the distance. The sky counts as `SKY` metres. As
in `losses.py`, each loss is a mean over the pixels of the batch, or with `axis_name` this device's
share of it.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.evaluation.metrics import sum_rows
from fcfrnet_jax.networks.patches import error_scale

# Metres. Larger exact depths count as sky, and smaller predictions than `NEAREST` as that.
SKY = 85.0
NEAREST = 0.9
# The weight of the sky relative to other pixels. Its exact distance matters little.
SKY_WEIGHT = 0.2
# Pixels between the neighbours whose differences are compared.
EDGE_STEPS = (1, 2, 4)


def log_error(depth: jax.Array, exact: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Returns the weighted mean of |log depth - log exact|.

    Args:
      depth: `[B, H, W, 1]` metres.
      exact: `[B, H, W, 1]` metres, 0 = sky.
      axis_name: see the module.
    """
    error = jnp.abs(_log(depth) - _log(_target(exact)))
    return _mean(error * jnp.where(_is_sky(exact), SKY_WEIGHT, 1.0), axis_name)


def edge_error(depth: jax.Array, exact: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Returns the mean absolute error of the differences of log depth between neighbours.

    The neighbours are `EDGE_STEPS` rows or columns apart. Blurred edges, stripes and terraces have
    wrong differences. The arguments are those of `log_error`.
    """
    error = _log(depth) - _log(_target(exact))
    total = jnp.zeros(())
    for step in EDGE_STEPS:
        for difference in (
            error[:, step:] - error[:, :-step],
            error[:, :, step:] - error[:, :, :-step],
        ):
            total += _mean(jnp.abs(difference), axis_name)
    return total / (2 * len(EDGE_STEPS))


def scale_error(
    log_scale: jax.Array, depth: jax.Array, exact: jax.Array, axis_name: str | None = None
) -> jax.Array:
    """Returns the mean negative log likelihood of the error of log depth.

    The error has a Laplace distribution of the predicted scale (Kendall and Gal 2017). Depths get
    no gradient from it.

    Args:
      log_scale: `[B, H, W, 1]`, see `networks.patches.error_scale`.
      depth, exact, axis_name: as for `log_error`.
    """
    error = jax.lax.stop_gradient(jnp.abs(_log(depth) - _log(_target(exact))))
    scale = error_scale(log_scale)
    likelihood = error / scale + jnp.log(scale)
    return _mean(likelihood * jnp.where(_is_sky(exact), SKY_WEIGHT, 1.0), axis_name)


def _is_sky(exact: jax.Array) -> jax.Array:
    return (exact <= 0) | (exact >= SKY)


def _target(exact: jax.Array) -> jax.Array:
    return jnp.where(_is_sky(exact), SKY, exact)


def _log(depth: jax.Array) -> jax.Array:
    return jnp.log(jnp.maximum(depth, NEAREST))


def _mean(values: jax.Array, axis_name: str | None) -> jax.Array:
    total = jnp.sum(sum_rows(values))
    count = jnp.asarray(values.size, total.dtype)
    return total / (count if axis_name is None else jax.lax.psum(count, axis_name))
