"""Constant colours, and blending of colours."""

import jax
import jax.numpy as jnp


def tint(red: float, green: float, blue: float) -> jax.Array:
    """Returns a colour, linear RGB, as `[3, 1]`."""
    return jnp.array([[red], [green], [blue]])


def blend(one: jax.Array, other: jax.Array | float, share: jax.Array) -> jax.Array:
    """Interpolates linearly from `one` (`share` 0) to `other` (`share` 1)."""
    return one + (other - one) * share
