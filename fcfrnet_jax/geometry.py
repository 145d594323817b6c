"""The benchmark's crop, and the calibration of cropped and scaled images."""

from typing import Any

import jax

Size = tuple[int, int]


def crop_box(size: Size, crop: Size) -> tuple[int, int]:
    """Places the benchmark's crop in an image: at the bottom, centred, where the LiDAR measures.

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


def crop_offsets(size: tuple[Any, Any], crop: tuple[Any, Any]) -> tuple[Any, Any]:
    """The arithmetic of `crop_box`, unchecked, on integers or on integer tensors of any library.

    An odd margin leaves its extra column at the right.
    """
    return size[0] - crop[0], (size[1] - crop[1]) // 2


def crop_intrinsics(
    intrinsics: tuple[Any, Any, Any, Any], top: Any, left: Any
) -> tuple[Any, Any, Any, Any]:
    """Shifts (fx, fy, cx, cy), pixels, into a crop whose first pixel is (top, left)."""
    fx, fy, cx, cy = intrinsics
    return fx, fy, cx - left, cy - top


def scale_intrinsics(intrinsics: jax.Array, scale: float) -> jax.Array:
    """The calibration `[..., 4]` (fx, fy, cx, cy), pixels, of an image resized by `scale`.

    The principal point is multiplied like the focal lengths, as in the self-supervised
    sparse-to-dense network's losses (Ma et al. 2019), although pooling moves the centres of pixels
    by half a pixel.
    """
    return intrinsics * scale
