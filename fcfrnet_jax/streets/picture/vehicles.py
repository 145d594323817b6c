"""Textures of cars, vans and lorries: paint, glass, lamps and tyres.

Each function takes the surfaces that R rays hit and the look of the scene, and returns the albedo
`[3, R]` and the specular reflectance `[R]`. The z axis of a vehicle's frame points forwards.
"""

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.picture.colours import blend, tint
from fcfrnet_jax.streets.picture.looks import Look
from fcfrnet_jax.streets.picture.surfaces import Surface
from fcfrnet_jax.streets.scene.value_noise import hash_cell, mark

# The reflectance of lacquer and glass (n = 1.5) at normal incidence.
NORMAL_REFLECTANCE = 0.04


def fresnel(facing: jax.Array) -> jax.Array:
    """Returns the specular reflectance `[R]` of lacquer and glass (Schlick's approximation, 1994).

    `facing` `[R]` is the cosine of the angle of incidence.
    """
    return NORMAL_REFLECTANCE + (1.0 - NORMAL_REFLECTANCE) * (1.0 - facing) ** 5


def car(s: Surface, look: Look) -> tuple[jax.Array, jax.Array]:
    """Car bodies: paint with seams and a dark sill, lamps, a grille and number plates."""
    x, _, z = s.local
    height = s.height
    on_end, on_side = jnp.abs(s.normal[2]) > 0.5, jnp.abs(s.normal[0]) > 0.5
    middle = 0.5 * s.half[1]
    soft = s.across
    seams = mark(jnp.abs(z - 0.1) - 0.55, 0.008, s.footprint[2]) * on_side
    strip = mark(height - middle, 0.03, soft) * on_side * (s.number[0] > 0.6)
    dirt = 1.0 - 0.3 * jnp.clip(0.5 - height, 0.0, 0.5) + 0.1 * s.detail[2]
    body = s.colour * dirt * (1.0 - 0.7 * jnp.maximum(seams, strip))
    lower = jnp.clip((0.12 + 0.12 * s.number[1] - height) / soft, 0.0, 1.0)
    body = blend(body, 0.03, lower)

    lamp_x = s.half[0] - 0.2
    rise = 2.0 * s.half[1] - 0.22
    lamp = mark(jnp.abs(x) - lamp_x, 0.17, soft) * mark(height - rise, 0.09, soft) * on_end
    bulb = mark(jnp.abs(x) - lamp_x, 0.06, soft) * mark(height - rise, 0.05, soft)
    behind = z < 0
    glow = jnp.where(behind, tint(0.5, 0.02, 0.02), 0.35 + 0.5 * bulb)
    body = blend(body, glow, lamp)
    low = jnp.where(behind, 0.55, 0.25) * 2.0 * s.half[1] + 0.02
    plate = mark(x, 0.26, soft) * mark(height - low, 0.06, soft) * on_end
    letter = hash_cell(jnp.floor(x / 0.075), jnp.floor(512.0 * s.number[0]), 0.0 * x)
    ink = mark(jnp.mod(x, 0.075) - 0.04, 0.025 * letter, soft) * mark(height - low, 0.035, soft)
    body = blend(body, 0.8 - 0.65 * ink, plate)
    grille = mark(x, 0.45, soft) * mark(height - 0.6 * 2.0 * s.half[1], 0.07, soft)
    body = blend(body, 0.03, grille * on_end * ~behind)
    shine = fresnel(s.facing) + 0.12 * s.number[2]
    return body, shine * (1.0 - jnp.maximum(lower, plate))


