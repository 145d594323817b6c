"""Scan patterns: the same scene as other scanners would have measured it.

All functions are pure and work on one frame on the devices; equal keys give equal patterns.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import Size

# Metres, the range of depths that random points have.
NEAREST, FARTHEST = 0.5, 85.0
# With fewer measured points, a scan is replaced by random points.
FEWEST = 5


class Points(NamedTuple):
    """The points of a scan in a window of the image, each array `[N]`.

    Attributes:
      row, column: int32 pixels; points outside of the window do not count.
      depth: float32 metres, 0 = none.
      beam: int32, the beam of the scanner, 0 = the highest.
      beams: int32 scalar, how many beams the scanner has.
    """

    row: jax.Array
    column: jax.Array
    depth: jax.Array
    beam: jax.Array
    beams: jax.Array


@dataclass(frozen=True)
class Patterns:
    """How often which pattern is drawn. Shares and probabilities are in [0, 1].

    Attributes:
      second: share of the second scanner among scans.
      thinned: share of scans of which only some beams are kept.
      beams: how many beams are then kept: one of these numbers, if the scanner has more.
      random: share of frames with random points instead of a scan.
      density: least and largest share of the pixels that have a random point, drawn evenly on a
        logarithmic scale.
      dropout: probability that a share of all points, up to 0.6, is left out.
      wrong: probability that a share of the points, up to 0.04, has a random depth.
    """

    second: float = 0.12
    thinned: float = 0.3
    beams: tuple[int, ...] = (32, 16, 16, 8, 8, 4)
    random: float = 0.12
    density: tuple[float, float] = (1.5e-4, 1.7e-2)
    dropout: float = 0.1
    wrong: float = 0.25


def draw_sparse(
    key: jax.Array, scans: tuple[Points, Points], exact: jax.Array, patterns: Patterns
) -> jax.Array:
    """Draws a pattern and returns its sparse depth.

    Args:
      key: the JAX random key.
      scans: those of the main and of the second scanner.
      exact: `[H, W]` metres, 0 = sky.
      patterns: what to draw.

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
    """Returns the sparse depth `[H, W]` of the points to keep; the nearest of a pixel counts."""
    height, width = size
    inside = (points.row >= 0) & (points.row < height)
    inside &= (points.column >= 0) & (points.column < width)
    at = jnp.where(inside & keep & (points.depth > 0), points.row * width + points.column, -1)
    # Negative indices would count from the end.
    at = jnp.where(at < 0, height * width, at)
    nearest = jnp.full(height * width, jnp.inf).at[at].min(points.depth, mode="drop")
    return jnp.where(jnp.isfinite(nearest), nearest, 0.0).reshape(size)


def random_points(key: jax.Array, exact: jax.Array, density: jax.Array | float) -> jax.Array:
    """Measures a share `density` of the pixels `[H, W]`, in half of the frames with 1% noise."""
    place_key, noise_key, noisy_key = jax.random.split(key, 3)
    chosen = jax.random.uniform(place_key, exact.shape) < density
    chosen &= (exact > NEAREST) & (exact < FARTHEST)
    noise = 0.01 * jax.random.normal(noise_key, exact.shape)
    noise *= jax.random.bernoulli(noisy_key)
    return jnp.where(chosen, exact * (1.0 + noise), 0.0)


def disturb(key: jax.Array, sparse: jax.Array, patterns: Patterns) -> jax.Array:
    """Leaves out points of `[H, W]`, and gives others a wrong depth between 2 and 80 m."""
    draw_key, drop_key, wrong_key, depth_key = jax.random.split(key, 4)
    drops, share, errs, wrong_share = jax.random.uniform(draw_key, (4,))
    dropped = jax.random.uniform(drop_key, sparse.shape) < 0.6 * share
    sparse = jnp.where(dropped & (drops < patterns.dropout), 0.0, sparse)
    wrong = jax.random.uniform(wrong_key, sparse.shape) < 0.04 * wrong_share
    wrong &= (errs < patterns.wrong) & (sparse > 0)
    return jnp.where(wrong, 2.0 * 40.0 ** jax.random.uniform(depth_key, sparse.shape), sparse)
