"""The light that comes back along rays into a street: surfaces, sun and shadows, haze and sky.

Everywhere R is the number of rays, and `noises` `[5, R]` value noise at their ends, one row for
each of `NOISES`. Colours are linear RGB `[3, R]`, or numbers for gray.
"""

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.data.raycast import trace, turn
from fcfrnet_jax.data.street import (
    BUILDING,
    CABIN,
    CAR,
    FOLIAGE,
    GROUND,
    PAVEMENT,
    Street,
    join,
)

BOX, ELLIPSOID, CYLINDER = range(3)
NOISES = (0.35, 1.2, 3.0, 7.0, 25.0)  # lattice points a metre


def shade(
    street: Street, directions: jax.Array, distance: jax.Array, index: jax.Array, focal: jax.Array
) -> jax.Array:
    """Returns linear light `[3, R]`: sun with cast shadows, sky light, haze.

    Args:
      directions: `[3, R]` of the rays from the camera, as `trace` takes them.
      distance, index: `[R]`, what `trace` returned for these rays.
      focal: of the camera in pixels; details smaller than a pixel are faded out.
    """
    solids = join(street.boxes, street.ellipsoids, street.cylinders)
    centre, half, yaw, colour, material = (jnp.take(array.T, index, axis=-1) for array in solids)
    hit = jnp.isfinite(distance)
    reach = jnp.where(hit, distance, 1.0)
    unit = _unit(directions)
    # Clouds live on a plane overhead, so that they shrink towards the horizon.
    overhead = 3.0 * unit / jnp.maximum(-unit[1:2], 0.03)
    point = jnp.where(hit, street.camera[:, None] + reach * directions, overhead)
    noises = jax.lax.map(lambda frequency: _noise(frequency * point), jnp.array(NOISES))

    local = turn(point - centre, -yaw)
    boxes, rounds = street.boxes.yaw.shape[0], street.ellipsoids.yaw.shape[0]
    shape = (index >= boxes).astype(jnp.int32) + (index >= boxes + rounds)
    local_normal = _normal(local, half, shape)
    ruffle = jnp.where(material == FOLIAGE, 1.3 * (noises[2] - 0.5), 0.0)
    normal = _unit(turn(local_normal, yaw) + ruffle)
    # The size of a pixel on the surface, in metres; details below it fade out.
    facing = jnp.abs(jnp.sum(local_normal * turn(unit, -yaw), axis=0))
    pixel = reach / (focal * jnp.maximum(facing, 0.02))

    albedo = jnp.select(
        [material == kind for kind in (GROUND, PAVEMENT, BUILDING, CAR, CABIN, FOLIAGE)],
        [
            _ground(point, pixel, noises, street.half_width),
            _pavement(point, pixel, noises),
            _building(local, half, local_normal, colour, pixel, noises),
            _car(local, half, local_normal, colour, point),
            _cabin(local, half, local_normal, colour),
            colour * (0.25 + 1.2 * noises[2] * (0.4 + noises[1]) + 0.3 * noises[3]),
        ],
        colour,
    )
    # Start clear of the surface, or rounding makes it shade itself.
    blocked, _ = trace(street, point + 0.03 * normal, street.sun[:, None] + 0.0 * point)
    sunlight = jnp.maximum(jnp.sum(normal * street.sun[:, None], axis=0), 0.0) * jnp.isinf(blocked)
    light = jnp.array([[1.8], [1.65], [1.42]]) * sunlight + jnp.array([[0.17], [0.21], [0.28]]) * (
        0.65 - 0.35 * normal[1]
    )
    haze = 1.0 - jnp.exp(-reach / 450.0)
    lit = albedo * light * (1.0 - haze) + jnp.array([[0.75], [0.82], [0.9]]) * haze
    return jnp.where(hit, lit, _sky(unit, noises))