def cabin(s: Surface, look: Look) -> tuple[jax.Array, jax.Array]:
    """Car cabins: a painted roof, windows and pillars; slanted faces are front or rear windows."""
    upward, side = -s.normal[1], jnp.abs(s.normal[0]) > 0.5
    slanting = (upward > 0.15) & (upward < 0.97)
    rise = s.local[1] / s.half[1]
    # Only the upper half of a lorry's cab has windows.
    low = jnp.where(s.half[1] > 0.95, -0.05, 0.9)
    soft = s.across / s.half[1]
    panes = jnp.clip((rise + 0.82) / soft + 0.5, 0.0, 1.0)
    panes *= jnp.clip((low - rise) / soft + 0.5, 0.0, 1.0)
    pillar = jnp.mod(s.along + 0.1, 1.15) - 0.575
    posts = mark(pillar, 0.045, s.on_face) * side
    ends = jnp.where(side, s.half[2], s.half[0]) - jnp.abs(s.along)
    panes *= jnp.clip((ends - 0.07) / s.on_face + 0.5, 0.0, 1.0) * (1.0 - posts)
    screen = jnp.clip((s.half[0] - jnp.abs(s.local[0]) - 0.07) / s.footprint[0] + 0.5, 0.0, 1.0)
    glass = jnp.where(slanting, screen, panes * (upward < 0.15))
    # Seats and passengers appear as dark and light spots behind the glass.
    pane = tint(0.025, 0.03, 0.032) * (1.0 + 1.5 * s.detail[2] + s.detail[1])
    pane += 0.06 * mark(jnp.abs(s.along) - 0.35, 0.1, s.on_face) * (rise > 0.3) * ~side
    return blend(s.colour, pane, glass), fresnel(s.facing) + 0.28 * glass


def wheel(s: Surface, look: Look) -> tuple[jax.Array, jax.Array]:
    """Wheels: a tyre around a rim with spokes."""
    size = s.half[2]
    a, b = s.local[2] / size, (s.height - size) / size
    radius, soft = jnp.hypot(a, b), s.across / size
    rim = jnp.clip((0.66 - radius) / soft + 0.5, 0.0, 1.0) * (jnp.abs(s.normal[0]) > 0.5)
    # cos(5 a) as a polynomial of cos(a).
    cosine = a / jnp.maximum(radius, 1e-3)
    fifth = cosine * (16.0 * cosine**4 - 20.0 * cosine**2 + 5.0)
    spokes = jnp.clip(3.0 * fifth + 0.6 + 4.0 * soft, 0.12, 1.0)
    spokes = jnp.where(radius < 0.18, 1.0, spokes)
    tyre = jnp.where(radius < 1.0, 0.025 * (1.0 + s.detail[2]), 0.008)
    return blend(tyre, 0.4 * spokes * jnp.ones((3, 1)), rim), 0.15 * rim


def truck(s: Surface, look: Look) -> tuple[jax.Array, jax.Array]:
    """Vans and lorries: stripes or letters on the sides; doors, lamps and a plate at the rear."""
    on_end, on_side = jnp.abs(s.normal[2]) > 0.5, jnp.abs(s.normal[0]) > 0.5
    x, height, soft = s.local[0], s.height, s.across
    tall = 2.0 * s.half[1]
    dirt = 1.0 + 0.12 * s.detail[1] + 0.1 * s.detail[2] - 0.25 * jnp.exp(-3.0 * height)
    band = mark(height - tall * (0.25 + 0.5 * s.number[0]), 0.12 * tall, soft) * on_side
    hue = blend(tint(0.02, 0.08, 0.45), tint(0.55, 0.1, 0.02), s.number[1])
    body = blend(s.colour, hue + 0.3 * s.number[2], band * (s.number[0] > 0.45))
    letters = mark(jnp.mod(s.along, 0.45) - 0.22, 0.1 + 0.05 * s.number[2], s.on_face)
    letters *= mark(height - 0.62 * tall, 0.08 * tall, soft) * (jnp.abs(s.along) < 0.6 * s.half[2])
    body = blend(body, tint(0.08, 0.1, 0.2), letters * on_side * (s.number[1] > 0.4))
    seam = mark(x, 0.02, soft) + mark(jnp.abs(x) - s.half[0], 0.05, soft)
    body *= (1.0 - 0.6 * jnp.minimum(seam, 1.0) * on_end) * dirt
    window = mark(jnp.abs(x) - 0.45 * s.half[0], 0.36 * s.half[0], soft)
    window *= mark(height - 0.72 * tall, 0.13 * tall, soft) * on_end * (s.number[2] > 0.4)
    window *= s.half[1] < 1.2
    body = blend(body, 0.03, window)
    behind = s.local[2] < 0
    lamp = mark(jnp.abs(x) - s.half[0] + 0.13, 0.08, soft) * mark(height - 0.25, 0.16, soft)
    body = blend(body, jnp.where(behind, tint(0.5, 0.03, 0.02), 0.75), lamp * on_end)
    plate = mark(x, 0.26, soft) * mark(height - 0.15, 0.06, soft) * on_end
    return blend(body, 0.75, plate), 0.5 * fresnel(s.facing) + 0.3 * window
