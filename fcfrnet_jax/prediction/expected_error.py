"""The expected error of predicted depth.

A network of patches predicts the scale of its error, but learns it on rendered frames, where images
and scans have fewer faults than recorded ones. Three more measures tell where recorded frames go
wrong: how much the depth before was changed, how steep the depth is, and how far the next measured
point is. The expected error is a product of their powers.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.networks import patches
from fcfrnet_jax.networks.specs import SMALLEST

# Pixels, the largest distance to a measured point that is told apart.
REACH = 16
# Pixels, for networks that do not know which depths were measured.
TYPICAL_DISTANCE = 2.0
# Added to differences of log depth, so that small ones are alike.
FLOOR = 0.01
# The exponents of the columns of `error_measures`. `benchmarks/quality/calibrate.py` fits them for
# the compact model.
FACTOR = 2.99
EXPONENTS = (0.416, 0.365, 0.58, 0.171)


def expected_error(
    depth: jax.Array, before: jax.Array, log_scale: jax.Array, sparse_depth: jax.Array | None
) -> jax.Array:
    """Returns the expected absolute error of depth in metres, `[B, H, W, 1]`.

    Args:
      depth: the predicted depth, `[B, H, W, 1]` metres, positive.
      before: the depth that the fine network refined, of the same shape; 0 = missing.
      log_scale: what the fine network stores as `patches.LOG_SCALE`, of the same shape.
      sparse_depth: the measured depth, of the same shape, 0 = missing; None if it is not known.
    """
    measures = error_measures(depth, before, log_scale, sparse_depth)
    powers = (measure**power for measure, power in zip(measures, EXPONENTS, strict=True))
    error = depth * FACTOR
    for power in powers:
        error = error * power
    return error


def error_measures(
    depth: jax.Array, before: jax.Array, log_scale: jax.Array, sparse_depth: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns the positive measures of which `expected_error` is a product, each `[B, H, W, 1]`.

    They are the scale of the error of log depth; the difference of log depth from the depth before;
    the range of log depth in 3x3 pixels; and the distance to the next measured point in pixels.
    `FLOOR` is added to the differences, and 1 to the distance.
    """
    log_depth = jnp.log(depth)
    change = jnp.abs(log_depth - jnp.log(jnp.maximum(before, SMALLEST)))
    window = (1, 3, 3, 1)
    highest, lowest = (
        jax.lax.reduce_window(log_depth, initial, function, window, (1, 1, 1, 1), "SAME")
        for initial, function in ((-jnp.inf, jax.lax.max), (jnp.inf, jax.lax.min))
    )
    if sparse_depth is None:
        distance = jnp.full_like(depth, TYPICAL_DISTANCE)
    else:
        distance = distance_to_points(sparse_depth > 0)
    scale = patches.error_scale(log_scale)
    return scale, change + FLOOR, highest - lowest + FLOOR, distance + 1.0


def distance_to_points(measured: jax.Array) -> jax.Array:
    """Returns the Euclidean distance to the next measured pixel, at most `REACH`, in pixels.

    Args:
      measured: bool `[B, H, W, 1]`.
    """
    squares = jnp.where(measured, 0.0, jnp.float32(REACH**2))
    # The squared distance in columns, then in the plane (Felzenszwalb and Huttenlocher 2012).
    for axis in (1, 2):
        length = squares.shape[axis]
        pads = [(REACH * (i == axis),) * 2 for i in range(4)]
        padded = jnp.pad(squares, pads, constant_values=REACH**2)
        for offset in range(1, REACH):
            for start in (REACH - offset, REACH + offset):
                beside = jax.lax.slice_in_dim(padded, start, start + length, axis=axis)
                squares = jnp.minimum(squares, beside + offset**2)
    return jnp.sqrt(squares)
