"""The surfaces that rays hit: points, normals, pixel sizes, and noise for textures."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.solids import FOLIAGE, TRUNK
from fcfrnet_jax.streets.scene.street import Street
from fcfrnet_jax.streets.scene.value_noise import hash_cell, value_noise
from fcfrnet_jax.streets.strips import settle
from fcfrnet_jax.streets.vectors import Vector, turn_level

# Frequencies of the noise in lattice points per metre, and the factor on them along tree trunks.
FREQUENCIES = (0.31, 1.1, 3.7, 12.0, 38.0)
BARK = 0.15


class Surface(NamedTuple):
    """The surfaces that R rays hit. Arrays are `[R]` unless stated otherwise, lengths in metres.

    Attributes:
      hit: whether the ray hits a solid; if not, all other values are still finite.
      reach: the distance from the camera.
      length: the length of the ray's direction.
      up: the sine of the ray's elevation.
      point: the point in world coordinates.
      local, half: the point and the half extents in the solid's frame, rotated and sheared with it.
      view: the unit direction of the ray in the solid's rotated frame.
      normal: the unit normal of the surface in that frame.
      cos, sin: cosine and sine of the solid's yaw.
      facing: the cosine of the angle between ray and normal.
      along: on a vertical face, the horizontal distance from the middle of the face.
      height: the height above the lower end of the solid.
      across: the size of a pixel on a surface that faces the camera.
      footprint: the size of a pixel along the three axes of the solid.
      on_face: the size of a pixel along a vertical face.
      material: int32, the material of the solid.
      colour: `[3, R]` linear RGB.
      number: three uniform random numbers of the solid.
      raw: `[5, R]`, noise in [-0.5, 0.5] for each of `FREQUENCIES`.
      detail: `[5, R]`, the same, faded out where it is finer than a pixel.
    """

    hit: jax.Array
    reach: jax.Array
    length: jax.Array
    up: jax.Array
    point: Vector
    local: Vector
    half: Vector
    view: Vector
    normal: Vector
    cos: jax.Array
    sin: jax.Array
    facing: jax.Array
    along: jax.Array
    height: jax.Array
    across: jax.Array
    footprint: Vector
    on_face: jax.Array
    material: jax.Array
    colour: jax.Array
    number: tuple[jax.Array, ...]
    raw: jax.Array | tuple
    detail: jax.Array | tuple


def find_surfaces(
    street: Street, directions: jax.Array, distance: jax.Array, index: jax.Array, focal: jax.Array
) -> Surface:
    """Returns the surfaces that rays from the camera hit. For the arguments see `shade`."""
    # A loop over the columns: XLA would repeat a single gather in every kernel that uses it.
    columns = jax.lax.map(lambda column: jnp.take(column, index), _table(street))
    numbers = [hash_cell(index, jnp.full_like(index, k), jnp.zeros_like(index)) for k in range(3)]

    def complete(
        directions: jax.Array, distance: jax.Array, columns: jax.Array, numbers: list[jax.Array]
    ) -> Surface:
        return _surface(street.camera, focal, directions, distance, columns, numbers)

    surface = settle(complete, directions, distance, columns, numbers)
    raw = settle(_noise_sites, surface)
    frequencies = jnp.array(FREQUENCIES)
    raw = jax.lax.map(lambda f: value_noise(*(f * axis for axis in raw)) - 0.5, frequencies)
    fade = surface.across * jax.lax.rsqrt(surface.facing)
    detail = raw * jnp.clip(1.4 - 1.6 * frequencies[:, None] * fade, 0.0, 1.0)
    return surface._replace(raw=raw, detail=detail)


def _surface(
    camera: jax.Array,
    focal: jax.Array,
    directions: jax.Array,
    distance: jax.Array,
    columns: jax.Array,
    numbers: list[jax.Array],
) -> Surface:
    """Computes everything except the noise."""
    centre, half, colour = tuple(columns[:3]), tuple(columns[3:6]), columns[6:9]
    cos, sin, slope_x, slope_z, material, shape = columns[9:]
    hit = jnp.isfinite(distance)
    reach = jnp.where(hit, distance, 1.0)
    length = jnp.sqrt(sum(axis * axis for axis in directions))
    unit = tuple(axis / length for axis in directions)
    point = tuple(c + reach * d for c, d in zip(camera, directions, strict=True))

    x, y, z = (p - c for p, c in zip(point, centre, strict=True))
    x, z = turn_level(x, z, cos, -sin)
    local = (x, y - slope_x * x - slope_z * z, z)
    normal = _normal(local, half, shape, slope_x, slope_z)
    view_x, view_z = turn_level(unit[0], unit[2], cos, -sin)
    view = (view_x, unit[1], view_z)
    facing = jnp.maximum(jnp.abs(sum(v * n for v, n in zip(view, normal, strict=True))), 0.01)
    across = reach * length / focal
    side = jnp.abs(normal[0]) > jnp.abs(normal[2])

    def footprint(along_axis: jax.Array) -> jax.Array:
        return across * jnp.sqrt(1.0 + (along_axis / facing) ** 2)

    return Surface(
        hit=hit,
        reach=reach * length,
        length=length,
        up=-unit[1],
        point=point,
        local=local,
        half=half,
        view=view,
        normal=normal,
        cos=cos,
        sin=sin,
        facing=facing,
        along=jnp.where(side, local[2], local[0]),
        height=half[1] - local[1],
        across=across,
        footprint=(footprint(view[0]), footprint(view[1]), footprint(view[2])),
        on_face=footprint(jnp.where(side, view[2], view[0])),
        material=material.astype(jnp.int32),
        colour=colour,
        number=tuple(numbers),
        raw=(),
        detail=(),
    )


def _table(street: Street) -> jax.Array:
    """Returns the numbers of all solids `[15, N]`.

    The rows are centre, half extents, colour, cosine and sine of the yaw, slopes, material and
    shape.
    """
    groups = (street.boxes, street.ellipsoids, street.cylinders)
    solids = street.solids()
    others = solids.yaw.shape[0] - street.boxes.yaw.shape[0]
    lean = jnp.pad(street.lean, ((street.upright, others), (0, 0)))
    shape = jnp.concatenate([jnp.full(g.yaw.shape, k) for k, g in enumerate(groups)])
    columns = (jnp.cos(solids.yaw), jnp.sin(solids.yaw), lean, solids.material, shape)
    parts = (solids.centre, solids.half, solids.colour, *columns)
    return jnp.concatenate(
        [jnp.asarray(part, jnp.float32).reshape(shape.shape[0], -1) for part in parts], axis=1
    ).T


def _normal(
    local: Vector, half: Vector, shape: jax.Array, slope_x: jax.Array, slope_z: jax.Array
) -> Vector:
    """Returns the outward unit normal; `shape` is 0 for boxes, 1 ellipsoids, 2 cylinders."""
    x, y, z = (axis / extent for axis, extent in zip(local, half, strict=True))
    box, cylinder = shape == 0, shape == 2
    radius = jnp.where(box, jnp.maximum(jnp.abs(x), jnp.abs(z)), jnp.hypot(x, z))
    cap = jnp.abs(y) > radius
    flat = jnp.sign(y)
    on_x = jnp.abs(x) >= jnp.abs(z)
    # A shear along y tilts the upper and lower face of a box; the vertical faces stay vertical.
    nx = jnp.where(box, jnp.where(cap, -flat * slope_x, on_x * jnp.sign(x)), x / half[0])
    ny = jnp.where(box, cap * flat, y / half[1])
    nz = jnp.where(box, jnp.where(cap, -flat * slope_z, ~on_x * jnp.sign(z)), z / half[2])
    nx, nz = (jnp.where(cylinder & cap, 0.0, n) for n in (nx, nz))
    ny = jnp.where(cylinder, cap * flat, ny)
    scale = jax.lax.rsqrt(jnp.maximum(nx * nx + ny * ny + nz * nz, 1e-12))
    return nx * scale, ny * scale, nz * scale


def _noise_sites(s: Surface) -> Vector:
    """Returns the points at which noise is evaluated."""
    # For the sky they are on a plane overhead, so that clouds shrink towards the horizon.
    overhead = 2.5 / jnp.maximum(s.up, 0.04)
    x, y, z = s.view
    x, z = turn_level(x, z, s.cos, s.sin)
    x, y, z = (jnp.where(s.hit, p, overhead * u) for p, u in zip(s.point, (x, y, z), strict=True))
    y = jnp.where(s.material == TRUNK, BARK * y, jnp.where(s.material == FOLIAGE, 1.2 * y, y))
    return x, y, z
