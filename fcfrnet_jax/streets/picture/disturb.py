"""How rendered examples are varied: patterns, colours and places of their images, and mirrored."""

from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from fcfrnet_jax.geometry import Size


def clutter_gain(key: jax.Array, size: Size, strength: float) -> jax.Array:
    """Draws what an image is multiplied by so that it has edges where depth has none.

    Rendered surfaces are plainer than real ones, and a network takes every edge in them for one in
    depth. Speckle at three scales, from leaves to stains, and straight borders of shadows, in
    amounts that differ from frame to frame.

    Args:
      size: (height, width) of the image.
      strength: in [0, 1].

    Returns:
      `[height, width, 1]`, 1 on average.
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


def shift_image(image: jax.Array, shift: jax.Array) -> jax.Array:
    """Moves an image by fractions of pixels, interpolating linearly and repeating its border.

    Args:
      image: uint8 `[H, W, 3]` RGB.
      shift: `[2]` pixels, down and to the right.
    """
    row, column = jnp.mgrid[: image.shape[0], : image.shape[1]]
    sample = partial(map_coordinates, order=1, mode="nearest")
    channels = jnp.moveaxis(image.astype(jnp.float32), -1, 0)
    found = jax.vmap(sample, (0, None))(channels, [row - shift[0], column - shift[1]])
    return jnp.round(jnp.moveaxis(found, 0, -1)).astype(jnp.uint8)
