"""Errors of ground truth and scans near objects, as accumulated laser scans have them.

KITTI's ground truth shows in places what is behind glass, poles and leaves, and the sides of
objects up to some pixels beside their edges in the image. A network that never sees such errors
commits itself to one side of each edge. On real frames its errors are then larger than necessary.

All functions are pure and work on one frame `[H, W]` on the devices.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.sensors.patterns import Points
from fcfrnet_jax.streets.blobs import blobs

# Blocks of this many pixels in height and width take their depth from up to SHIFT pixels beside
# them.
BLOCK, SHIFT = 4, 1
# Blobs of about this many pixels, on up to this share of a frame, show the farthest depth within
# this number of columns.
BLOB, BLOB_SHARE, BLOB_REACH = 20, 0.03, 8
# Only where the other depth differs by more than this share is there an error.
EDGE = 0.1

# Scans see through blobs of about this many pixels of surfaces up to this many metres away, as
# through the windows of cars, to the farthest depth within a window of this height and width.
PANE, PANE_DISTANCE, PANE_SIZE = 14, 25.0, (49, 81)
# Panes cover this share of a frame times (u - 0.3)^1.5, with u even in [0, 1], none below 0.3.
PANE_SHARE = 0.05
# The background must be farther than the surface by this share, and the surface within this share
# of the nearest one around it, so that it is no road.
BEHIND, FACING = 0.2, 0.06
# The shares of the points that pass a pane, and of the rows and of their pixels that have ground
# truth behind it.
PASSING, ROWS, PIXELS = 0.8, 0.6, 0.7


def blur_edges(key: jax.Array, ground_truth: jax.Array, exact: jax.Array) -> jax.Array:
    """Returns ground truth with errors near the edges of the exact depth.

    Args:
      key: the JAX random key.
      ground_truth: metres, 0 = missing; missing pixels stay missing.
      exact: metres, 0 = sky.
    """
    size = (exact.shape[0], exact.shape[1])
    shift_key, blob_key, share_key = jax.random.split(key, 3)
    share = BLOB_SHARE * jax.random.uniform(share_key) ** 2
    beside = blobs(blob_key, size, BLOB, share)
    other = jnp.where(beside, _farthest(exact, (1, 2 * BLOB_REACH + 1)), _shifted(shift_key, exact))
    ratio = other / jnp.maximum(exact, 0.1)
    wrong = (other > 0) & (exact > 0) & (jnp.abs(ratio - 1.0) > EDGE)
    return jnp.where((ground_truth > 0) & wrong, other, ground_truth)


def see_through(
    key: jax.Array, ground_truth: jax.Array, exact: jax.Array, scans: tuple[Points, Points]
) -> tuple[jax.Array, tuple[Points, Points]]:
    """Lets scans and ground truth see the background through panes; returns both.

    Behind panes there is ground truth also where it was missing, as renderers leave out glass.

    Args:
      key: the JAX random key.
      ground_truth: metres, 0 = missing.
      exact: metres, 0 = sky.
      scans: the points, of which those that agree with `exact` may pass.
    """
    size = (exact.shape[0], exact.shape[1])
    keys = jax.random.split(key, 6)
    share = PANE_SHARE * jnp.maximum(jax.random.uniform(keys[0]) - 0.3, 0.0) ** 1.5
    far = _farthest(exact, PANE_SIZE)
    nearest = -_farthest(-jnp.where(exact > 0, exact, jnp.inf), (9, 9))
    pane = blobs(keys[1], size, PANE, share) & (exact > 0) & (exact < PANE_DISTANCE)
    pane &= (far > (1.0 + BEHIND) * exact) & (exact < (1.0 + FACING) * nearest)
    seen = pane & jax.random.bernoulli(keys[2], ROWS, (exact.shape[0], 1))
    seen &= jax.random.bernoulli(keys[3], PIXELS, exact.shape)
    ground_truth = jnp.where(seen, far, jnp.where(pane, 0.0, ground_truth))
    first, second = (
        _passed(key, points, exact, pane, far) for key, points in zip(keys[4:], scans, strict=True)
    )
    return ground_truth, (first, second)


def _passed(
    key: jax.Array, points: Points, exact: jax.Array, pane: jax.Array, far: jax.Array
) -> Points:
    at = tuple(
        jnp.clip(place, 0, length - 1)
        for place, length in zip((points.row, points.column), exact.shape, strict=True)
    )
    passes = (at[0] == points.row) & (at[1] == points.column) & pane[at]
    passes &= jnp.abs(points.depth - exact[at]) < 0.05 * exact[at]
    passes &= jax.random.bernoulli(key, PASSING, points.depth.shape)
    return points._replace(depth=jnp.where(passes, far[at], points.depth))


def _shifted(key: jax.Array, depth: jax.Array) -> jax.Array:
    """The depth with the pixels of each block taken from beside them."""
    strength_key, *keys = jax.random.split(key, 3)
    strength = 0.5 * SHIFT * jax.random.uniform(strength_key)
    blocks = [-(-length // BLOCK) for length in depth.shape]
    places = []
    for axis, (key, length) in enumerate(zip(keys, depth.shape, strict=True)):
        shift = jnp.clip(jnp.round(strength * jax.random.normal(key, blocks)), -SHIFT, SHIFT)
        shift = jnp.repeat(jnp.repeat(shift.astype(jnp.int32), BLOCK, 0), BLOCK, 1)
        place = jnp.expand_dims(jnp.arange(length), 1 - axis)
        place += shift[: depth.shape[0], : depth.shape[1]]
        places.append(jnp.clip(place, 0, length - 1))
    return depth[places[0], places[1]]


def _farthest(depth: jax.Array, window: tuple[int, int]) -> jax.Array:
    """The largest value within windows around the pixels."""
    for shape in ((window[0], 1), (1, window[1])):
        depth = jax.lax.reduce_window(depth, -jnp.inf, jax.lax.max, shape, (1, 1), "SAME")
    return depth
