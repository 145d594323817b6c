"""Intersection of rays with upright boxes, rotated and sheared boxes, ellipsoids and cylinders.

Each function takes the parameters of one solid, the origins and directions of rays as coordinates
of broadcastable shapes, and the inverse of the directions. No coordinate of a direction may be 0.
It returns the distance to the point of entry in units of the direction's length, which is infinite
if the ray misses the solid or starts inside it.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.value_noise import hash_cell
from fcfrnet_jax.streets.vectors import Vector, turn_level

# The parameters of one solid.
Row = tuple[jax.Array, ...]

# The crown of a tree has two shells of leaves; the radius of the inner one as a share of the outer.
INNER_SHELL = 0.7
# Space is divided into cells that hold either leaves or a gap. These rows are the cells' axes,
# oblique to the street.
CELL_AXES = ((1.0, 0.37, 0.21), (-0.41, 1.0, 0.29), (-0.27, -0.33, 1.0))


def hit_upright_box(row: Row, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    """An axis-aligned box, given by its lowest and its highest coordinates."""
    axes = zip(row[:3], row[3:6], origin, inverse, strict=True)
    return _entry(((low - o) * i, (high - o) * i) for low, high, o, i in axes)


def hit_box(row: Row, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    """A box rotated about the vertical axis and sheared along it.

    The parameters are the centre, the half extents, the cosine and sine of the yaw, and the slopes.
    """
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    cx, cy, cz, hx, hy, hz, cos, sin, slope_x, slope_z = row
    px, pz = turn_level(ox - cx, oz - cz, cos, -sin)
    qx, qz = turn_level(dx, dz, cos, -sin)
    py = (oy - cy) - slope_x * px - slope_z * pz
    qy = dy - slope_x * qx - slope_z * qz
    spans = []
    for p, q, h in ((px, qx, hx), (py, qy, hy), (pz, qz, hz)):
        i = 1.0 / jnp.where(jnp.abs(q) < 1e-9, 1e-9, q)
        spans.append(((-h - p) * i, (h - p) * i))
    return _entry(spans)


def hit_ellipsoid(row: Row, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    """An ellipsoid rotated about the vertical axis, which may have gaps.

    Through the gaps of its near side a ray may hit an inner shell or the far side. The parameters
    are the centre, the inverse half extents, the cosine and sine of the yaw, the share of space
    that is gaps, and the number of cells per metre.
    """
    (ox, oy, oz), (dx, dy, dz) = origin, direction
    cx, cy, cz, ix, iy, iz, cos, sin, gaps, fineness = row
    px, pz = turn_level(ox - cx, oz - cz, cos, -sin)
    qx, qz = turn_level(dx, dz, cos, -sin)
    px, py, pz = px * ix, (oy - cy) * iy, pz * iz
    qx, qy, qz = qx * ix, dy * iy, qz * iz
    # |d|^2 - |o x d|^2 is numerically more accurate than the usual b^2 - a c.
    cross = (py * qz - pz * qy) ** 2 + (pz * qx - px * qz) ** 2 + (px * qy - py * qx) ** 2
    square = qx * qx + qy * qy + qz * qz
    nearest = -(px * qx + py * qy + pz * qz)
    shrink = 1.0 / square
    outer = square - cross
    inner = INNER_SHELL**2 * square - cross
    outer_root, inner_root = (jnp.sqrt(jnp.maximum(rest, 0.0)) for rest in (outer, inner))
    distance = jnp.float32(jnp.inf)
    # From the farthest to the nearest, so that the nearest overwrites the others.
    for rest, root in ((outer, outer_root), (inner, -inner_root), (outer, -outer_root)):
        reach = (nearest + root) * shrink
        x, y, z = (fineness * (o + reach * d) for o, d in zip(origin, direction, strict=True))
        cells = (jnp.floor(a * x + b * y + c * z) for a, b, c in CELL_AXES)
        distance = jnp.where((rest > 0) & (hash_cell(*cells) >= gaps), reach, distance)
    return jnp.where((outer > 0) & (nearest > outer_root), distance, jnp.inf)


def hit_cylinder(row: Row, origin: Vector, direction: Vector, inverse: Vector) -> jax.Array:
    """An upright circular cylinder with caps, given by centre, radius and half height."""
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


def _entry(spans: Iterable[tuple[jax.Array, jax.Array]]) -> jax.Array:
    """Where a ray enters the box between pairs of planes that it crosses at these distances."""
    entry, leave = jnp.float32(-jnp.inf), jnp.float32(jnp.inf)
    for one, other in spans:
        entry = jnp.maximum(entry, jnp.minimum(one, other))
        leave = jnp.minimum(leave, jnp.maximum(one, other))
    return jnp.where((entry < leave) & (entry > 0), entry, jnp.inf)
