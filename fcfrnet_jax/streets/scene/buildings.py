"""Buildings along a street and behind it, bridges, garden walls and hedges."""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.scene.solids import (
    BUILDING,
    FOLIAGE,
    PLAIN,
    WALL,
    Draw,
    Ground,
    Primitives,
    SolidParts,
    choose,
    leaning,
    sides,
    solids,
)
from fcfrnet_jax.streets.scene.style import Style

# Linear RGB.
PLASTERS = (
    *((0.72, 0.62, 0.42), (0.7, 0.68, 0.62), (0.5, 0.24, 0.16), (0.6, 0.48, 0.4)),
    *((0.42, 0.44, 0.45), (0.72, 0.52, 0.34), (0.78, 0.77, 0.72), (0.3, 0.12, 0.08)),
)
TILES = ((0.35, 0.11, 0.06), (0.22, 0.09, 0.06), (0.1, 0.1, 0.11), (0.28, 0.18, 0.12))
STONES = ((0.4, 0.38, 0.34), (0.55, 0.53, 0.5), (0.3, 0.2, 0.14), (0.65, 0.62, 0.55))

# The x coordinate of the facades, and the half depths, tops, z coordinates and half lengths.
Walls = tuple[jax.Array, ...]

HOUSES, DETAILED, BACK, HEDGES = 14, 8, 6, 8


