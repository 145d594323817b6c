"""Which beam of a spinning scanner measured a pixel of sparse depth."""

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.sensors.lidar import Lidar


def lidar_beam(depth: jax.Array, intrinsics: jax.Array, lidar: Lidar) -> jax.Array:
    """Finds the beam, 0 = the highest, that measured each pixel of sparse depth, by its elevation.

    A depth map does not store the beam. The elevations of a real scanner differ from the model's by
    fractions of a step, so on real frames a beam found here is a band as narrow as a beam that may
    pass from one true beam to the next across the image.

    Args:
      depth: `[H, W, 1]` metres; the result means nothing where it is 0.
      intrinsics: `[4]` (fx, fy, cx, cy) in pixels.
      lidar: the scanner.

    Returns:
      int32 `[H, W, 1]`.
    """
    row, column = jnp.indices(depth.shape[:2])
    fx, fy, cx, cy = intrinsics
    point = jnp.stack([(column - cx) / fx, (row - cy) / fy, jnp.ones_like(row)])
    offset = np.array(lidar.position, np.float32)[:, None, None]
    # In the scanner's frame. Written out, as a matrix product might be rounded to bfloat16.
    x, y, z = (
        sum(row[i] * leg for i, leg in enumerate(point * depth[..., 0] - offset))
        for row in lidar.rotation().T.astype(np.float32)
    )
    away, beam = jnp.hypot(x, z), jnp.zeros(depth.shape[:2], jnp.int32)
    tangents = np.tan(np.radians(np.convolve(lidar.elevations, (0.5, 0.5), "valid")))
    heights = np.convolve(lidar.heights, (0.5, 0.5), "valid")
    # Counts the borders between neighbouring beams that the point lies below.
    for tangent, height in zip(tangents.tolist(), heights.tolist(), strict=True):
        beam += -y - height < tangent * away
    return beam[..., None]
