"""Recovers which beam of a spinning scanner measured each pixel of sparse depth."""

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.geometry import rotate
from fcfrnet_jax.sensors.lidar import Lidar


def lidar_beam(depth: jax.Array, intrinsics: jax.Array, lidar: Lidar) -> jax.Array:
    """Finds the beam that measured each pixel of sparse depth from the elevation of its point.

    Depth maps do not store the beam. The elevations of a real scanner differ from the model's by
    fractions of the spacing, so in real frames a recovered beam can change from one true beam to
    the next across the image. It is still a band as narrow as a beam.

    Args:
      depth: `[H, W, 1]` metres; the result is undefined where it is 0.
      intrinsics: `[4]` (fx, fy, cx, cy) in pixels.
      lidar: the scanner.

    Returns:
      int32 `[H, W, 1]`, the beam, 0 = the highest.
    """
    row, column = jnp.indices(depth.shape[:2])
    fx, fy, cx, cy = intrinsics
    point = jnp.stack([(column - cx) / fx, (row - cy) / fy, jnp.ones_like(row)])
    offset = np.array(lidar.position, np.float32)[:, None, None]
    # To the scanner's frame.
    x, y, z = rotate(lidar.rotation().T.astype(np.float32), point * depth[..., 0] - offset)
    away, beam = jnp.hypot(x, z), jnp.zeros(depth.shape[:2], jnp.int32)
    tangents = np.tan(np.radians(np.convolve(lidar.elevations, (0.5, 0.5), "valid")))
    heights = np.convolve(lidar.heights, (0.5, 0.5), "valid")
    # Counts the borders between neighbouring beams above the point.
    for tangent, height in zip(tangents.tolist(), heights.tolist(), strict=True):
        beam += -y - height < tangent * away
    return beam[..., None]
