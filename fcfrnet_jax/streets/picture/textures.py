"""Textures of the ground, plants, people and small objects.

Each function takes the surfaces that R rays hit and the look of the scene. It returns the albedo,
linear RGB `[3, R]`, and for glossy surfaces also the specular reflectance `[R]`. Details smaller
than a pixel are faded out.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.picture.colours import blend, tint
from fcfrnet_jax.streets.picture.looks import Look
from fcfrnet_jax.streets.picture.surfaces import Surface
from fcfrnet_jax.streets.scene.street import Street
from fcfrnet_jax.streets.scene.value_noise import hash_cell, joints, mark


def ground(s: Surface, look: Look, street: Street) -> tuple[jax.Array, jax.Array]:
    """A road of asphalt with patches, cracks and markings, and verges of grass or gravel."""
    x, half_width = jnp.abs(s.point[0]), street.half_width
    asphalt = _asphalt(s, look, street.half_width)
    paint = _lane_marks(s, look, street) * (0.85 + 0.3 * s.detail[1])
    paint *= jnp.clip(1.0 - 2.2 * look.worn * (s.detail[2] + s.detail[3] + 0.12), 0.0, 1.0)
    road = blend(asphalt * tint(1.02, 1.0, 0.97), 0.72, paint)
    gutter = mark(x - half_width + 0.17, 0.17, s.footprint[0])
    stones = joints(s.point[2], 0.5, 0.015, s.footprint[2])
    road = blend(road, (0.3 + 0.1 * s.detail[2]) * (1.0 - 0.5 * stones), gutter)
    verge = jnp.where(
        look.verge < 0.65,
        grass(s, look),
        jnp.where(look.verge < 0.82, _gravel(s), asphalt * tint(1.1, 1.05, 1.0)),
    )
    verge = jnp.where(x + 3.0 * s.raw[0] < half_width + 11.0, verge, grass(s, look))
    # The uneven edge only extends outwards, so that no grass grows in front of a kerb.
    edge = x - half_width - 0.4 * jnp.abs(s.raw[2])
    edge = jnp.clip(edge / s.footprint[0], 0.0, 1.0)
    gloss = look.wet * jnp.clip(0.6 + 3.0 * s.raw[0] + 0.7 * s.detail[1], 0.0, 1.0)
    return blend(road, verge, edge) * (1.0 - 0.45 * gloss), 0.5 * gloss * (1.0 - edge)


def _asphalt(s: Surface, look: Look, half_width: jax.Array) -> jax.Array:
    x, _, z = s.point
    side = x > 0
    # The two halves of a road often differ in age.
    age = hash_cell(side, side * 0 + 7, jnp.floor(64.0 * look.worn))
    tone = look.asphalt * (0.8 + 0.45 * age)
    cell_x, cell_z = jnp.floor((x + 1.1) / 2.9), jnp.floor(z / 7.3)
    lot = hash_cell(cell_x, cell_z, cell_x * 0 + 3)
    tone *= jnp.where(lot < 0.22 * look.worn, 0.6 + 2.5 * lot, 1.0)
    tone *= 1.0 - 0.09 * jnp.cos(2.0 * jnp.pi * x / 1.75) * (x * x < half_width * half_width)
    stains = 1.0 + 0.25 * s.detail[0] + 0.16 * s.detail[1] + 0.12 * s.detail[2]
    grain = 0.45 * s.detail[3] + 1.0 * s.detail[4]
    # Cracks and tar seams follow a contour line of smooth noise.
    crack = s.raw[0] + 0.06 * s.raw[2] + 0.35 * look.cracked - 0.1
    crack = mark(crack, 0.005, 0.4 * s.footprint[0] + 0.1 * s.footprint[2])
    crack *= look.cracked > 0.35
    cover = jnp.hypot(jnp.mod(x, 4.0) - 1.2, jnp.mod(z, 19.0) - 6.0)
    cover = mark(cover, 0.33, s.footprint[2])
    cover *= hash_cell(jnp.floor(x / 4.0), jnp.floor(z / 19.0), cell_x * 0 + 5) < 0.3
    return tone * (stains + grain) * (1.0 - 0.55 * jnp.maximum(crack, cover))


def _lane_marks(s: Surface, look: Look, street: Street) -> jax.Array:
    """Returns the share of paint `[R]`: centre line, edge lines, parking bays, a crossing."""
    x, _, z = s.point
    half_width = street.half_width
    wide, long = s.footprint[0], s.footprint[2]
    period = 6.0 + 6.0 * look.paving
    dash = jnp.mod(z, period) - 0.5 * period
    dashes = jnp.where(look.marks < 0.75, mark(dash, 0.25 * period, long), 1.0)
    double = mark(jnp.abs(x) - 0.14, 0.06, wide)
    lines = jnp.where(look.marks < 0.85, mark(x, 0.07, wide) * dashes, double)
    # `lane` is the middle of a lane, so twice that is its outer edge.
    edge = jnp.minimum(2.0 * street.style.lane, half_width - 0.2)
    edges = mark(jnp.abs(x) - edge, 0.07, wide)
    parking = 0.5 * (half_width - edge)
    bays = mark(jnp.abs(x) - half_width + parking, parking, wide) * joints(z, 5.5, 0.06, long)
    lines = jnp.where(look.verge < 0.6, jnp.maximum(lines, edges), lines)
    lines = jnp.where((look.verge > 0.7) & (parking > 0.8), jnp.maximum(lines, bays), lines)
    lines = jnp.where((look.marks > 0.22) & (half_width > 3.2), lines, 0.0)
    start = 9.0 + 45.0 * look.season
    stripes = mark(jnp.mod(x, 1.0) - 0.5, 0.25, wide) * mark(z - start, 1.7, long)
    stripes *= (jnp.abs(x) < half_width - 0.3) & ~street.style.one_way
    return jnp.where(jnp.mod(7.0 * look.marks, 1.0) < 0.15, jnp.maximum(lines, stripes), lines)


def grass(s: Surface, look: Look) -> jax.Array:
    """Grass with bare and dry spots, and dark gaps between the blades."""
    dry = jnp.clip(0.9 * look.season - 0.3 + 1.2 * s.detail[0] + 0.5 * s.detail[1], 0.0, 0.9)
    colour = blend(tint(0.1, 0.17, 0.035), tint(0.27, 0.22, 0.1), dry)
    blades = 1.0 + 0.7 * s.detail[1] + 1.1 * s.detail[2] + 1.5 * s.detail[3] + 1.3 * s.detail[4]
    return colour * jnp.clip(blades, 0.1, 2.5)


def _gravel(s: Surface) -> jax.Array:
    grains = 1.0 + 0.4 * s.detail[0] + 0.3 * s.detail[1] + 0.9 * s.detail[3] + 1.2 * s.detail[4]
    return tint(0.31, 0.27, 0.2) * grains


def pavement(s: Surface, look: Look) -> jax.Array:
    """A pavement of slabs, blocks, cobbles or asphalt, with a stone kerb at its edges."""
    x, _, z = s.point
    size = jnp.where(look.paving < 0.35, 0.4, jnp.where(look.paving < 0.65, 0.2, 0.11))
    row = jnp.floor(z / size)
    # Alternate rows are shifted by half a stone.
    shifted = x + 0.5 * size * jnp.mod(row, 2.0)
    gap = jnp.maximum(
        joints(shifted + 0.5 * size, size, 0.006, s.footprint[0]),
        joints(z, size, 0.006, s.footprint[2]),
    )
    stone = hash_cell(jnp.floor(shifted / size), row, row * 0) - 0.5
    stone *= jnp.clip(1.5 - 0.5 * (s.footprint[0] + s.footprint[2]) / size, 0.0, 1.0)
    rough = 0.3 * s.detail[0] + 0.25 * s.detail[1] + 0.35 * s.detail[3] + 0.4 * s.detail[4]
    tone = (0.26 + 0.12 * look.marks) * (1.0 + 0.3 * stone + rough) * (1.0 - 0.6 * gap)
    red = jnp.where(jnp.mod(5.0 * look.paving, 1.0) < 0.2, 1.0, 0.0)
    paved = tone * blend(tint(1.03, 1.0, 0.94), tint(1.15, 0.72, 0.58), red)
    paved = jnp.where(look.paving > 0.85, look.asphalt * (1.1 + rough + s.detail[2]), paved)
    edge = s.half[0] - jnp.abs(s.local[0])
    kerb = edge < 0.15
    stones = joints(z, 1.0, 0.008, s.footprint[2])
    return jnp.where(kerb, 0.36 * (1.0 + rough) * (1.0 - 0.5 * stones), paved)


def foliage(s: Surface, look: Look) -> jax.Array:
    """Leaves: clumps, twigs and single leaves with high contrast, darker inside the crown."""
    clumps = 1.1 * s.detail[1] + 1.5 * s.detail[2]
    leaves = clumps + 2.3 * s.detail[3] + 1.6 * s.detail[4]
    bright = jnp.exp(1.7 * leaves - 0.35)
    turned = jnp.clip(1.5 * (look.season - 0.55) + 0.7 * s.raw[0] + 0.8 * s.number[0] - 0.3, 0, 1)
    autumn = jnp.array([[2.2], [1.0], [0.5]])
    hue = blend(jnp.ones((3, 1)), autumn, 0.8 * turned)
    light = blend(jnp.ones((3, 1)), tint(1.3, 1.05, 0.6), jnp.clip(leaves, 0.0, 1.0))
    # The leaves seen through gaps of the near side are darker.
    radius = sum((axis / half) ** 2 for axis, half in zip(s.local, s.half, strict=True))
    shade = jnp.where(radius < 0.9, 0.45, 0.62)
    return shade * s.colour * hue * light * jnp.minimum(bright, 3.0)


def trunk(s: Surface, look: Look) -> jax.Array:
    """Bark: noise stretched along the trunk, with moss or lichen on some trunks."""
    bark = 1.0 + 1.0 * s.detail[2] + 1.6 * s.detail[3] + 1.2 * s.detail[4]
    moss = jnp.clip(2.5 * (s.detail[1] + s.number[0] - 0.75), 0.0, 0.6)
    return blend(s.colour, tint(0.1, 0.12, 0.05), moss) * jnp.clip(bark, 0.2, 2.5)


def person(s: Surface, look: Look) -> jax.Array:
    """Cloth with folds, and stripes on some clothes."""
    folds = 1.0 + 0.9 * s.detail[2] + 0.7 * s.detail[3]
    stripe = mark(jnp.mod(s.local[1], 0.12) - 0.06, 0.03, s.footprint[1]) * (s.number[1] > 0.93)
    return blend(s.colour, 0.6, 0.7 * stripe) * jnp.clip(folds, 0.3, 2.0)


def metal(s: Surface, look: Look) -> tuple[jax.Array, jax.Array]:
    """Galvanised or painted metal with streaks; some posts have coloured bands."""
    streaks = 1.0 + 0.35 * s.detail[1] + 0.3 * s.detail[2] + 0.2 * s.detail[3]
    painted = blend(s.colour, tint(0.05, 0.2, 0.12), 0.8 * (s.number[0] > 0.85))
    band = mark(jnp.mod(s.height, 0.5) - 0.25, 0.12, s.footprint[1])
    band *= (s.number[1] > 0.92) & (s.half[1] < 0.8)
    return blend(painted, tint(0.65, 0.08, 0.06), band) * streaks, 0.12 * jnp.ones_like(s.facing)


def sign(s: Surface, look: Look) -> jax.Array:
    """A sign with a rim and a symbol on a coloured face; some show their gray back."""
    x = s.along / jnp.maximum(jnp.where(jnp.abs(s.normal[0]) > 0.5, s.half[2], s.half[0]), 1e-3)
    y = s.local[1] / s.half[1]
    soft = s.across / s.half[1]
    rim = jnp.clip((jnp.maximum(jnp.abs(x), jnp.abs(y)) - 0.8) / soft + 0.5, 0.0, 1.0)
    bar = mark(x, 0.16 + 0.3 * s.number[1], soft) * mark(y - 0.2 * s.number[2], 0.45, soft)
    lines = mark(jnp.mod(2.5 * y, 1.0) - 0.5, 0.2, 2.5 * soft) * mark(x, 0.65, soft)
    symbol = jnp.where(s.number[0] < 0.5, bar, lines)
    bright = jnp.sum(s.colour, axis=0) > 1.2
    ink = jnp.where(bright, tint(0.05, 0.05, 0.06), tint(0.85, 0.85, 0.83))
    frame = jnp.where(bright & (s.number[1] > 0.4), tint(0.65, 0.04, 0.04), ink)
    face = blend(blend(s.colour, ink, symbol), frame, rim)
    back = s.number[2] > 0.85
    return jnp.where(back, 0.35 + 0.05 * s.detail[1], face)


def plain(s: Surface, look: Look) -> jax.Array:
    """The colour of the solid with some dirt; rows of tiles on faces that slope like roofs."""
    upward = -s.normal[1]
    slanting = (upward > 0.3) & (upward < 0.97)
    rows = 0.5 * joints(s.local[0], 0.3, 0.04, s.footprint[0])
    rows = jnp.maximum(rows, 0.3 * joints(s.local[2], 0.22, 0.03, s.footprint[2]))
    dirt = 1.0 + 0.3 * s.detail[1] + 0.3 * s.detail[2] + 0.3 * s.detail[3]
    tiles = (1.0 - rows) * (1.0 + 0.5 * s.detail[0] + 0.3 * s.detail[1] + 0.5 * s.detail[3])
    return s.colour * jnp.where(slanting, tiles, dirt)
