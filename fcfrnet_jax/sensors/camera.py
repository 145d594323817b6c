"""Pinhole cameras, and windows of their pictures.

A window is the part of a picture whose first pixel is at `corner`, (top, left), which may be
traced; its size, (height, width), is static.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.geometry import Size, crop_intrinsics

Corner = tuple[Any, Any]


@dataclass(frozen=True)
class Camera:
    """A picture's size and its calibration in pixels, the centre of the first pixel at (0, 0).

    The default is KITTI's left colour camera. A ValueError tells of a size below 1, a focal length
    that is not positive, or a principal point that is not finite.
    """

    height: int = 375
    width: int = 1242
    fx: float = 721.5377
    fy: float = 721.5377
    cx: float = 609.5593
    cy: float = 172.854

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            raise ValueError(
                f"a picture needs at least 1x1 pixels, got height {self.height}, width {self.width}"
            )
        if not (0 < self.fx < math.inf and 0 < self.fy < math.inf):
            raise ValueError(
                f"focal lengths should be positive and finite, got fx {self.fx}, fy {self.fy}"
            )
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise ValueError(f"the principal point should be finite, got ({self.cx}, {self.cy})")

    @property
    def intrinsics(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy)."""
        return self.fx, self.fy, self.cx, self.cy

    def scaled(self, height: int, width: int) -> "Camera":
        """Returns the camera with the same view in a picture of another size."""
        across, down = width / self.width, height / self.height
        # Scaling moves the outer border of the first pixel, half a pixel from its centre.
        cx, cy = across * (self.cx + 0.5) - 0.5, down * (self.cy + 0.5) - 0.5
        return Camera(height, width, across * self.fx, down * self.fy, cx, cy)

    def matrix(self) -> np.ndarray:
        """The calibration matrix, float64 `[3, 3]`."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


KITTI = Camera()


def check_window(camera: Camera, window: Size | None) -> Size:
    """Returns the window's size, that of the whole picture for None.

    Raises:
      ValueError: the window is empty or larger than the picture.
    """
    height, width = window or (camera.height, camera.width)
    if not (1 <= height <= camera.height and 1 <= width <= camera.width):
        raise ValueError(
            f"a window of {height}x{width} pixels does not fit into a picture of "
            f"{camera.height}x{camera.width}; make it smaller, or scale the camera"
        )
    return height, width


def window_matrix(camera: Camera, corner: Corner) -> jax.Array:
    """The calibration matrix `[3, 3]` of the window at `corner`."""
    fx, fy, cx, cy = crop_intrinsics(camera.intrinsics, *corner)
    rows = ((fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0))
    return jnp.stack([jnp.stack([jnp.float32(value) for value in row]) for row in rows])


def project(
    points: jax.Array, camera: Camera, window: Size, corner: Corner
) -> tuple[jax.Array, jax.Array]:
    """Finds the pixels of points, rounding to the nearest as KITTI's tools do.

    Args:
      points: `[3, N]` in the camera's frame; infinite or NaN = none.

    Returns:
      Each point's pixel `[N]`, `v * width + u` in the window or past the end where the window does
      not show it, and its depth `[N]` in metres.
    """
    height, width = window
    matrix = window_matrix(camera, corner)
    x, y, z = points
    u = jnp.rint(matrix[0, 0] * x / z + matrix[0, 2])
    v = jnp.rint(matrix[1, 1] * y / z + matrix[1, 2])
    # What is not a number fails these comparisons.
    seen = (z > 0.1) & (z < jnp.inf) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return jnp.where(seen, v * width + u, height * width).astype(jnp.int32), z
