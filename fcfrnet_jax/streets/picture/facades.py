"""Textures of houses, with windows and doors, and of walls of brick, stone or concrete."""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.picture.colours import blend, tint
from fcfrnet_jax.streets.picture.looks import Look
from fcfrnet_jax.streets.picture.surfaces import Surface
from fcfrnet_jax.streets.scene.value_noise import hash_cell, joints, mark

Pair = tuple[jax.Array, jax.Array]


def building(s: Surface, look: Look) -> tuple[jax.Array, jax.Array]:
    """A facade of plaster, brick or bands of glass, with windows, doors, shutters and a roof.

    Returns the albedo `[3, R]` and the specular reflectance `[R]` of the window panes.
    """
    first, second, third = s.number
    storey, spacing = 2.6 + 0.7 * second, 1.7 + 1.8 * first
    column, floor = jnp.floor(s.along / spacing), jnp.floor((s.height - 0.3) / storey)
    x = s.along - spacing * (column + 0.5)
    y = s.height - 0.3 - storey * floor - 0.55 * storey
    glazed = third > 0.86
    wide = jnp.where(glazed, 0.48 * spacing, 0.24 * spacing + 0.12)
    tall = jnp.where(glazed, 0.32 * storey, 0.24 * storey + 0.12 * first)
    chance = hash_cell(column, floor, jnp.floor(4096.0 * first))
    door = (floor == 0) & (chance < 0.2)
    shop = (floor == 0) & (second > 0.75)
    # Doors and shop windows extend down to the plinth.
    drop = jnp.where(door | shop, 0.35 * storey - 0.15, 0.0)
    y, tall = y + 0.5 * drop, tall + 0.5 * drop
    wide = jnp.where(shop, 0.42 * spacing, wide)
    top = 2.0 * s.half[1] - s.height
    roof = 0.3 + 1.9 * jnp.maximum(third - 0.6, 0.0) * (1.0 - glazed)
    gable = jnp.abs(s.normal[2]) > 0.5
    blank = (gable & (second < 0.4)) | (chance > 0.9 + 0.1 * glazed)
    inside = (storey * (floor + 1.0) + 0.5 < 2.0 * s.half[1] - roof) & ~blank
    inside &= jnp.abs(s.normal[1]) < 0.5
    return _openings(s, (x, y), (wide, tall), (chance, door, inside), (top, roof))


def _openings(
    s: Surface, offset: Pair, size: Pair, opening: tuple[jax.Array, ...], eaves: Pair
) -> tuple[jax.Array, jax.Array]:
    """Draws windows and doors; `offset` and half `size` are those of the nearest opening."""
    (x, y), (wide, tall), (chance, door, inside) = offset, size, opening
    across, up = s.on_face, s.footprint[1]
    frame = mark(x, wide, across) * mark(y, tall, up) * inside
    bars = jnp.maximum(
        mark(x, 0.035, across), mark(y - 0.35 * tall, 0.03, up) * (s.number[0] > 0.5)
    )
    pane = mark(x, wide - 0.08, across) * mark(y, tall - 0.08, up) * (1.0 - bars) * inside
    shutter = mark(jnp.abs(x) - 1.5 * wide, 0.45 * wide, across) * mark(y, tall, up)
    shutter *= inside & (s.number[1] > 0.7) & ~door & (s.number[2] < 0.86)
    slats = 1.0 - 0.5 * joints(y, 0.09, 0.02, up)
    surround = mark(x, wide + 0.14, across) * mark(y, tall + 0.14, up) * inside
    sill = mark(x, wide + 0.1, across) * mark(y + tall + 0.05, 0.05, up) * inside

    wall = _masonry(s) * jnp.where(s.height < 0.6, 0.6, 1.0)
    wall = blend(wall, 0.62 + 0.1 * s.detail[2], 0.7 * surround * (s.number[0] > 0.35))
    leaf = blend(tint(0.06, 0.14, 0.07), tint(0.2, 0.09, 0.04), jnp.rint(s.number[0]))
    wall = blend(wall, leaf * slats, shutter)
    wall = _roof(s, wall, *eaves)
    wood = jnp.where(s.number[2] < 0.3, tint(0.14, 0.08, 0.04), tint(0.7, 0.7, 0.68))
    wall = blend(blend(wall, wood, frame), 0.5, sill)
    # Blinds are lowered to different heights.
    blind = jnp.clip((y - tall * (3.0 * chance - 1.0)) / up, 0.0, 1.0) * (s.number[1] < 0.5)
    glass = tint(0.03, 0.035, 0.04) * (0.5 + 4.0 * jnp.mod(7.0 * chance, 1.0) ** 3)
    glass = jnp.where(door, wood * 0.5, blend(glass, 0.4, 0.8 * blind))
    return blend(wall, glass, pane), pane * (1.0 - 0.8 * blind) * jnp.where(door, 0.1, 0.75)


