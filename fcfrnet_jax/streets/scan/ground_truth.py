"""Semi-dense ground truth with the habits of KITTI's, which accumulates eleven laser scans.

The true depth stays where such scans, checked against stereo, would leave some: within the
scanner's field, away from edges and glass, in lines that lie apart where things are far, and with
holes. One of the scans is the frame's own, so that ground truth equals sparse depth at most of the
pixels that have it.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.sensors.camera import Camera, Corner, window_matrix
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.streets.scan.echoes import share_returned

# Metres: the scans reach no further, and those taken further back see more of the height of what is
# near.
REACH = 82.0
SCANNED_FROM_BEHIND = 2.0
# Of the surfaces that the scans lose at a distance.
REFLECTANCE = 0.25
# Within so many pixels of an edge, at KITTI's focal length, what is behind it is mostly left out,
# since scans from elsewhere see something else there; inverse depth bends by a share of itself.
TRIM = (2, 4, 7)
BEND = 0.05
# What is left there, of the surface in front, and among leaves.
BEHIND, IN_FRONT, IN_LEAVES = 0.04, 0.5, 0.35
# Pixels between the lattice points of the noise that makes holes, at KITTI's focal length.
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
    """Returns the ground truth `[h, w]`: what the frame's own scan measured rightly, else `depth`
    where some is known, else 0.

    Args:
      key: the JAX random key.
      depth: `[h, w]` metres, the true depth of the window at `corner`; 0 = sky.
      echo: `[h, w]`, the chance that a laser shot at the pixel comes back.
      leaves: `[h, w]`, whether the pixel shows leaves.
      sparse_depth: `[h, w]` metres, the scan of this frame; 0 = missing. Mostly part of the ground
        truth where it measured what the camera sees, its noise included.
      lidar, camera: what the frame is seen by.
    """
    hole_key, chance_key, line_key = jax.random.split(key, 3)
    inverse = jnp.where(depth > 0, 1.0 / jnp.where(depth > 0, depth, 1.0), 0.0)
    density = _density(line_key, depth, lidar, camera, corner) * jnp.clip(1.4 * echo - 0.35, 0, 1)
    density *= share_returned(REFLECTANCE, _facing(inverse, camera), depth + 1e-3, lidar)
    scanned = (sparse_depth > 0) & (jnp.abs(sparse_depth - depth) < 0.03 * depth)
    left = _beside_edges(inverse, camera)
    # Among leaves there are edges everywhere, and points at both of their sides.
    left = jnp.where(leaves, jnp.maximum(left, IN_LEAVES), left)
    density = jnp.where(scanned, 0.95, density) * left
    density *= ~_holes(hole_key, depth.shape, camera)
    known = jnp.where(scanned, sparse_depth, depth)
    return jnp.where(jax.random.uniform(chance_key, depth.shape) < density, known, 0.0)


def _density(
    key: jax.Array, depth: jax.Array, lidar: Lidar, camera: Camera, corner: Corner
) -> jax.Array:
    """The share of pixels `[h, w]` that eleven scans would hit."""
    matrix = window_matrix(camera, corner)
    height, width = depth.shape
    v, u = jnp.mgrid[:height, :width]
    x = depth * (u - matrix[0, 2]) / matrix[0, 0] - lidar.position[0]
    y = depth * (v - matrix[1, 2]) / matrix[1, 1] - lidar.position[1]
    z = depth - lidar.position[2]
    turn = lidar.rotation().T
    down, forward = (row[0] * x + row[1] * y + row[2] * z for row in turn[1:])
    level = jnp.hypot(x, forward)
    top, bottom = (jnp.tan(jnp.radians(lidar.elevations[end])) for end in (0, -1))
    up = -down - lidar.heights[0]
    above = (up - top * level) / jnp.maximum(top, 0.02)
    reached = 1.0 - jnp.clip(above / SCANNED_FROM_BEHIND, 0.0, 1.0)
    reached *= up > bottom * level - 0.5
    lines = _lines(key, up / level, lidar, depth.shape)
    # Near by, the scans' lines interleave; further away they fall on one another.
    gaps = jnp.clip((depth - 10.0) / 40.0, 0.0, 0.6)
    near = jnp.clip(0.055 * depth - 0.05, 0.1, 0.65)
    fading = jnp.clip((REACH - level) / 25.0, 0.0, 1.0)
    return near * reached * (1.0 - gaps * (1.0 - lines)) * fading * (depth > 0)


def _lines(key: jax.Array, slope: jax.Array, lidar: Lidar, shape: tuple[int, ...]) -> jax.Array:
    """1 on the lines of the beams and 0 between them `[h, w]`, in waves as the car nods."""
    elevation = jnp.degrees(slope - slope**3 / 3.0)
    wave = jax.image.resize(jax.random.normal(key, (2, 4)), (1, shape[1]), "linear")
    elevations = jnp.array(lidar.elevations[::-1])
    beam = jnp.interp(elevation + 0.05 * wave, elevations, jnp.arange(len(lidar.elevations)))
    offset = jnp.abs(beam - jnp.rint(beam))
    return jnp.clip(2.0 - 6.0 * offset, 0.0, 1.0)


def _facing(inverse: jax.Array, camera: Camera) -> jax.Array:
    """The cosine `[h, w]` of the angle at which surfaces are seen, from inverse depth."""
    down = camera.fy * jnp.diff(inverse, axis=0, append=inverse[-1:])
    across = camera.fx * jnp.diff(inverse, axis=1, append=inverse[:, -1:])
    return inverse * jax.lax.rsqrt(inverse**2 + down**2 + across**2 + 1e-12)


def _beside_edges(inverse: jax.Array, camera: Camera) -> jax.Array:
    """The share of pixels `[h, w]` that is left near jumps in depth, on either side of them.

    Inverse depth is linear over a plane however it lies, so that a bend in it tells of an edge:
    upwards behind it, where a neighbour is nearer, downwards in front.
    """
    behind = jnp.zeros(inverse.shape, bool)
    in_front = jnp.zeros(inverse.shape, bool)
    for trim in TRIM:
        reach = max(1, round(trim * camera.fx / 721.5))
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
    """Whether a pixel `[h, w]` lies in a hole."""
    spacing = HOLE_SPACING * camera.fx / 721.5
    coarse = (int(shape[0] / spacing) + 2, int(shape[1] / spacing) + 2)
    smooth = jax.image.resize(jax.random.uniform(key, coarse), shape, "linear")
    return smooth < 0.14
