"""Procedural streets of boxes, ellipsoids and upright cylinders.

World frame: x right, y down, z along the street, ground at y = 0, metres.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

CAMERA_HEIGHT = 1.65

# What a solid is made of, which decides how it is shaded.
GROUND, PAVEMENT, BUILDING, CAR, CABIN, FOLIAGE, PLAIN = range(7)
# Linear RGB.
PAINTS = (
    *((0.85, 0.85, 0.83), (0.55, 0.57, 0.6), (0.04, 0.04, 0.05), (0.05, 0.12, 0.35)),
    *((0.5, 0.03, 0.03), (0.25, 0.27, 0.3), (0.75, 0.75, 0.75), (0.09, 0.2, 0.16)),
)
PLASTERS = (
    *((0.72, 0.62, 0.42), (0.7, 0.68, 0.62), (0.5, 0.24, 0.16), (0.6, 0.48, 0.4)),
    *((0.42, 0.44, 0.45), (0.72, 0.52, 0.34), (0.78, 0.77, 0.72)),
)
CARS, TREES, POLES, HEDGES, HOUSES = 12, 8, 6, 4, 14

Draw = Callable[[int, float, float], jax.Array]


class Primitives(NamedTuple):
    """N solids: centre, half extents, colour `[N, 3]`; yaw in radians and material `[N]`."""

    centre: jax.Array
    half: jax.Array
    yaw: jax.Array
    colour: jax.Array
    material: jax.Array


class Street(NamedTuple):
    """The solids of a street by shape, its half width, the camera's pose, the way to the sun."""

    boxes: Primitives
    ellipsoids: Primitives
    cylinders: Primitives
    half_width: jax.Array
    camera: jax.Array
    heading: jax.Array
    sun: jax.Array


def make_street(key: jax.Array, travelled: float | jax.Array = 0.0) -> Street:
    """Draws a street: pavements, houses, parked and driving cars, trees, lamps and hedges.

    Args:
      key: the JAX random key; the same key gives the same street.
      travelled: metres along the street at which the camera stands.
    """
    # One block of numbers for everything: each call of the generator costs compile time.
    rows = iter(jax.random.uniform(key, (64, 32)))

    def draw(count: int, low: float, high: float) -> jax.Array:
        return low + (high - low) * next(rows)[:count]

    half_width, lane = draw(1, 5.2, 6.4)[0], draw(1, 1.4, 1.9)[0]
    crowns, trunks = _trees(draw, half_width)
    lamps, posts = _lamps(draw, half_width)
    sides = jnp.array([-1.0, 1.0])
    pavements = _solids(sides * (half_width + 1.6), -0.06, 100, 1.6, 0.06, 150, 0.5, PAVEMENT)
    # The ground is a huge slab: half a metre thick, so that its top stays exact in float32.
    ground = _solids(jnp.zeros(1), 0.25, 0, 2000, 0.25, 2000, 0.3, GROUND)
    boxes = (ground, pavements, _houses(draw, half_width), *_cars(draw, half_width, lane))
    turn = draw(1, -0.9, 0.9)[0]
    elevation = draw(1, 0.5, 0.9)[0]
    sun = jnp.stack(
        [jnp.cos(elevation) * jnp.sin(turn), jnp.sin(elevation), jnp.cos(elevation) * jnp.cos(turn)]
    )
    return Street(
        boxes=join(*boxes, _hedges(draw, half_width), lamps),
        ellipsoids=crowns,
        cylinders=join(trunks, posts),
        half_width=half_width,
        camera=jnp.stack([lane, jnp.float32(-CAMERA_HEIGHT), jnp.float32(travelled)]),
        heading=draw(1, -0.06, 0.06)[0],
        sun=-sun,
    )


