"""Rays, and the first solid of a street that each of them hits."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from fcfrnet_jax.data.street import Street

Vector = tuple[jax.Array, jax.Array, jax.Array]


def camera_rays(height: int, width: int, intrinsics: jax.Array, heading: jax.Array) -> jax.Array:
    """Returns world ray directions `[3, height * width]`, of length 1 along the optical axis.

    Args:
      height, width: of the picture in pixels, whose rows follow one another in the result.
      intrinsics: `[3, 3]` in pixels, the centre of the first pixel at (0, 0).
      heading: the camera's yaw in radians.
    """
    v, u = jnp.mgrid[:height, :width]
    x = (u.ravel() - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v.ravel() - intrinsics[1, 2]) / intrinsics[1, 1]
    return turn(jnp.stack([x, y, jnp.ones_like(x)]), heading)


def turn(vectors: jax.Array, yaw: jax.Array) -> jax.Array:
    """Turns `[3, R]` vectors by `yaw`, radians, about the vertical, from z towards x."""
    x, y, z = vectors
    turned_x, turned_z = _turn_level(x, z, yaw)
    return jnp.stack([turned_x, jnp.broadcast_to(y, turned_x.shape), turned_z])


def _turn_level(x: jax.Array, z: jax.Array, yaw: jax.Array) -> tuple[jax.Array, jax.Array]:
    cos, sin = jnp.cos(yaw), jnp.sin(yaw)
    return cos * x + sin * z, cos * z - sin * x


def trace(street: Street, origins: jax.Array, directions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds the first solid on each ray.

    Args:
      origins: `[3, R]` or `[3, 1]`, in the world, outside every solid.
      directions: `[3, R]`, of any length.

    Returns:
      The distance `[R]` in units of the direction's length, infinite where the ray hits nothing,
      and the index `[R]` of the solid in the order boxes, ellipsoids, cylinders.
    """
    (ox, oy, oz), (dx, dy, dz) = origins, directions
    best = (jnp.full(dx.shape, jnp.inf), jnp.zeros(dx.shape, jnp.int32))
    first = 0
    for hit, solids in (
        (_hit_box, street.boxes),
        (_hit_ellipsoid, street.ellipsoids),
        (_hit_cylinder, street.cylinders),
    ):
        count = solids.yaw.shape[0]

        def nearer(best: tuple, item: tuple, hit: Callable = hit) -> tuple[tuple, None]:
            index, ((cx, cy, cz), (hx, hy, hz), yaw, _, _) = item
            px, pz = _turn_level(ox - cx, oz - cz, -yaw)
            qx, qz = _turn_level(dx, dz, -yaw)
            # Coordinates stay apart: stacked, they would keep XLA from fusing the test.
            distance = hit((px / hx, (oy - cy) / hy, pz / hz), (qx / hx, dy / hy, qz / hz))
            closer = distance < best[0]
            return (jnp.where(closer, distance, best[0]), jnp.where(closer, index, best[1])), None

        best, _ = jax.lax.scan(nearer, best, (jnp.arange(first, first + count), solids))
        first += count
    return best


# The three tests below see a solid scaled to half extents of 1 and return the entry, or infinity.


def _hit_box(origin: Vector, direction: Vector) -> jax.Array:
    entry, leave = jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
    for o, d in zip(origin, direction, strict=True):
        inverse = 1.0 / jnp.where(jnp.abs(d) < 1e-9, 1e-9, d)
        entry = jnp.maximum(entry, -o * inverse - jnp.abs(inverse))
        leave = jnp.minimum(leave, -o * inverse + jnp.abs(inverse))
    return jnp.where((entry < leave) & (entry > 0), entry, jnp.inf)


def _hit_ellipsoid(origin: Vector, direction: Vector) -> jax.Array:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    # |d|^2 - |o x d|^2 loses far fewer digits than the textbook b^2 - a c.
    cross = (oy * dz - oz * dy) ** 2 + (oz * dx - ox * dz) ** 2 + (ox * dy - oy * dx) ** 2
    square = dx * dx + dy * dy + dz * dz
    root = jnp.sqrt(jnp.maximum(square - cross, 0.0))
    entry = (-(ox * dx + oy * dy + oz * dz) - root) / square
    return jnp.where((square > cross) & (entry > 0), entry, jnp.inf)


def _hit_cylinder(origin: Vector, direction: Vector) -> jax.Array:
    """An open upright tube, seen from outside and from below its top."""
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    square = dx * dx + dz * dz
    cross = (ox * dz - oz * dx) ** 2
    entry = (-(ox * dx + oz * dz) - jnp.sqrt(jnp.maximum(square - cross, 0.0))) / square
    hit = (square > cross) & (entry > 0) & (jnp.abs(oy + entry * dy) < 1)
    return jnp.where(hit, entry, jnp.inf)
