"""Arithmetic that several parts share: crops and their intrinsics, rotations, and gray values."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Size = tuple[int, int]


def crop_box(size: Size, crop: Size) -> tuple[int, int]:
    """Places the crop in an image: centred at the bottom, the part that the LiDAR measures.

    Args:
      size: (height, width) of the image in pixels.
      crop: (height, width) of the crop in pixels.

    Returns:
      (top, left) of the crop in the image.

    Raises:
      ValueError: the image is smaller than the crop.
    """
    if size[0] < crop[0] or size[1] < crop[1]:
        raise ValueError(
            f"an image of {size[0]}x{size[1]} is smaller than the crop {crop[0]}x{crop[1]}"
        )
    return crop_offsets(size, crop)


def margins(size: tuple[Any, Any], multiple: int) -> tuple[Any, Any]:
    """Returns the rows and columns that make a size (height, width) a multiple of `multiple`.

    Evaluation and prediction pad images with zeros by these margins, at the bottom and the right,
    because there the pixels keep their coordinates. The sizes may be integers or integer tensors of
    any library.
    """
    return -size[0] % multiple, -size[1] % multiple


def crop_size(size: tuple[Any, Any], crop: Size) -> tuple[Any, Any]:
    """Returns the height and width of a crop in which 0 means the whole height or width.

    The size may be integers or integer tensors of any library.
    """
    return crop[0] or size[0], crop[1] or size[1]


def crop_offsets(size: tuple[Any, Any], crop: tuple[Any, Any]) -> tuple[Any, Any]:
    """`crop_box` without checks, for integers or integer tensors of any library.

    If the horizontal margin is odd, the right one is larger by one column.
    """
    return size[0] - crop[0], (size[1] - crop[1]) // 2


def crop_intrinsics(
    intrinsics: tuple[Any, Any, Any, Any], top: Any, left: Any
) -> tuple[Any, Any, Any, Any]:
    """Returns (fx, fy, cx, cy), in pixels, of a crop whose first pixel is (top, left)."""
    fx, fy, cx, cy = intrinsics
    return fx, fy, cx - left, cy - top


def scale_intrinsics(intrinsics: jax.Array, scale: float) -> jax.Array:
    """Returns the intrinsics `[..., 4]`, (fx, fy, cx, cy) in pixels, of an image scaled by `scale`.

    The principal point is multiplied like the focal lengths, as in the losses of the
    self-supervised sparse-to-dense network (Ma et al. 2019). This ignores that pooling moves the
    pixel centres by half a pixel.
    """
    return intrinsics * scale


def luma(image: jax.Array) -> jax.Array:
    """Converts a colour image 0..255 to gray: ITU-R BT.601, rounded as in Pillow.

    Args:
      image: `[..., H, W, 3]` RGB, uint8 or float with integral values.

    Returns:
      Float32 `[..., H, W, 1]`.
    """
    weights = jnp.array([19595, 38470, 7471], jnp.int32)
    weighted = jnp.sum(image.astype(jnp.int32) * weights, axis=-1, keepdims=True)
    return ((weighted + 0x8000) >> 16).astype(jnp.float32)


def rotate(matrix: jax.Array | np.ndarray, vectors: jax.Array | Sequence[jax.Array]) -> jax.Array:
    """Multiplies a matrix `[M, 3]` with vectors `[3, ...]`; returns `[M, ...]`.

    Some platforms would round a matrix product to bfloat16 or TF32.
    """
    x, y, z = vectors
    return jnp.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])
