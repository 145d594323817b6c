"""Pinhole cameras, and windows of their images.

A window is a rectangular part of an image. Its size, (height, width), is static. Its first pixel is
at `corner`, (top, left), which may be a traced value.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.geometry import Size, crop_intrinsics

# (top, left) of a window in pixels.
Corner = tuple[int | jax.Array, int | jax.Array]


@dataclass(frozen=True)
class Camera:
    """The size of an image and its intrinsics in pixels; (0, 0) is the centre of the first pixel.

    The defaults are those of KITTI's left colour camera.

    Raises:
      ValueError: a size below 1, a focal length that is not positive and finite, or a principal
        point that is not finite.
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
                f"an image needs at least 1x1 pixels, got height {self.height}, width {self.width}"
            )
        if not (0 < self.fx < math.inf and 0 < self.fy < math.inf):
            raise ValueError(
                f"focal lengths must be positive and finite, got fx {self.fx}, fy {self.fy}"
            )
        if not (math.isfinite(self.cx) and math.isfinite(self.cy)):
            raise ValueError(f"the principal point must be finite, got ({self.cx}, {self.cy})")

    @property
    def intrinsics(self) -> tuple[float, float, float, float]:
        """(fx, fy, cx, cy)."""
        return self.fx, self.fy, self.cx, self.cy

    def scaled(self, height: int, width: int) -> "Camera":
        """Returns the camera with the same field of view for images of another size."""
        across, down = width / self.width, height / self.height
        # The outer border of the image stays at -0.5, half a pixel from the first pixel's centre.
        cx, cy = across * (self.cx + 0.5) - 0.5, down * (self.cy + 0.5) - 0.5
        return Camera(height, width, across * self.fx, down * self.fy, cx, cy)

    def matrix(self) -> np.ndarray:
        """The intrinsic matrix, float64 `[3, 3]`."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


KITTI = Camera()


def check_window(camera: Camera, window: Size | None) -> Size:
    """Returns the size of the window, which for None is that of the whole image.

    Raises:
      ValueError: the window is empty or larger than the image.
    """
    height, width = window or (camera.height, camera.width)
    if not (1 <= height <= camera.height and 1 <= width <= camera.width):
        raise ValueError(
            f"a window of {height}x{width} pixels does not fit into an image of "
            f"{camera.height}x{camera.width}; make it smaller, or scale the camera"
        )
    return height, width


def window_matrix(camera: Camera, corner: Corner) -> jax.Array:
    """Returns the intrinsic matrix, float32 `[3, 3]`, of the window at `corner`."""
    fx, fy, cx, cy = crop_intrinsics(camera.intrinsics, *corner)
    rows = ((fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0))
    return jnp.stack([jnp.stack([jnp.float32(value) for value in row]) for row in rows])


def project(
    points: jax.Array, camera: Camera, window: Size, corner: Corner
) -> tuple[jax.Array, jax.Array]:
    """Projects points to pixels of a window, rounded to the nearest as in KITTI's tools.

    Args:
      points: `[3, N]` metres in the camera's frame; infinite or NaN = missing.
      camera: the camera.
      window: (height, width) of the window.
      corner: (top, left) of the window in the image.

    Returns:
      The pixel of each point, int32 `[N]`: the index `v * width + u` in the window, or
      `height * width` for points outside it and points with a depth of at most 0.1 m. And the
      depth of all points, `[N]` in metres.
    """
    height, width = window
    matrix = window_matrix(camera, corner)
    x, y, z = points
    u = jnp.rint(matrix[0, 0] * x / z + matrix[0, 2])
    v = jnp.rint(matrix[1, 1] * y / z + matrix[1, 2])
    # NaN fails these comparisons.
    seen = (z > 0.1) & (z < jnp.inf) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return jnp.where(seen, v * width + u, height * width).astype(jnp.int32), z
