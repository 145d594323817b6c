"""Random blobs: the regions of a frame that a disturbance changes."""

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import Size


def blobs(key: jax.Array, size: Size, spacing: int, share: jax.Array | float) -> jax.Array:
    """Draws blobs with smooth outlines.

    Args:
      key: the JAX random key.
      size: (height, width) of the frame.
      spacing: their typical size in pixels.
      share: the share of the frame that they cover, in [0, 1].

    Returns:
      bool `[height, width]`, True inside of blobs.
    """
    noise = jax.random.normal(key, [-(-length // spacing) + 1 for length in size])
    noise = jax.image.resize(noise, size, "linear")
    return noise > jnp.quantile(noise, 1.0 - share)
