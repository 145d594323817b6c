"""Scan patterns: simulates what other scanners would have measured.

All functions are pure, can be compiled and mapped, and process one frame.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import Size

# Metres, the range of the depths of random points.
NEAREST, FARTHEST = 0.5, 85.0
# A scan with fewer points is replaced by random points.
FEWEST = 5
# The largest shares of points that are left out and that are wrong, and the range of wrong depths
# in metres.
MOST_DROPPED, MOST_WRONG = 0.6, 0.04
WRONG = (2.0, 80.0)


class Points(NamedTuple):
    """The points of a scan in a window of the image, each array `[N]`.

    Attributes:
      row, column: int32 pixels; points outside the window are ignored.
      depth: float32 metres, 0 = missing.
      beam: int32, the beam of the scanner, 0 = the highest.
      beams: int32 scalar, the number of beams of the scanner.
    """

    row: jax.Array
    column: jax.Array
    depth: jax.Array
    beam: jax.Array
    beams: jax.Array


@dataclass(frozen=True)
class Patterns:
    """The probabilities of the patterns, in [0, 1].

    Attributes:
      second: probability of the second scan.
      thinned: probability that only every n-th beam of a scan is kept.
      beams: the number of beams that are then kept: one of these, if the scanner has more.
      random: probability of random points instead of a scan.
      density: the range of the share of pixels with a random point, which is uniform on a
        logarithmic scale.
      dropout: probability that a share of the points, up to `MOST_DROPPED`, is left out.
      wrong: probability that a share of the points, up to `MOST_WRONG`, has a random depth.
    """

    second: float = 0.12
    thinned: float = 0.3
    beams: tuple[int, ...] = (32, 16, 16, 8, 8, 4)
    random: float = 0.12
    density: tuple[float, float] = (1.5e-4, 1.7e-2)
    dropout: float = 0.1
    wrong: float = 0.1


def draw_sparse(
    key: jax.Array, scans: tuple[Points, Points], exact: jax.Array, patterns: Patterns
) -> jax.Array:
    """Draws a pattern and returns its sparse depth.

    Args:
      key: the JAX random key; the same key gives the same pattern.
      scans: the scans of the main and of the second scanner.
      exact: the exact depth `[H, W]` in metres, 0 = sky.
      patterns: the probabilities of the patterns.

    Returns:
      `[H, W]` metres, 0 = missing.
    """
    keys = jax.random.split(key, 7)
    size = (exact.shape[0], exact.shape[1])
    second, thinned, chance = jax.random.uniform(keys[0], (3,))
    points = Points(
        *(jnp.where(second < patterns.second, b, a) for a, b in zip(*scans, strict=True))
    )
    kept = jax.random.choice(keys[1], jnp.array(patterns.beams))
    every = jnp.maximum(1, jnp.round(points.beams / kept)).astype(jnp.int32)
    every = jnp.where(thinned < patterns.thinned, every, 1)
    phase = jax.random.randint(keys[2], (), 0, every)
    scan = scatter(points, (points.beam + phase) % every == 0, size)
    low, high = patterns.density
    density = low * (high / low) ** jax.random.uniform(keys[3])
    sparse = jnp.where(chance < patterns.random, random_points(keys[4], exact, density), scan)
    sparse = disturb(keys[5], sparse, patterns)
    few = jnp.sum(sparse > 0) < FEWEST
    return jnp.where(few, random_points(keys[6], exact, high), sparse)


def scatter(points: Points, keep: jax.Array, size: Size) -> jax.Array:
    """Returns the sparse depth `[H, W]` of the points to keep, the nearest one of each pixel."""
    height, width = size
    inside = (points.row >= 0) & (points.row < height)
    inside &= (points.column >= 0) & (points.column < width)
    at = jnp.where(inside & keep & (points.depth > 0), points.row * width + points.column, -1)
    # Negative indices would count from the end.
    at = jnp.where(at < 0, height * width, at)
    nearest = jnp.full(height * width, jnp.inf).at[at].min(points.depth, mode="drop")
    return jnp.where(jnp.isfinite(nearest), nearest, 0.0).reshape(size)


def random_points(key: jax.Array, exact: jax.Array, density: jax.Array | float) -> jax.Array:
    """Measures a share `density` of the pixels `[H, W]`, with 1% noise in half of the frames."""
    place_key, noise_key, noisy_key = jax.random.split(key, 3)
    chosen = jax.random.uniform(place_key, exact.shape) < density
    chosen &= (exact > NEAREST) & (exact < FARTHEST)
    noise = 0.01 * jax.random.normal(noise_key, exact.shape)
    noise *= jax.random.bernoulli(noisy_key)
    return jnp.where(chosen, exact * (1.0 + noise), 0.0)


def disturb(key: jax.Array, sparse: jax.Array, patterns: Patterns) -> jax.Array:
    """Leaves out points of `[H, W]` and gives others a depth in the range `WRONG`."""
    draw_key, drop_key, wrong_key, depth_key = jax.random.split(key, 4)
    drops, share, errs, wrong_share = jax.random.uniform(draw_key, (4,))
    dropped = jax.random.uniform(drop_key, sparse.shape) < MOST_DROPPED * share
    sparse = jnp.where(dropped & (drops < patterns.dropout), 0.0, sparse)
    wrong = jax.random.uniform(wrong_key, sparse.shape) < MOST_WRONG * wrong_share
    wrong &= (errs < patterns.wrong) & (sparse > 0)
    near, far = WRONG
    depth = near * (far / near) ** jax.random.uniform(depth_key, sparse.shape)
    return jnp.where(wrong, depth, sparse)