def _normal(local: jax.Array, half: jax.Array, shape: jax.Array) -> jax.Array:
    """The outward unit normal `[3, R]` at `local` points of solids."""
    scaled = local / half
    face = jnp.abs(scaled) == jnp.max(jnp.abs(scaled), axis=0)
    flat = jnp.where(face, jnp.sign(scaled), 0.0)
    level = jnp.array([[1.0], [0.0], [1.0]])
    return _unit(
        jnp.select([shape == BOX, shape == ELLIPSOID], [flat, scaled / half], level * local)
    )


def _unit(vectors: jax.Array) -> jax.Array:
    return vectors / jnp.maximum(jnp.linalg.norm(vectors, axis=0), 1e-9)


def _noise(point: jax.Array) -> jax.Array:
    """Value noise in [0, 1] with one lattice point a unit, at points `[3, R]`."""
    cell = jnp.floor(point)
    weight = point - cell
    weight = weight * weight * (3.0 - 2.0 * weight)
    total = jnp.zeros(point.shape[1])
    for corner in np.ndindex(2, 2, 2):
        offset = jnp.array(corner)[:, None]
        near = jnp.prod(jnp.where(offset == 1, weight, 1.0 - weight), axis=0)
        total += near * _hash(cell + offset)
    return total


def _hash(cell: jax.Array) -> jax.Array:
    """A repeatable number in [0, 1] for each whole-numbered `[3, R]` cell."""
    x, y, z = cell.astype(jnp.int32).astype(jnp.uint32)
    bits = x * jnp.uint32(0x8DA6B343) ^ y * jnp.uint32(0xD8163841) ^ z * jnp.uint32(0xCB1AB31F)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x2C1B3C6D)
    bits = (bits ^ (bits >> 12)) * jnp.uint32(0x297A2D39)
    return (bits ^ (bits >> 15)).astype(jnp.float32) / 4294967296.0


def _mark(offset: jax.Array, half_width: float, pixel: jax.Array) -> jax.Array:
    """1 within `half_width` of 0, 0 outside, with an edge as soft as one pixel."""
    soft = jnp.maximum(pixel, 1e-3)
    share = jnp.minimum(2.0 * half_width / soft, 1.0)
    return share * jnp.clip((half_width - jnp.abs(offset)) / soft + 0.5, 0.0, 1.0)


def _ground(
    point: jax.Array, pixel: jax.Array, noises: jax.Array, half_width: jax.Array
) -> jax.Array:
    x, _, z = point
    grain = (noises[4] - 0.5) * jnp.clip(0.06 / pixel, 0.0, 1.0)
    patches = noises[0] - 0.5
    asphalt = 0.16 + 0.06 * patches + 0.09 * grain
    dashes = _mark(x, 0.07, pixel) * (jnp.mod(z, 9.0) < 4.0)
    edge = _mark(jnp.abs(x) - (half_width - 2.15), 0.06, pixel)
    paint = jnp.maximum(dashes, edge) * (0.8 + 0.4 * patches)
    road = asphalt + (0.75 - asphalt) * paint
    grass = jnp.array([[0.16], [0.2], [0.07]]) * (0.6 + 0.6 * noises[2] + 0.5 * grain)
    return jnp.where(jnp.abs(x) < half_width + 3.0, road, grass)


def _pavement(point: jax.Array, pixel: jax.Array, noises: jax.Array) -> jax.Array:
    x, y, z = point
    slab = jnp.stack([jnp.floor(2.0 * x), jnp.zeros_like(y), jnp.floor(2.0 * z)])
    joint = jnp.maximum(
        _mark(jnp.mod(2.0 * x, 1.0) - 0.5, 0.03, 2.0 * pixel),
        _mark(jnp.mod(2.0 * z, 1.0) - 0.5, 0.03, 2.0 * pixel),
    )
    tone = 0.27 + jnp.where(pixel < 0.4, 0.08 * (_hash(slab) - 0.5), 0.0)
    stone = (tone + 0.1 * (noises[0] - 0.5)) * (1.0 - 0.4 * joint)
    return stone * jnp.array([[1.05], [1.0], [0.93]])


