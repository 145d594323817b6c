"""The shots of a spinning laser scanner into the field of view of a camera."""

import math
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.camera import Camera, Corner
from fcfrnet_jax.sensors.lidar import Lidar

# In metres. Echoes of nearer objects may be missed at the border of a window.
NEAREST = 3.0


class Rays(NamedTuple):
    """A shots of each of B beams: origin `height` `[B, 1]` and unit `direction` `[3, B, A]`.

    Both are in the scanner's frame; the height is in metres above the scanner's position.
    """

    height: jax.Array
    direction: jax.Array


def _field(
    lidar: Lidar, camera: Camera, window: Size, top: Any, left: Any, xp: Any
) -> tuple[Any, Any, Any, Any]:
    """Returns the lowest and highest azimuth and elevation, in radians, of a window's content.

    `xp` is numpy or jax.numpy; `top` and `left` are its arrays, of the same shape.
    """
    height, width = window
    turn = lidar.rotation().T
    azimuths, elevations = [], []
    # The extremes are on the outline of the window, either at the nearest distance or at infinity.
    columns, rows = (-0.5, 0.5 * width - 0.5, width - 0.5), (-0.5, height - 0.5)
    heights = (min(lidar.heights), max(lidar.heights))
    for right, down, depth, up in product(columns, rows, (NEAREST, 1e4), heights):
        point = (
            depth * (left + right - camera.cx) / camera.fx - lidar.position[0],
            depth * (top + down - camera.cy) / camera.fy - lidar.position[1],
            depth - lidar.position[2],
        )
        x, y, z = (sum(r * p for r, p in zip(row, point, strict=True)) for row in turn)
        azimuths.append(xp.arctan2(x, z))
        elevations.append(xp.arctan2(-y - up, xp.hypot(x, z)))
    return (
        *(pick(xp.stack(azimuths), axis=0) for pick in (xp.min, xp.max)),
        *(pick(xp.stack(elevations), axis=0) for pick in (xp.min, xp.max)),
    )


def _counts(lidar: Lidar, camera: Camera, window: Size) -> tuple[int, int]:
    """Returns how many adjacent beams, and shots of each, cover the window at any corner."""
    # Between these corners the numbers change by less than the beam and the shots added below.
    top, left = np.meshgrid(
        np.linspace(0, camera.height - window[0], 16),
        np.linspace(0, camera.width - window[1], 16),
    )
    low, high, bottom, summit = _field(lidar, camera, window, top, left, np)
    margin = np.radians(4 * lidar.elevation_error)
    elevations = np.radians(lidar.elevations)[:, None, None]
    beams = ((elevations > bottom - margin) & (elevations < summit + margin)).sum(axis=0).max()
    shots = math.ceil((high - low).max() / math.radians(lidar.azimuth_step))
    return min(int(beams) + 1, len(lidar.elevations)), shots + 4


def window_rays(key: jax.Array, lidar: Lidar, camera: Camera, window: Size, corner: Corner) -> Rays:
    """Returns the shots whose echoes may lie in the window.

    The same key gives the same shots for all windows, as parts of whole rings.
    """
    top, left = (jnp.asarray(value, jnp.float32) for value in corner)
    low, _, _, summit = _field(lidar, camera, window, top, left, jnp)
    beams, shots = _counts(lidar, camera, window)
    step = math.radians(lidar.azimuth_step)
    margin = math.radians(4 * lidar.elevation_error)
    elevations = jnp.radians(jnp.array(lidar.elevations, jnp.float32))
    first = jnp.sum(elevations >= summit + margin)
    first = jnp.minimum(first, len(lidar.elevations) - beams)
    error_key, phase_key = jax.random.split(key)
    error = jax.random.normal(error_key, elevations.shape)
    elevations += math.radians(lidar.elevation_error) * error
    phase = jax.random.uniform(phase_key, elevations.shape)

    def cut(values: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(values, (first,), (beams,))[:, None]

    # Each ring has a random phase, which also applies to the rounding of its azimuths.
    azimuth = step * (jnp.floor(low / step) - 1.0 + jnp.arange(shots) + cut(phase))
    if lidar.encoder_step:
        unit = math.radians(lidar.encoder_step)
        azimuth = unit * (jnp.floor(azimuth / unit) + cut(phase))
    elevation = cut(elevations)
    level = jnp.cos(elevation)
    up = jnp.broadcast_to(jnp.sin(elevation), azimuth.shape)
    direction = jnp.stack([level * jnp.sin(azimuth), -up, level * jnp.cos(azimuth)])
    return Rays(cut(jnp.array(lidar.heights, jnp.float32)), direction)
