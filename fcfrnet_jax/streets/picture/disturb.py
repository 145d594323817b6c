"""Random disturbances of rendered images that leave the depth maps unchanged."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.streets.blobs import blobs

# Blobs of about this many pixels show another part of the image, which is up to this share of its
# height and at least this share of its width away.
SWAP, SWAP_ROWS, SWAP_COLUMNS = 32, 0.25, 0.1


def clutter_gain(key: jax.Array, size: Size, strength: float) -> jax.Array:
    """Draws factors for an image that add edges where the depth has none.

    Rendered surfaces are smoother than real ones, so that a network would learn to take every edge
    of an image for one of the depth. The factors contain speckle at three scales and straight
    shadow borders, in amounts that vary between frames.

    Args:
      key: the JAX random key.
      size: (height, width) of the image.
      strength: in [0, 1], 0 = no disturbance.

    Returns:
      The factors `[height, width, 1]`, with a mean of 1.
    """
    noise_key, scale_key, border_key = jax.random.split(key, 3)
    gain = jnp.ones(size)
    amounts = strength * jax.random.uniform(scale_key, (3,))
    for i, spacing in enumerate((1.5, 4.0, 12.0)):
        shape = tuple(int(length / spacing) + 2 for length in size)
        grid = jax.random.uniform(jax.random.fold_in(noise_key, i), shape, minval=-1.0)
        gain *= 1.0 + amounts[i] * jax.image.resize(grid, size, "linear")
    row, column = jnp.mgrid[: size[0], : size[1]]
    for angle, place, darkness in jax.random.uniform(border_key, (6, 3)):
        across = jnp.cos(2 * jnp.pi * angle) * (column / size[1] - 0.5)
        across += jnp.sin(2 * jnp.pi * angle) * (row / size[0] - 0.5)
        gain *= jnp.where(across > place - 0.2, 1.0 - 0.6 * strength * darkness, 1.0)
    return (gain / jnp.mean(gain))[..., None]


def swap_parts(key: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Shows another part of an image in blobs.

    There the image contradicts the scan. A network that sees this does not follow the image where
    the scan measures something else.

    Args:
      key: the JAX random key.
      image: `[H, W, 3]`.
      share: the largest share of the image to replace, in [0, 1]; mostly it is much smaller.
    """
    blob_key, share_key, shift_key = jax.random.split(key, 3)
    height, width = image.shape[:2]
    rows, columns = int(SWAP_ROWS * height), int(SWAP_COLUMNS * width)
    low, high = jnp.array([-rows, columns]), jnp.array([rows, width - columns])
    shift = jax.random.randint(shift_key, (2,), low, high + 1)
    drawn = share * jax.random.uniform(share_key) ** 2
    swapped = blobs(blob_key, (height, width), SWAP, drawn)
    return jnp.where(swapped[..., None], jnp.roll(image, shift, (0, 1)), image)


def shift_image(image: jax.Array, shift: jax.Array) -> jax.Array:
    """Translates an image by fractions of pixels, with linear interpolation and repeated borders.

    Args:
      image: uint8 `[H, W, 3]` RGB.
      shift: `[2]` pixels, downwards and to the right.

    Returns:
      uint8 `[H, W, 3]`.
    """
    row, column = jnp.mgrid[: image.shape[0], : image.shape[1]]
    sample = partial(map_coordinates, order=1, mode="nearest")
    channels = jnp.moveaxis(image.astype(jnp.float32), -1, 0)
    found = jax.vmap(sample, (0, None))(channels, [row - shift[0], column - shift[1]])
    return jnp.round(jnp.moveaxis(found, 0, -1)).astype(jnp.uint8)
