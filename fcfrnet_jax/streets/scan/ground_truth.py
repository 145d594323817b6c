"""Semi-dense ground truth like KITTI's, which accumulates eleven laser scans.

KITTI's scans are filtered by a comparison with stereo. The true depth is kept where such scans
would have points: inside the scanner's field of view, away from edges and glass, along scan lines
that are further apart at a distance, and with holes. One of the eleven scans is that of the frame
itself, so the ground truth equals the sparse depth at most of the pixels that have both.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import rotate
from fcfrnet_jax.sensors.camera import Camera, Corner, window_matrix
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.streets.scan.echoes import share_returned

# The maximum range of the scans in metres.
REACH = 82.0
# In metres. Scans taken from further back see this much more above the top beam.
SCANNED_FROM_BEHIND = 2.0
# The reflectance of surfaces, for the loss of points with distance.
REFLECTANCE = 0.25
# Numbers of pixels below hold at this focal length.
FOCAL = 721.5
# Most points behind an edge are removed within these numbers of pixels, because scans from other
# positions see something else there. At an edge, inverse depth bends by more than BEND of itself.
TRIM = (2, 4, 7)
BEND = 0.05
# The shares of points that are kept behind an edge, in front of it, and among leaves.
BEHIND, IN_FRONT, IN_LEAVES = 0.04, 0.5, 0.35
# The spacing in pixels of the noise that makes holes.
HOLE_SPACING = 14.0


def keep_ground_truth(
    key: jax.Array,
    depth: jax.Array,
    echo: jax.Array,
    leaves: jax.Array,
    sparse_depth: jax.Array,
    lidar: Lidar,
    camera: Camera,
    corner: Corner,
) -> jax.Array:
    """Returns the ground truth `[h, w]` in metres, 0 = missing.

    Where the frame's own scan agrees with the true depth, the ground truth is mostly the scan,
    including its noise. Elsewhere it is the true depth at the pixels that other scans would hit.

    Args:
      key: the JAX random key.
      depth: `[h, w]` metres, the true depth of a window, 0 = sky.
      echo: `[h, w]`, the probability that a laser shot at the pixel has an echo.
      leaves: bool `[h, w]`, whether the pixel shows leaves.
      sparse_depth: `[h, w]` metres, the frame's own scan, 0 = missing.
      lidar: the scanner.
      camera: the camera.
      corner: (top, left) of the window in the camera's image.
    """
    hole_key, chance_key, line_key = jax.random.split(key, 3)
    inverse = jnp.where(depth > 0, 1.0 / jnp.where(depth > 0, depth, 1.0), 0.0)
    density = _density(line_key, depth, lidar, camera, corner) * jnp.clip(1.4 * echo - 0.35, 0, 1)
    density *= share_returned(REFLECTANCE, _facing(inverse, camera), depth + 1e-3, lidar)
    scanned = (sparse_depth > 0) & (jnp.abs(sparse_depth - depth) < 0.03 * depth)
    left = _beside_edges(inverse, camera)
    # Leaves have edges everywhere, with points on both sides.
    left = jnp.where(leaves, jnp.maximum(left, IN_LEAVES), left)
    density = jnp.where(scanned, 0.95, density) * left
    density *= ~_holes(hole_key, depth.shape, camera)
    known = jnp.where(scanned, sparse_depth, depth)
    return jnp.where(jax.random.uniform(chance_key, depth.shape) < density, known, 0.0)


def _density(
    key: jax.Array, depth: jax.Array, lidar: Lidar, camera: Camera, corner: Corner
) -> jax.Array:
    """Returns the share of pixels `[h, w]` that eleven scans would hit."""
    matrix = window_matrix(camera, corner)
    height, width = depth.shape
    v, u = jnp.mgrid[:height, :width]
    x = depth * (u - matrix[0, 2]) / matrix[0, 0] - lidar.position[0]
    y = depth * (v - matrix[1, 2]) / matrix[1, 1] - lidar.position[1]
    z = depth - lidar.position[2]
    down, forward = rotate(lidar.rotation().T[1:], (x, y, z))
    level = jnp.hypot(x, forward)
    top, bottom = (jnp.tan(jnp.radians(lidar.elevations[end])) for end in (0, -1))
    up = -down - lidar.heights[0]
    above = (up - top * level) / jnp.maximum(top, 0.02)
    reached = 1.0 - jnp.clip(above / SCANNED_FROM_BEHIND, 0.0, 1.0)
    reached *= up > bottom * level - 0.5
    lines = _lines(key, up / level, lidar, depth.shape)
    # Nearby, the lines of the scans interleave. At a distance they coincide and leave gaps.
    gaps = jnp.clip((depth - 10.0) / 40.0, 0.0, 0.6)
    near = jnp.clip(0.055 * depth - 0.05, 0.1, 0.65)
    fading = jnp.clip((REACH - level) / 25.0, 0.0, 1.0)
    return near * reached * (1.0 - gaps * (1.0 - lines)) * fading * (depth > 0)


def _lines(key: jax.Array, slope: jax.Array, lidar: Lidar, shape: tuple[int, ...]) -> jax.Array:
    """Returns 1 on scan lines and 0 between them, `[h, w]`. The pitching of the car bends them."""
    elevation = jnp.degrees(slope - slope**3 / 3.0)
    wave = jax.image.resize(jax.random.normal(key, (2, 4)), (1, shape[1]), "linear")
    elevations = jnp.array(lidar.elevations[::-1])
    beam = jnp.interp(elevation + 0.05 * wave, elevations, jnp.arange(len(lidar.elevations)))
    offset = jnp.abs(beam - jnp.rint(beam))
    return jnp.clip(2.0 - 6.0 * offset, 0.0, 1.0)


def _facing(inverse: jax.Array, camera: Camera) -> jax.Array:
    """Computes the cosine of the viewing angle of surfaces `[h, w]` from inverse depth."""
    down = camera.fy * jnp.diff(inverse, axis=0, append=inverse[-1:])
    across = camera.fx * jnp.diff(inverse, axis=1, append=inverse[:, -1:])
    return inverse * jax.lax.rsqrt(inverse**2 + down**2 + across**2 + 1e-12)


def _beside_edges(inverse: jax.Array, camera: Camera) -> jax.Array:
    """Returns the share of points `[h, w]` that is kept near depth discontinuities.

    The inverse depth of any plane is linear in the image, so a bend indicates an edge: it is
    positive behind the edge, where a neighbour is nearer, and negative in front of it.
    """
    behind = jnp.zeros(inverse.shape, bool)
    in_front = jnp.zeros(inverse.shape, bool)
    for trim in TRIM:
        reach = max(1, round(trim * camera.fx / FOCAL))
        padded = jnp.pad(inverse, reach, mode="edge")
        rows, columns = padded[:, reach:-reach], padded[reach:-reach]
        end = 2 * reach
        for one, other in (
            (rows[:-end], rows[end:]),
            (columns[:, :-end], columns[:, end:]),
        ):
            bend = one + other - 2.0 * inverse
            behind |= bend > BEND * inverse
            if trim == TRIM[0]:
                in_front |= bend < -BEND * inverse
    return jnp.where(behind, BEHIND, jnp.where(in_front, IN_FRONT, 1.0))


def _holes(key: jax.Array, shape: tuple[int, ...], camera: Camera) -> jax.Array:
    """Draws which pixels `[h, w]` are in a hole."""
    spacing = HOLE_SPACING * camera.fx / FOCAL
    coarse = (int(shape[0] / spacing) + 2, int(shape[1] / spacing) + 2)
    smooth = jax.image.resize(jax.random.uniform(key, coarse), shape, "linear")
    return smooth < 0.14
