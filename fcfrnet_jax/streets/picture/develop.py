"""A camera's response to light: lens blur, tone curve, noise and quantisation."""

import math

import jax
import jax.numpy as jnp

# The range of the standard deviation of the lens blur in pixels.
BLUR = (0.4, 0.75)
# The black level: light below it is black.
BLACK = 0.002
# The noise in gray levels: a constant part and one that grows with the tone, which reaches this at
# white. Frames have 0.5 to 1.5 times as much.
READ_NOISE, SHOT_NOISE = 0.8, 2.2


def develop(key: jax.Array, light: jax.Array) -> jax.Array:
    """Converts light to an image: lens blur, tone curve, signal-dependent noise, rounding.

    Args:
      key: the JAX random key of the frame, for the strength of the blur and for the noise.
      light: `[3, h, w]` linear RGB, where 1 is white and more is clipped. Must not be NaN.

    Returns:
      The image, uint8 `[h, w, 3]` RGB.
    """
    strength_key, noise_key = jax.random.split(key)
    blur, gain = jax.random.uniform(strength_key, (2,))
    # Overexposed light still blurs into its neighbours, up to a limit.
    blurred = _blur(jnp.clip(light, 0.0, 2.0), BLUR[0] + (BLUR[1] - BLUR[0]) * blur)
    exposed = jnp.clip((blurred - BLACK) / (1.0 - BLACK), 0.0, 1.0)
    # The tone curve is a gamma of 2.
    tone = jnp.sqrt(exposed)
    noise = (0.5 + gain) * (READ_NOISE + SHOT_NOISE * tone) * _normal(noise_key, light.shape)
    image = jnp.rint(jnp.clip(255.0 * tone + noise, 0.0, 255.0)).astype(jnp.uint8)
    return jnp.moveaxis(image, 0, -1)


def _blur(light: jax.Array, deviation: jax.Array) -> jax.Array:
    """A separable Gaussian of up to 0.8 pixels, truncated to three taps; edges are repeated."""
    side = jnp.exp(-0.5 / deviation**2)
    side /= 1.0 + 2.0 * side
    padded = jnp.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, 1:-1] + side * (padded[:, :-2] - 2.0 * padded[:, 1:-1] + padded[:, 2:])
    return rows[..., 1:-1] + side * (rows[..., :-2] - 2.0 * rows[..., 1:-1] + rows[..., 2:])


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draws approximately normal numbers, as sums of four random bytes.

    JAX's generator only gives the seed: drawing all numbers from it would take longer than the rest
    of `develop`.
    """
    seed, step = jax.random.bits(key, (2,), jnp.uint32)
    count = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    words = count * jnp.uint32(0x9E3779B9) + seed
    # The mixing steps of MurmurHash3's finaliser.
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13) ^ step) * jnp.uint32(0xC2B2AE35)
    words = words ^ (words >> 16)
    total = jnp.zeros(shape, jnp.int32)
    for shift in (0, 8, 16, 24):
        total += ((words >> shift) & 255).astype(jnp.int32)
    # Four uniform bytes have a mean of 510 and a variance of 4 (256^2 - 1) / 12.
    return (total.astype(jnp.float32) - 510.0) / 147.8
