"""Vectors in three dimensions, stored as separate coordinates.

Stacked coordinates would keep XLA from fusing the computation with them into one loop.
"""

import jax
import jax.numpy as jnp
import numpy as np

Vector = tuple[jax.Array, jax.Array, jax.Array]


def rotate(matrix: jax.Array | np.ndarray, vectors: jax.Array | Vector) -> jax.Array:
    """Multiplies a matrix `[M, 3]` with vectors `[3, N]`; returns `[M, N]`.

    Some platforms would round a matrix product to bfloat16 or TF32.
    """
    x, y, z = vectors
    return jnp.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])


def turn_level(
    x: jax.Array, z: jax.Array, cos: jax.Array, sin: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Rotates the horizontal components of vectors by an angle from z towards x."""
    return cos * x + sin * z, cos * z - sin * x