def join(*parts: Primitives) -> Primitives:
    """Returns the solids of all `parts` in one, in their order."""
    return Primitives(*(jnp.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _solids(
    x: jax.Array,
    y: jax.Array | float,
    z: jax.Array | float,
    half_x: jax.Array | float,
    half_y: jax.Array | float,
    half_z: jax.Array | float,
    colour: jax.Array | float,
    material: int,
    yaw: jax.Array | float = 0.0,
) -> Primitives:
    count = x.shape[0]

    def spread(*values: jax.Array | float) -> jax.Array:
        return jnp.stack([jnp.broadcast_to(jnp.float32(v), (count,)) for v in values], axis=-1)

    return Primitives(
        centre=spread(x, y, z),
        half=spread(half_x, half_y, half_z),
        yaw=jnp.broadcast_to(jnp.float32(yaw), (count,)),
        colour=jnp.broadcast_to(jnp.float32(colour), (count, 3)),
        material=jnp.full(count, material),
    )


def _choose(colours: tuple, number: jax.Array) -> jax.Array:
    return jnp.array(colours)[(len(colours) * number).astype(jnp.int32)]


def _alternate(count: int) -> jax.Array:
    return jnp.where(jnp.arange(count) % 2 == 0, -1.0, 1.0)


def _cars(draw: Draw, half_width: jax.Array, lane: jax.Array) -> tuple[Primitives, ...]:
    """Nine parked cars of which some are missing, one ahead and two oncoming; three boxes each."""
    row = jnp.arange(CARS - 3)
    parked_z = 6.0 + 8.0 * (row // 2) + 3.0 * (row % 2) + draw(CARS - 3, 0.0, 2.5)
    z = jnp.concatenate([parked_z, draw(1, 16.0, 50.0), draw(1, 14.0, 26.0), draw(1, 40.0, 70.0)])
    side = jnp.concatenate([_alternate(CARS - 3), jnp.array([1.0, -1.0, -1.0])])
    x = side * jnp.concatenate([jnp.full(CARS - 3, half_width - 1.05), jnp.full(3, lane)])
    # A missing car is parked under the ground.
    sunk = jnp.where(draw(CARS, 0.0, 1.0) < 0.3, 20.0, 0.0)
    # Traffic keeps to the right: cars on the left come towards the camera.
    yaw = jnp.where(side < 0, jnp.pi, 0.0) + draw(CARS, -0.03, 0.03)
    half_length, waist, roof = draw(CARS, 1.9, 2.35), draw(CARS, 0.85, 1.0), draw(CARS, 0.5, 0.65)
    paint = _choose(PAINTS, draw(CARS, 0.0, 1.0))
    bottom = 0.3
    body_half = 0.5 * (waist - bottom)
    body = _solids(x, sunk - bottom - body_half, z, 0.88, body_half, half_length, paint, CAR, yaw)
    back = 0.12 * half_length * jnp.cos(yaw)
    cabin = _solids(
        x,
        sunk - waist - 0.5 * roof,
        z - back,
        0.74,
        0.5 * roof,
        0.58 * half_length,
        paint,
        CABIN,
        yaw,
    )
    under = _solids(x, sunk - 0.15, z, 0.8, 0.15, 0.78 * half_length, 0.02, PLAIN, yaw)
    return body, cabin, under


def _houses(draw: Draw, half_width: jax.Array) -> Primitives:
    half_length = draw(HOUSES, 4.5, 10.0).reshape(2, -1)
    gap = jnp.maximum(draw(HOUSES, -3.0, 6.0), 0.0).reshape(2, -1)
    z = jnp.cumsum(2.0 * half_length + gap, axis=1) - half_length - 14.0
    x = jnp.repeat(jnp.array([-1.0, 1.0]), HOUSES // 2) * (
        half_width + 9.4 + draw(HOUSES, 0.0, 5.0)
    )
    half_height = draw(HOUSES, 2.8, 6.5)
    plaster = _choose(PLASTERS, draw(HOUSES, 0.0, 1.0))
    return _solids(
        x, -half_height, z.ravel(), 6.0, half_height, half_length.ravel(), plaster, BUILDING
    )


def _trees(draw: Draw, half_width: jax.Array) -> tuple[Primitives, Primitives]:
    """Trees of a trunk and a crown of three ellipsoids, and a wood at the end of the street."""
    x = _alternate(TREES) * (half_width + draw(TREES, 0.7, 2.4))
    z = 9.0 + 13.0 * (jnp.arange(TREES) // 2) + draw(TREES, 0.0, 10.0)
    height, radius = draw(TREES, 2.2, 3.4), draw(TREES, 1.1, 2.0)
    green = draw(3 * TREES + 4, 0.6, 1.3)[:, None] * jnp.array([0.13, 0.2, 0.05])
    third = jnp.tile(jnp.arange(3.0), TREES)
    around = 2.1 * third + jnp.repeat(draw(TREES, 0.0, 6.0), 3)
    crown_radius = jnp.repeat(radius, 3) * draw(3 * TREES, 0.75, 1.1)
    crowns = _solids(
        jnp.repeat(x, 3) + 0.5 * crown_radius * jnp.sin(around),
        -jnp.repeat(height + radius, 3) - 0.6 * (third - 1.0) * crown_radius,
        jnp.repeat(z, 3) + 0.5 * crown_radius * jnp.cos(around),
        crown_radius,
        0.9 * crown_radius,
        crown_radius,
        green[:-4],
        FOLIAGE,
    )
    wood = _solids(
        draw(4, -30.0, 30.0),
        -3.0,
        draw(4, 115.0, 140.0),
        14.0,
        draw(4, 5.0, 9.0),
        6.0,
        green[-4:],
        FOLIAGE,
    )
    girth = draw(TREES, 0.11, 0.22)
    half_trunk = 0.5 * height + 0.3
    trunks = _solids(
        x, -half_trunk, z, girth, half_trunk, girth, jnp.array([0.1, 0.075, 0.05]), PLAIN
    )
    return join(crowns, wood), trunks


def _lamps(draw: Draw, half_width: jax.Array) -> tuple[Primitives, Primitives]:
    side = _alternate(POLES)
    z = 5.0 + 16.0 * (jnp.arange(POLES) // 2) + draw(POLES, 0.0, 12.0)
    x = side * (half_width + 0.45)
    posts = _solids(x, -3.2, z, 0.07, 3.2, 0.07, 0.3, PLAIN)
    return _solids(x - side * 0.7, -6.4, z, 0.8, 0.06, 0.12, 0.35, PLAIN), posts


def _hedges(draw: Draw, half_width: jax.Array) -> Primitives:
    x = _alternate(HEDGES) * (half_width + draw(HEDGES, 2.9, 3.2))
    half_height = draw(HEDGES, 0.35, 0.8)
    z = draw(HEDGES, 8.0, 60.0)
    green = jnp.array([0.1, 0.17, 0.05])
    return _solids(x, -half_height, z, 0.35, half_height, draw(HEDGES, 3.0, 8.0), green, FOLIAGE)
