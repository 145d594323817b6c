"""Vectors in three dimensions, stored as separate coordinates.

Stacked coordinates would keep XLA from fusing the computation with them into one loop.
"""

import jax

Vector = tuple[jax.Array, jax.Array, jax.Array]


def turn_level(
    x: jax.Array, z: jax.Array, cos: jax.Array, sin: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Rotates the horizontal components of vectors by an angle from z towards x."""
    return cos * x + sin * z, cos * z - sin * x