def _masonry(s: Surface) -> jax.Array:
    """Plaster with stains, or bricks."""
    stains = 1.0 + 0.22 * s.detail[0] + 0.16 * s.detail[1] + 0.13 * s.detail[2]
    plaster = s.colour * (stains + 0.14 * s.detail[3] + 0.12 * s.detail[4])
    return jnp.where((s.number[2] > 0.35) & (s.number[2] < 0.5), _bricks(s) * stains, plaster)


def _bricks(s: Surface) -> jax.Array:
    row = jnp.floor(s.height / 0.083)
    shifted = s.along + 0.125 * jnp.mod(row, 2.0)
    gap = jnp.maximum(
        joints(s.height, 0.083, 0.006, s.footprint[1]), joints(shifted, 0.25, 0.006, s.on_face)
    )
    seen = jnp.clip(1.5 - 8.0 * s.on_face, 0.0, 1.0)
    fired = 1.0 + 0.8 * seen * (hash_cell(jnp.floor(shifted / 0.25), row, row * 0) - 0.5)
    red = blend(tint(0.3, 0.11, 0.06), tint(0.34, 0.2, 0.11), s.number[0])
    return blend(red * fired, tint(0.4, 0.37, 0.33), gap)


def _roof(s: Surface, wall: jax.Array, top: jax.Array, roof: jax.Array) -> jax.Array:
    """Roof tiles on top of the wall and in a band below it, with a dark gutter."""
    tile = blend(tint(0.32, 0.12, 0.07), tint(0.12, 0.12, 0.11), s.number[0])
    rows = 1.0 - 0.45 * joints(top, 0.28, 0.04, s.footprint[1])
    rows *= 1.0 - 0.25 * joints(s.along, 0.22, 0.03, s.on_face)
    tiles = tile * rows * (1.0 + 0.5 * s.detail[1] + 0.5 * s.detail[2] + 0.5 * s.detail[3])
    covered = jnp.clip((roof - top) / s.footprint[1], 0.0, 1.0)
    gutter = mark(top - roof, 0.07, s.footprint[1])
    wall = blend(blend(wall, tiles, covered), 0.12, gutter)
    return jnp.where(s.normal[1] < -0.2, tiles, wall)


def wall(s: Surface, look: Look) -> jax.Array:
    """Panels of concrete, blocks of stone, or bricks, with streaks and ivy."""
    kind = s.number[0]
    panel = joints(s.along, 2.5, 0.015, s.on_face)
    streaks = jnp.clip(0.5 * s.detail[2] + s.detail[1] + 0.4, 0.0, 1.0) * jnp.exp(
        -2.0 * jnp.maximum(2.0 * s.half[1] - s.height, 0.0)
    )
    rough = 1.0 + 0.3 * s.detail[0] + 0.3 * s.detail[1] + 0.35 * s.detail[3] + 0.3 * s.detail[4]
    concrete = s.colour * rough * (1.0 - 0.5 * panel)
    row = jnp.floor(s.height / 0.3)
    shifted = s.along + 0.27 * row
    gap = jnp.maximum(
        joints(s.height, 0.3, 0.015, s.footprint[1]), joints(shifted, 0.5, 0.015, s.on_face)
    )
    block = hash_cell(jnp.floor(shifted / 0.5 + 0.5), row, row * 0) - 0.5
    block *= jnp.clip(1.5 - 3.0 * s.on_face, 0.0, 1.0)
    stone = s.colour * (rough + 0.6 * block) * (1.0 - 0.6 * gap)
    face = jnp.select([kind < 0.45, kind < 0.75], [concrete, stone], _bricks(s) * rough)
    # Some walls are partly covered by ivy and moss.
    ivy = jnp.clip(6.0 * (s.detail[1] + s.detail[2] + 0.7 * s.number[1] - 0.75), 0.0, 1.0)
    leaves = tint(0.06, 0.1, 0.03) * jnp.clip(1.0 + 3.0 * s.detail[3], 0.1, 3.0)
    return blend(face * (1.0 - 0.5 * streaks), leaves, ivy)