def _building(
    local: jax.Array,
    half: jax.Array,
    normal: jax.Array,
    colour: jax.Array,
    pixel: jax.Array,
    noises: jax.Array,
) -> jax.Array:
    """Plaster with rows of framed windows, a dark plinth and a cornice."""
    along = jnp.where(jnp.abs(normal[0]) > 0.5, local[2], local[0])
    height = half[1] - local[1]
    column, floor = jnp.floor(along / 2.6), jnp.floor(height / 2.9)
    x, y = along - 2.6 * column - 1.3, height - 2.9 * floor - 1.6
    room = jnp.stack([column, floor, jnp.floor(10.0 * half[2])])
    below_eaves = 2.9 * (floor + 1.0) < 2.0 * half[1] - 0.2
    frame = _mark(x, 0.72, pixel) * _mark(y, 0.88, pixel) * below_eaves
    pane = (
        _mark(x, 0.58, pixel) * _mark(y, 0.74, pixel) * (1.0 - _mark(x, 0.04, pixel)) * below_eaves
    )
    stains = 0.85 + 0.2 * noises[0] + 0.12 * noises[1] + 0.06 * noises[3]
    wall = colour * stains * jnp.where(height < 0.6, 0.55, 1.0)
    wall = jnp.where(2.0 * half[1] - height < 0.4, jnp.array([[0.22], [0.1], [0.07]]), wall)
    wall = wall + (0.75 - wall) * frame
    glass = jnp.array([[0.05], [0.07], [0.1]]) * (0.4 + 2.5 * _hash(room))
    return wall + (glass - wall) * pane


def _car(
    local: jax.Array, half: jax.Array, normal: jax.Array, colour: jax.Array, point: jax.Array
) -> jax.Array:
    """Paint with wheels, a dark sill, lights (red behind, white in front) and a number plate."""
    height = -point[1]
    on_side = jnp.abs(normal[0]) > 0.5
    wheel = jnp.hypot(jnp.abs(local[2]) - 0.62 * half[2], height - 0.32) < 0.36
    sill = (height < 0.4) | (on_side & wheel)
    on_end = jnp.abs(normal[2]) > 0.5
    lamp = on_end & (jnp.abs(jnp.abs(local[0]) - 0.7) < 0.16) & (jnp.abs(height - 0.72) < 0.1)
    lamp_colour = jnp.where(
        local[2] < 0, jnp.array([[0.6], [0.02], [0.02]]), jnp.array([[0.9], [0.9], [0.85]])
    )
    plate = on_end & (jnp.abs(local[0]) < 0.26) & (jnp.abs(height - 0.55) < 0.06)
    return jnp.select(
        [lamp, plate, sill], [lamp_colour, jnp.full((3, 1), 0.8), 0.08 * colour], colour
    )


def _cabin(local: jax.Array, half: jax.Array, normal: jax.Array, colour: jax.Array) -> jax.Array:
    """Paint with windows between pillars."""
    scaled = jnp.abs(local / half)
    across = jnp.where(jnp.abs(normal[0]) > 0.5, scaled[2], scaled[0])
    pillar = (across > 0.9) | ((across < 0.06) & (jnp.abs(normal[0]) > 0.5))
    glass = (jnp.abs(normal[1]) < 0.5) & ~pillar & (local[1] / half[1] > -0.75)
    return jnp.where(glass, jnp.array([[0.04], [0.05], [0.06]]), colour)


def _sky(directions: jax.Array, noises: jax.Array) -> jax.Array:
    up = jnp.clip(-directions[1], 0.0, 1.0)
    blue = jnp.array([[0.2], [0.42], [0.85]])
    white = jnp.array([[0.95], [1.0], [1.0]])
    sky = white + (blue - white) * jnp.minimum(2.8 * up, 1.0)
    cloud = 0.65 * noises[0] + 0.35 * noises[1]
    return sky + (1.0 - sky) * jnp.clip(2.2 * (cloud - 0.45), 0.0, 0.8)
