"""Strong variation of images, for models that are trained on rendered and used on real images.

All functions are pure, can be compiled and mapped, and process one image, float32 `[H, W, 3]` with
values 0..255.
"""

import jax
import jax.numpy as jnp

# The probabilities of a uniform image, blur, uneven light and a gray image.
BLANK, BLURRED, UNEVEN, GRAY = 0.02, 0.3, 0.5, 0.1
# The standard deviations of the logarithms of the image's gain, each channel's gain, the light over
# the image, the contrast and gamma.
GAIN, CHANNEL, LIGHT, CONTRAST, GAMMA = 0.35, 0.15, 0.35, 0.2, 0.3


def vary(key: jax.Array, image: jax.Array) -> jax.Array:
    """Changes blur, light, colours, contrast and noise of an image.

    Args:
      key: the JAX random key.
      image: `[H, W, 3]`, 0..255.

    Returns:
      The image, rounded to whole numbers. With the probability `BLANK` it is uniform, so that
      networks also learn to work without an image.
    """
    keys = jax.random.split(key, 8)
    chances = jax.random.uniform(keys[0], (4,))
    sigma = jax.random.uniform(keys[1], minval=0.3, maxval=1.5)
    x = jnp.where(chances[0] < BLURRED, blur(image, sigma), image)
    normals = jax.random.normal(keys[2], (6,))
    gain = jnp.exp(GAIN * normals[0] + CHANNEL * normals[1:4])
    light = LIGHT * jax.random.normal(keys[3], (4, 7, 1))
    light = jax.image.resize(light, (*image.shape[:2], 1), "cubic")
    x *= gain * jnp.exp(jnp.where(chances[1] < UNEVEN, light, 0.0))
    gamma = jnp.exp(GAMMA * normals[4])
    x = 255.0 * jnp.clip(x / 255.0, 1e-4, 1.0) ** gamma
    saturation = jax.random.uniform(keys[4], maxval=1.4)
    saturation = jnp.where(chances[2] < GRAY, 0.0, saturation)
    x = _stretched(x, jnp.mean(x, axis=-1, keepdims=True), saturation)
    x = _stretched(x, jnp.mean(x), jnp.exp(CONTRAST * normals[5]))
    noise = jax.random.uniform(keys[5], maxval=6.0) * jax.random.normal(keys[6], x.shape)
    level = jax.random.uniform(keys[7], maxval=255.0)
    x = jnp.where(chances[3] < BLANK, level, x + noise)
    return jnp.round(jnp.clip(x, 0.0, 255.0))


def blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    """Blurs with a Gaussian of `sigma` up to 1.5 pixels, cut at 3 pixels; borders are repeated."""
    offsets = range(-3, 4)
    weights = [jnp.exp(-0.5 * (offset / sigma) ** 2) for offset in offsets]
    total = sum(weights[1:], start=weights[0])
    for axis in (0, 1):
        margins = [(3, 3) if i == axis else (0, 0) for i in range(3)]
        padded = jnp.pad(image, margins, "edge")
        size = image.shape[axis]
        parts = [
            weight / total * jax.lax.slice_in_dim(padded, 3 + offset, 3 + offset + size, axis=axis)
            for weight, offset in zip(weights, offsets, strict=True)
        ]
        image = sum(parts[1:], start=parts[0])
    return image


def _stretched(x: jax.Array, centre: jax.Array, factor: jax.Array) -> jax.Array:
    return centre + factor * (x - centre)
