"""Where rays enter solids: upright boxes, boxes that are turned and lean, ellipsoids, cylinders.

Each function takes the numbers of one solid, the origins and directions of rays as coordinates of
broadcastable shapes, and the inverse of the directions, none of which may be 0. It returns the
distance of the entry in units of the direction, infinite without one or for an origin inside.
Coordinates stay apart: stacked, they would keep XLA from fusing a test into one loop.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.value_noise import hash_cell

Vector = tuple[jax.Array, jax.Array, jax.Array]

# The inner one of a crown's two shells of leaves, as a share of the outer one.
INNER_SHELL = 0.7
# Leaves and gaps fill cells of space whose axes, these rows, are not those of the street.
CELL_AXES = ((1.0, 0.37, 0.21), (-0.41, 1.0, 0.29), (-0.27, -0.33, 1.0))


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
    """An ellipsoid, or where it has gaps, its near side, an inner shell, and its far side.

    The row ends with the share of space that is gaps and how many cells of space fill a metre.
    """
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    cx, cy, cz, ix, iy, iz, cos, sin, gaps, fineness = row
    px, pz = turn_level(ox - cx, oz - cz, cos, -sin)
    qx, qz = turn_level(dx, dz, cos, -sin)
    px, py, pz = px * ix, (oy - cy) * iy, pz * iz
    qx, qy, qz = qx * ix, dy * iy, qz * iz
    # |d|^2 - |o x d|^2 loses far fewer digits than the textbook b^2 - a c.
    cross = (py * qz - pz * qy) ** 2 + (pz * qx - px * qz) ** 2 + (px * qy - py * qx) ** 2
    square = qx * qx + qy * qy + qz * qz
    nearest = -(px * qx + py * qy + pz * qz)
    shrink = 1.0 / square
    outer = square - cross
    inner = INNER_SHELL**2 * square - cross
    outer_root, inner_root = (jnp.sqrt(jnp.maximum(rest, 0.0)) for rest in (outer, inner))
    distance = jnp.float32(jnp.inf)
    # From the last to the first.
    for rest, root in ((outer, outer_root), (inner, -inner_root), (outer, -outer_root)):
        reach = (nearest + root) * shrink
        x, y, z = (fineness * (o + reach * d) for o, d in zip(origin, direction, strict=True))
        cells = (jnp.floor(a * x + b * y + c * z) for a, b, c in CELL_AXES)
        distance = jnp.where((rest > 0) & (hash_cell(*cells) >= gaps), reach, distance)
    return jnp.where((outer > 0) & (nearest > outer_root), distance, jnp.inf)


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