def buildings(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds a row of buildings on each side, and others behind them that fill the gaps."""
    side = jnp.repeat(jnp.array([-1.0, 1.0]), HOUSES // 2)
    half_length = draw(HOUSES, 4.0, 10.0)
    gap = jnp.maximum(style.gap * draw(HOUSES, 0.0, 2.0), 0.0)
    # Some gaps are side streets.
    gap += jnp.where(draw(HOUSES, 0.0, 1.0) < 0.15, draw(HOUSES, 7.0, 14.0), 0.0)
    steps = (2.0 * half_length + gap).reshape(2, -1)
    z = jnp.cumsum(steps, axis=1).ravel() - half_length - draw(1, 5.0, 20.0)
    wall = style.half_width + style.walk + style.front * draw(HOUSES, 0.6, 1.4)
    depth = draw(HOUSES, 4.0, 8.0)
    height = style.storey * draw(HOUSES, 0.75, 1.25)
    present = draw(HOUSES, 0.0, 1.0) < style.houses
    plaster = choose(PLASTERS, draw(HOUSES, 0.0, 1.0))
    # The foundation is as deep as the ground falls along the building.
    base = ground.level(z) + jnp.abs(ground.slope) * half_length
    top = ground.level(z) - height
    house = solids(
        (side * (wall + depth), 0.5 * (base + top), z),
        (depth, 0.5 * (base - top), half_length),
        plaster,
        BUILDING,
        present=present,
    )
    # Only the buildings next to the camera have details.
    near = jnp.array([0, 1, 2, 3, 7, 8, 9, 10])
    walls = tuple(array[near] for array in (side * wall, depth, top, z, half_length))
    annexes = _annexes(draw, style, ground, walls, (plaster[near], present[near]))
    roofs = _roofs(draw, style, walls, present[near])
    return SolidParts(upright=(house, *annexes, *_background(draw, style, ground)), turned=roofs)


def _annexes(
    draw: Draw, style: Style, ground: Ground, walls: Walls, look: tuple[jax.Array, jax.Array]
) -> tuple[Primitives, Primitives]:
    """Builds a bay or balcony on each facade, and a porch, steps or garage in front of it."""
    (x, _, top, z, half_length), (plaster, present) = walls, look
    count = x.shape[0]
    side = jnp.sign(x)
    deep = draw(count, 0.4, 1.2)
    half_height = draw(count, 0.5, 1.6)
    level = ground.level(z)
    # On the first floor or higher, but not above the eaves.
    highest = level - 3.0 - half_height - draw(count, 0.0, 6.0)
    y = jnp.maximum(highest, top + half_height + 0.2)
    bay = solids(
        (x - 0.5 * side * deep, y, z + half_length * draw(count, -0.6, 0.6)),
        (0.5 * deep, half_height, draw(count, 0.8, 2.2)),
        plaster,
        BUILDING,
        present=present & (draw(count, 0.0, 1.0) < style.annexes),
    )
    out = jnp.minimum(draw(count, 0.5, 5.0), 0.8 * jnp.maximum(style.front, 0.3))
    tall = draw(count, 0.3, 1.4)
    garage = solids(
        (x - 0.5 * side * out, level - tall, z + half_length * draw(count, -1.0, 1.0)),
        (0.5 * out, tall, draw(count, 0.8, 2.8)),
        0.8 * plaster[:, ::-1],
        WALL,
        present=present & (draw(count, 0.0, 1.0) < style.annexes),
    )
    return bay, garage


def _roofs(
    draw: Draw, style: Style, walls: Walls, present: jax.Array
) -> tuple[tuple[Primitives, jax.Array], ...]:
    """Builds gable roofs along the street: two sloping boxes, partly inside the building."""
    x, depth, top, z, half_length = walls
    count = x.shape[0]
    side = jnp.sign(x)
    pitch, some = draw(count, 0.4, 1.0), draw(count, 0.0, 1.0) < style.roofs
    tiles = choose(TILES, draw(count, 0.0, 1.0))
    # Narrower than the walls, so that the building hides the lower part of a box.
    half, thick = 0.5 * depth - 0.02, jnp.maximum(0.5 * pitch * depth, 0.3)
    # y points down; the ridge is above the middle of the building.
    y = top - 0.5 * pitch * depth + thick
    parts = []
    for wing in (-1.0, 1.0):
        boxes = solids(
            (x + side * depth + wing * half, y, z),
            (half, thick, half_length - 0.02),
            tiles,
            PLAIN,
            present=present & some,
        )
        parts.append(leaning(boxes, wing * pitch, 0.0))
    return tuple(parts)


def _background(draw: Draw, style: Style, ground: Ground) -> tuple[Primitives, ...]:
    """Builds houses behind the rows, one at the end of the street, and a bridge across it."""
    z = draw(BACK, 10.0, 110.0)
    near = style.half_width + style.walk + style.front + 22.0
    x = sides(BACK) * (near + draw(BACK, 0.0, 30.0))
    height = 0.5 * style.storey * draw(BACK, 0.7, 1.6)
    x, z = x.at[0].set(10.0 * x[0] / near - 10.0), z.at[0].set(95.0 + 0.6 * z[0])
    back = solids(
        (x, ground.level(z) - height + 1.0, z),
        (draw(BACK, 5.0, 12.0), height + 1.0, draw(BACK, 5.0, 12.0)),
        choose(PLASTERS, draw(BACK, 0.0, 1.0)),
        BUILDING,
        present=draw(BACK, 0.0, 1.0) < style.houses + 0.1,
    )
    present = draw(1, 0.0, 1.0) < style.bridge
    z, half_z = draw(1, 25.0, 110.0), draw(1, 2.0, 7.0)
    level, clear = ground.level(z), draw(1, 4.6, 6.0)
    span = style.half_width + style.walk + draw(1, 0.2, 4.0)
    stone = choose(STONES, draw(1, 0.0, 1.0))
    deck = solids((0.0, level - clear - 0.9, z), (60.0, 0.9, half_z), stone, WALL, present=present)
    abutments = solids(
        (jnp.array([-1.0, 1.0]) * (span + 12.0), level - 0.5 * clear + 1.0, z),
        (12.0, 0.5 * clear + 1.0, half_z - 0.2),
        stone,
        WALL,
        present=present,
    )
    return back, deck, abutments


def hedges(draw: Draw, style: Style, ground: Ground) -> SolidParts:
    """Builds hedges, walls and fences along the pavement."""
    side = sides(HEDGES)
    z = 4.0 + 13.0 * (jnp.arange(HEDGES) // 2) + draw(HEDGES, -5.0, 8.0)
    wide = draw(HEDGES, 0.08, 0.45)
    edge = style.half_width + style.walk + 0.2 + wide
    half_height = 0.25 + 1.4 * draw(HEDGES, 0.0, 1.0) ** 1.5
    kind = draw(HEDGES, 0.0, 1.0)
    green = draw(HEDGES, 0.6, 1.3)[:, None] * jnp.array([0.1, 0.17, 0.05])
    leafy = kind < 0.55
    box = solids(
        (side * edge, ground.level(z) - half_height, z),
        (jnp.where(leafy, wide + 0.1, wide), half_height, draw(HEDGES, 2.0, 9.0)),
        jnp.where(leafy[:, None], green, choose(STONES, draw(HEDGES, 0.0, 1.0))),
        jnp.where(leafy, FOLIAGE, WALL),
        yaw=draw(HEDGES, -0.01, 0.01),
        present=draw(HEDGES, 0.0, 1.0) < style.hedges,
    )
    return SolidParts(turned=(leaning(box, 0.0, ground.slope_at(z)),))
