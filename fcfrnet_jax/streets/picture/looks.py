"""The look of a scene: weather, sky, haze, exposure, and the state of the road."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.streets.picture.colours import blend
from fcfrnet_jax.streets.scene.street import Street


class Look(NamedTuple):
    """Parameters that all surfaces of a scene share.

    Colours are linear RGB `[3, 1]`, all others are scalars, in [0, 1] unless stated otherwise.

    Attributes:
      sun: the light of the sun on a surface that faces it.
      ambient: the light of the sky on a horizontal surface.
      overcast: 1 = the sun is not visible.
      zenith, horizon, cloud: the colours of the sky overhead and at the horizon, and of clouds.
      clouds: controls the amount of clouds, in [-0.5, 1].
      haze: the distance in metres over which 63% of the light is replaced by that of the horizon.
      exposure: the factors from light to the camera's scale, where 1 is white; `[3, 1]`.
      contrast: the exponent of the tone curve around mid gray, at least 1.
      saturation: the factor of the saturation, 1 = unchanged.
      asphalt: the albedo of asphalt.
      wet, worn, cracked: the state of the road.
      marks, verge, paving: select the road markings, the roadside and the pavement.
      season: 0 = green, 1 = brown.
    """

    sun: jax.Array
    ambient: jax.Array
    overcast: jax.Array
    zenith: jax.Array
    horizon: jax.Array
    cloud: jax.Array
    clouds: jax.Array
    haze: jax.Array
    exposure: jax.Array
    contrast: jax.Array
    saturation: jax.Array
    asphalt: jax.Array
    wet: jax.Array
    worn: jax.Array
    cracked: jax.Array
    marks: jax.Array
    verge: jax.Array
    paving: jax.Array
    season: jax.Array


def looks(street: Street) -> Look:
    """Draws the look of a street from its seed, so that it is the same in all views."""
    number = iter(_numbers(street, 24))

    def draw(low: float, high: float) -> jax.Array:
        return low + (high - low) * next(number)

    # About half of the scenes are sunny, a tenth overcast, the others in between.
    overcast = jnp.clip(2.8 * next(number) - 1.5, 0.0, 1.0)
    warm, tint, blue = draw(-1.0, 1.0), draw(-1.0, 1.0), draw(0.0, 1.0)
    sunny = jnp.array([1.0, 0.93, 0.8]) * (1.0 - overcast)
    shade = draw(0.05, 0.2) + 0.5 * overcast
    clear = blend(jnp.array([0.16, 0.42, 0.75]), jnp.array([0.35, 0.62, 0.8]), blue)
    gray = jnp.array([0.8, 0.86, 0.9]) * draw(0.6, 1.15)
    zenith = blend(clear * draw(0.2, 0.65), gray, overcast)
    white = blend(jnp.array([0.62, 0.8, 0.88]), jnp.array([0.95, 0.97, 0.95]), draw(0.0, 1.0))
    horizon = blend(white * draw(0.45, 1.15), gray, overcast)
    exposure = jnp.exp2(draw(-0.05, 1.6))
    balance = jnp.stack([1.0 + 0.09 * warm, 1.0 + 0.05 * tint, 1.0 - 0.11 * warm])
    dry = jnp.clip(4.0 * next(number) - 3.0, 0.0, 1.0)
    return Look(
        sun=sunny[:, None],
        ambient=(shade * blend(jnp.array([0.82, 1.0, 1.2]), jnp.ones(3), overcast))[:, None],
        overcast=overcast,
        zenith=zenith[:, None],
        horizon=horizon[:, None],
        cloud=(blend(jnp.full(3, 1.25), gray, overcast))[:, None],
        clouds=draw(-0.5, 1.0),
        # Most scenes are clear; one in six is misty.
        haze=jnp.exp(draw(6.2, 8.5) - 1.0 * (next(number) < 0.16)),
        exposure=(exposure * balance)[:, None],
        contrast=draw(1.0, 1.5),
        saturation=draw(0.85, 1.45),
        asphalt=0.09 + 0.2 * next(number) ** 1.5,
        wet=dry,
        worn=next(number),
        cracked=next(number),
        marks=next(number),
        verge=next(number),
        paving=next(number),
        season=next(number),
    )


def sky(up: jax.Array, noise: jax.Array, look: Look) -> jax.Array:
    """Returns the light of the sky `[3, R]`.

    Args:
      up: `[R]`, the sine of the elevation.
      noise: `[R]` in [-0.5, 0.5], for the clouds.
      look: the look of the scene.
    """
    high = jnp.clip(up, 0.0, 1.0)
    clear = look.horizon + (look.zenith - look.horizon) * (1.0 - (1.0 - high) ** 4)
    cloud = jnp.clip(3.0 * (noise + 0.6 * look.clouds - 0.35), 0.0, 0.85)
    return clear + (look.cloud * (1.0 + 0.35 * noise) - clear) * cloud


def mirrored(up: jax.Array, noise: jax.Array, look: Look) -> jax.Array:
    """Returns the light `[3, R]` that a reflecting surface receives from a direction.

    It approximates houses and trees by a dark band of uneven height below the sky. The arguments
    are those of `sky`.
    """
    dark = look.ambient * jnp.array([[0.22], [0.24], [0.2]]) + 0.12 * look.sun
    share = jnp.clip(4.0 * (up - 0.22 + 0.45 * noise), 0.0, 1.0)
    return dark + (sky(up, noise, look) - dark) * share


def grade(light: jax.Array, look: Look) -> jax.Array:
    """Applies the exposure, white balance, saturation and contrast of the camera to `[3, R]`."""
    exposed = look.exposure * light
    gray = jnp.array([[0.3], [0.59], [0.11]]) * exposed
    gray = jnp.sum(gray, axis=0)
    vivid = jnp.maximum(gray + look.saturation * (exposed - gray), 1e-4)
    # As exp and log, which XLA vectorises on CPUs, unlike a power.
    return 0.3 * jnp.exp(look.contrast * jnp.log(vivid / 0.3))


def _numbers(street: Street, count: int) -> jax.Array:
    """Returns uniform random numbers `[count]` in [0, 1)."""
    # By a hash function: another call of the generator would take longer to compile.
    words = street.look + jnp.arange(count, dtype=jnp.uint32) * jnp.uint32(0x85EBCA6B)
    for shift in (16, 13, 15):
        words = (words ^ (words >> shift)) * jnp.uint32(0xC2B2AE35)
    return (words >> 8).astype(jnp.float32) / (1 << 24)
