"""Where rays enter solids: upright boxes, boxes that are turned and lean, ellipsoids, cylinders.

Each function takes the numbers of one solid, the origins and directions of rays as coordinates of
broadcastable shapes, and the inverse of the directions, none of which may be 0. It returns the
distance of the entry in units of the direction, infinite without one or for an origin inside.
Coordinates stay apart: stacked, they would keep XLA from fusing a test into one loop.
"""

import jax
import jax.numpy as jnp

Vector = tuple[jax.Array, jax.Array, jax.Array]


def turn_level(
    x: jax.Array, z: jax.Array, cos: jax.Array, sin: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Turns level vectors by an angle from z towards x."""
    return cos * x + sin * z, cos * z - sin * x


def hit_upright_box(row: tuple, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    entry, leave = jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
    for low, high, o, i in zip(row[:3], row[3:6], origin, inverse, strict=True):
        one, other = (low - o) * i, (high - o) * i
        entry = jnp.maximum(entry, jnp.minimum(one, other))
        leave = jnp.minimum(leave, jnp.maximum(one, other))
    return jnp.where((entry < leave) & (entry > 0), entry, jnp.inf)


def hit_box(row: tuple, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    cx, cy, cz, hx, hy, hz, cos, sin, slope_x, slope_z = row
    px, pz = turn_level(ox - cx, oz - cz, cos, -sin)
    qx, qz = turn_level(dx, dz, cos, -sin)
    py = (oy - cy) - slope_x * px - slope_z * pz
    qy = dy - slope_x * qx - slope_z * qz
    entry, leave = jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
    for p, q, h in ((px, qx, hx), (py, qy, hy), (pz, qz, hz)):
        i = 1.0 / jnp.where(jnp.abs(q) < 1e-9, 1e-9, q)
        one, other = (-h - p) * i, (h - p) * i
        entry = jnp.maximum(entry, jnp.minimum(one, other))
        leave = jnp.minimum(leave, jnp.maximum(one, other))
    return jnp.where((entry < leave) & (entry > 0), entry, jnp.inf)


def hit_ellipsoid(row: tuple, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    cx, cy, cz, ix, iy, iz, cos, sin = row[:8]
    px, pz = turn_level(ox - cx, oz - cz, cos, -sin)
    qx, qz = turn_level(dx, dz, cos, -sin)
    px, py, pz = px * ix, (oy - cy) * iy, pz * iz
    qx, qy, qz = qx * ix, dy * iy, qz * iz
    # |d|^2 - |o x d|^2 loses far fewer digits than the textbook b^2 - a c.
    cross = (py * qz - pz * qy) ** 2 + (pz * qx - px * qz) ** 2 + (px * qy - py * qx) ** 2
    square = qx * qx + qy * qy + qz * qz
    root = jnp.sqrt(jnp.maximum(square - cross, 0.0))
    entry = (-(px * qx + py * qy + pz * qz) - root) / square
    return jnp.where((square > cross) & (entry > 0), entry, jnp.inf)


def hit_cylinder(row: tuple, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    """A round upright cylinder with a flat top and bottom."""
    (ox, oy, oz), (dx, _, dz) = origin, direction
    cx, cy, cz, radius, half = row[:5]
    px, pz = ox - cx, oz - cz
    square = dx * dx + dz * dz
    cross = px * dz - pz * dx
    rest = radius * radius * square - cross * cross
    root = jnp.sqrt(jnp.maximum(rest, 0.0))
    nearest = -(px * dx + pz * dz)
    shrink = 1.0 / square
    one, other = (cy - half - oy) * inverse[1], (cy + half - oy) * inverse[1]
    entry = jnp.maximum((nearest - root) * shrink, jnp.minimum(one, other))
    leave = jnp.minimum((nearest + root) * shrink, jnp.maximum(one, other))
    return jnp.where((rest > 0) & (entry < leave) & (entry > 0), entry, jnp.inf)
