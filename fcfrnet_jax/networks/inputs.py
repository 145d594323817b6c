"""Checks and converts the inputs of the networks."""

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import luma

# Metres. 16-bit depth PNGs hold less; much larger values overflow in the convolutions.
MAX_INPUT = 256.0


def select_channels(image: jax.Array | None, modality: str) -> jax.Array:
    """Returns the image in the form that `modality` requires, colour or gray, float32 0..255.

    A gray image becomes a colour image by repetition, and a colour image a gray one by
    `geometry.luma`.

    Raises:
      ValueError: no image, or a shape other than `[B, H, W, 3]` or `[B, H, W, 1]`.
    """
    if image is None:
        raise ValueError(f"a network of modality {modality!r} needs an image, got None")
    if image.ndim != 4 or image.shape[-1] not in (1, 3):
        raise ValueError(f"expected an image [B, H, W, 3] or [B, H, W, 1], got {image.shape}")
    if modality.startswith("rgb"):
        return jnp.broadcast_to(image, (*image.shape[:-1], 3)).astype(jnp.float32)
    return image.astype(jnp.float32) if image.shape[-1] == 1 else luma(image)


def checked_depth(depth: jax.Array | None) -> jax.Array:
    """Returns `depth` as float32, at most 256 m.

    Raises:
      ValueError: no depth map, or a shape other than `[B, H, W, 1]`.
    """
    if depth is None:
        raise ValueError("this network needs a depth map, got None")
    if depth.ndim != 4 or depth.shape[-1] != 1:
        raise ValueError(f"expected a depth map [B, H, W, 1], got {depth.shape}")
    return jnp.minimum(depth.astype(jnp.float32), MAX_INPUT)
