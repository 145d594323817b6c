"""Shading: the light that reaches the camera along rays, from materials, sun, shadows and sky."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.picture.colours import blend
from fcfrnet_jax.streets.picture.facades import building, wall
from fcfrnet_jax.streets.picture.looks import Look, grade, looks, mirrored, sky
from fcfrnet_jax.streets.picture.surfaces import Surface, find_surfaces
from fcfrnet_jax.streets.picture.textures import (
    foliage,
    ground,
    metal,
    pavement,
    person,
    plain,
    sign,
    trunk,
)
from fcfrnet_jax.streets.picture.vehicles import cabin, car, fresnel, truck, wheel
from fcfrnet_jax.streets.rays.raycast import trace
from fcfrnet_jax.streets.scene.solids import CAR, FOLIAGE, GROUND
from fcfrnet_jax.streets.scene.street import Street
from fcfrnet_jax.streets.scene.value_noise import value_noise
from fcfrnet_jax.streets.strips import in_strips, settle
from fcfrnet_jax.streets.vectors import Vector, turn_level

# The number of rays that a CPU shades at once; the intermediate results then stay in its cache.
STRIP = 4096

Finish = tuple[jax.Array, jax.Array]  # albedo `[3, R]` and specular reflectance `[R]`
Pattern = Callable[[Surface, Look], Finish | jax.Array]


def shade(
    street: Street,
    directions: jax.Array,
    distance: jax.Array,
    index: jax.Array,
    focal: jax.Array,
    width: int | None = None,
) -> jax.Array:
    """Returns the light `[3, R]`, linear RGB, exposed so that 1 is white; never NaN.

    Args:
      street: the street; its seed also determines the weather and the camera's settings.
      directions: `[3, R]`, the rays from the camera, as for `trace`. Their length along the optical
        axis must be 1: lenses are darker for longer rays, which are off the axis.
      distance, index: `[R]`, the results of `trace` for these rays.
      focal: the focal length in pixels; details smaller than a pixel are faded out.
      width: the width of the image in pixels if the rays are those of an image, as for `trace`.
    """
    look = looks(street)
    sunlit = _sunlight(street, look, directions, distance, width)
    colour = partial(_colour, street, look, focal)
    rays = (directions, distance, index, sunlit)
    if distance.shape[0] <= STRIP:
        return colour(*rays)
    strips = partial(in_strips, colour, STRIP)
    return jax.lax.platform_dependent(*rays, cpu=strips, default=colour)


def _sunlight(
    street: Street, look: Look, directions: jax.Array, distance: jax.Array, width: int | None
) -> jax.Array:
    """Returns the share of sunlight `[R]` (overcast: skylight) that is not blocked by solids."""
    # Shadow rays start just in front of the surface. If it is overcast, they go straight up.
    reach = jnp.where(jnp.isfinite(distance), 0.9995 * distance - 0.02, 0.0)
    start = street.camera[:, None] + reach * directions
    above = jnp.array([0.1, -1.0, 0.1])
    toward = jnp.where(look.overcast > 0.7, above, street.sun)
    # NaN = nothing to cast, for the rays into the sky.
    begin = jnp.where(jnp.isfinite(distance), start, jnp.nan)
    way, blocker = trace(street, begin, toward[:, None], width)
    blocked = jnp.isfinite(way)
    # Some light falls through leaves, in specks.
    x, y, z = start + jnp.where(blocked, way, 0.0) * toward[:, None]
    specks = value_noise(2.3 * x, 2.3 * y, 2.3 * z) + 0.5 * value_noise(7.0 * x, 7.0 * y, 7.0 * z)
    through = jnp.clip(3.0 * (specks - 0.95), 0.0, 1.0)
    leafy = jnp.take(street.solids().material, blocker) == FOLIAGE
    return jnp.where(blocked, jnp.where(leafy, through, 0.0), 1.0)


def _colour(
    street: Street,
    look: Look,
    focal: jax.Array,
    directions: jax.Array,
    distance: jax.Array,
    index: jax.Array,
    sunlit: jax.Array,
) -> jax.Array:
    s = find_surfaces(street, directions, distance, index, focal)
    albedo, mirror = _material(s, look, street)
    light = settle(partial(_light, look, street.sun), s, sunlit, mirror)
    diffuse = light.direct * look.sun + light.opening * look.ambient + light.bounce * look.sun
    shine = mirrored(light.mirrored_up, s.raw[1], look) + light.glint * look.sun
    lit = albedo * diffuse + light.mirror * shine
    lit = blend(0.7 * look.horizon, lit, light.clear)
    clouds = 0.8 * s.raw[0] + 0.5 * s.raw[1] + 0.25 * s.raw[2]
    return grade(jnp.where(s.hit, lit, sky(s.up, clouds, look)) * light.lens, look)


def _material(s: Surface, look: Look, street: Street) -> Finish:
    """Returns the albedo `[3, R]` and the specular reflectance `[R]`."""

    def finish(pattern: Pattern) -> Callable[[], Finish]:
        def coloured() -> Finish:
            surface = pattern(s, look)
            albedo, gloss = surface if isinstance(surface, tuple) else (surface, 0.0)
            shape = s.facing.shape
            return jnp.broadcast_to(albedo, (3, *shape)), jnp.broadcast_to(gloss, shape)

        return coloured

    # In the order of the materials' numbers.
    road = partial(ground, street=street)
    patterns: list[Pattern] = [road, pavement, building, car, cabin, wheel, truck]
    patterns += [foliage, trunk, metal, sign, person, wall, plain]
    branches = [finish(pattern) for pattern in patterns]

    def add(finished: Finish, kind: jax.Array) -> tuple[Finish, None]:
        here = s.material == kind

        def paint() -> Finish:
            albedo, gloss = jax.lax.switch(kind, branches)
            return jnp.where(here, albedo, finished[0]), jnp.where(here, gloss, finished[1])

        return jax.lax.cond(_anywhere(here), paint, lambda: finished), None

    nothing = (jnp.zeros_like(s.colour), jnp.zeros_like(s.facing))
    # A loop with branches computes only the materials that occur in the strip.
    (albedo, mirror), _ = jax.lax.scan(add, nothing, jnp.arange(len(patterns)))
    return jnp.clip(albedo, 0.0, 1.0), jnp.clip(mirror, 0.0, 1.0)


@jax.custom_batching.custom_vmap
def _anywhere(mask: jax.Array) -> jax.Array:
    """Whether any element is true; under `vmap` in the whole batch, which keeps the branches."""
    return jnp.any(mask)


@_anywhere.def_vmap
def _anywhere_in_batch(
    axis_size: int, in_batched: list[bool], mask: jax.Array
) -> tuple[jax.Array, bool]:
    return _anywhere(mask), False


class _Light(NamedTuple):
    """The light at R surfaces; all arrays are `[R]`.

    Attributes:
      direct: the share of the sun's light.
      opening: the share of the sky's light.
      bounce: the share of the sun's light that arrives from the ground.
      mirror: the specular reflectance.
      mirrored_up: the sine of the elevation of the reflected ray.
      glint: the brightness of the sun's reflection.
      clear: the share of light that haze does not replace.
      lens: the vignetting of the lens.
    """

    direct: jax.Array
    opening: jax.Array
    bounce: jax.Array
    mirror: jax.Array
    mirrored_up: jax.Array
    glint: jax.Array
    clear: jax.Array
    lens: jax.Array


def _light(look: Look, sun: jax.Array, s: Surface, sunlit: jax.Array, mirror: jax.Array) -> _Light:
    leafy = s.material == FOLIAGE
    ruffled = (n + jnp.where(leafy, r, 0.0) for n, r in zip(s.normal, s.raw[1:4], strict=True))
    nx, ny, nz = _unit(*ruffled)
    cosine = _cosine(s, (nx, ny, nz), sun)
    # Leaves are translucent.
    cosine = jnp.where(leafy, 0.75 * cosine + 0.25, cosine)
    # Surfaces that face upwards see more of the sky; those near the ground see less of it.
    opening = 0.62 - 0.38 * ny
    opening *= 1.0 - 0.4 * jnp.exp(-2.5 * s.height) * (jnp.abs(s.normal[1]) < 0.7)
    opening *= 1.0 - look.overcast * 0.6 * (1.0 - sunlit)

    # Doors and panes are not exactly flat; the upper half of a car's side faces slightly upwards.
    bulge = 0.35 * jnp.clip(s.local[1] / s.half[1], -1.0, 1.0) * (s.material == CAR)
    nx, ny, nz = _unit(s.normal[0], s.normal[1] + bulge + 0.06 * s.raw[1], s.normal[2])
    twice = 2.0 * sum(v * n for v, n in zip(s.view, (nx, ny, nz), strict=True))
    rx, ry, rz = (v - twice * n for v, n in zip(s.view, (nx, ny, nz), strict=True))
    aligned = _cosine(s, (rx, ry, rz), sun)
    return _Light(
        direct=jnp.maximum(cosine, 0.0) * sunlit,
        opening=opening,
        bounce=0.05 * (1.0 + s.normal[1]),
        # Water on the road reflects at grazing angles only.
        mirror=jnp.where(s.material == GROUND, mirror * (fresnel(s.facing) + 0.05), mirror),
        mirrored_up=-ry,
        glint=12.0 * jnp.clip(60.0 * (aligned - 1.0) + 1.0, 0.0, 1.0) ** 4 * sunlit,
        clear=jnp.exp(-s.reach / look.haze),
        # Vignetting, weaker than the natural cos^4.
        lens=1.0 / (0.35 + 0.65 * s.length * s.length),
    )


def _unit(x: jax.Array, y: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    scale = jax.lax.rsqrt(x * x + y * y + z * z + 1e-6)
    return scale * x, scale * y, scale * z


def _cosine(s: Surface, vector: Vector, sun: jax.Array) -> jax.Array:
    """Returns the cosine between the sun and a unit vector in the solid's rotated frame."""
    x, y, z = vector
    x, z = turn_level(x, z, s.cos, s.sin)
    return x * sun[0] + y * sun[1] + z * sun[2]
