"""Laser scans of a street, with noise and missing echoes, and their sparse depth map.

The scanner is above and behind the camera and sees parts of the background that are hidden from the
camera. As in KITTI's raw depth maps, points of the background appear among those of the foreground.
"""

import math

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import Size, rotate
from fcfrnet_jax.sensors.camera import Camera, Corner, project
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.streets.rays.raycast import trace
from fcfrnet_jax.streets.scan.shots import window_rays
from fcfrnet_jax.streets.scene.solids import (
    BUILDING,
    CABIN,
    CAR,
    FOLIAGE,
    METAL,
    PLAIN,
    SIGN,
    TRUCK,
    WHEEL,
)
from fcfrnet_jax.streets.scene.street import Street

# One ray in PASSING passes through the crown or the car window that it hits.
PASSING = 8
# The mean distance in metres that rays travel inside a crown.
CROWN_DEPTH = 0.3
# The cosine of the angle of incidence on leaves, which point in all directions.
LEAF_FACING = 0.5
# Adjacent echoes that differ by less than this, in metres, may merge into one between them.
PULSE = 2.5
# The probability of an echo at a short distance and normal incidence, for materials that are shiny,
# dark or transparent.
ECHO = {BUILDING: 0.94, CABIN: 0.35, FOLIAGE: 0.93, METAL: 0.9, PLAIN: 0.6, SIGN: 0.95, WHEEL: 0.5}


def scan(
    key: jax.Array,
    street: Street,
    lidar: Lidar,
    camera: Camera,
    window: Size,
    corner: Corner,
) -> jax.Array:
    """Scans the part of a street that a window of the camera's image may show.

    Args:
      key: the JAX random key.
      street: the street, with the pose of the camera.
      lidar: the scanner.
      camera: the camera.
      window: (height, width) of the window in pixels.
      corner: (top, left) of the window in the image.

    Returns:
      The echoes `[3, N]` in metres in the camera's frame; infinite where a shot has no echo.
    """
    keys = jax.random.split(key, 4)
    rays = window_rays(keys[0], lidar, camera, window, corner)
    shape = rays.direction.shape[1:]
    turn = jnp.asarray(lidar.rotation(), jnp.float32)
    direction = rotate(turn, rays.direction.reshape(3, -1))
    up = jnp.asarray(lidar.rotation()[:, 1:2], jnp.float32)
    height = jnp.broadcast_to(rays.height, shape).ravel()
    origin = jnp.array(lidar.position, jnp.float32)[:, None] - up * height
    world_origin = street.camera[:, None] + rotate(street.rotation, origin)
    world_direction = rotate(street.rotation, direction)

    distance, index = trace(street, world_origin, world_direction, shape[1])
    grid = distance.reshape(shape)
    echo, reflectance, material = (array[index].reshape(shape) for array in surfaces(street))
    facing = _facing(grid, lidar, rays.direction)
    facing = jnp.where(material == FOLIAGE, LEAF_FACING, facing)
    lost = _lost(keys[1], lidar, grid, echo, reflectance, facing)
    ranges = _ranges(keys[2], lidar, grid, material)
    ranges = jnp.where(lost, jnp.inf, ranges).ravel()
    ranges = _through(keys[3], street, world_origin, world_direction, distance, index, ranges)
    ranges = jnp.where(ranges < lidar.reach, ranges, jnp.inf)
    return origin + jnp.where(jnp.isfinite(ranges), ranges, jnp.inf) * direction


def sparse_map(points: jax.Array, camera: Camera, window: Size, corner: Corner) -> jax.Array:
    """Projects the points `[3, N]` of a scan to sparse depth `[h, w]` in metres, 0 = missing.

    If several points fall on a pixel, the nearest is kept. Points that are hidden from the camera
    are kept, as in KITTI's raw depth maps.
    """
    pixel, z = project(points, camera, window, corner)
    nearest = jnp.full(math.prod(window), jnp.inf).at[pixel].min(z, mode="drop")
    return jnp.where(jnp.isfinite(nearest), nearest, 0.0).reshape(window)


def surfaces(street: Street) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the properties `[N]` of all solids that determine their echoes.

    They are the probability of an echo at normal incidence, the reflectance in [0, 1], and the
    material. Car paint is shiny: dark cars and lorries return little light to the scanner.
    """
    solids = street.solids()
    reflectance = jnp.mean(solids.colour, axis=-1)
    echo = jnp.full(reflectance.shape, 0.98)
    for material, chance in ECHO.items():
        echo = jnp.where(solids.material == material, chance, echo)
    painted = (solids.material == CAR) | (solids.material == TRUCK)
    echo = jnp.where(painted, jnp.clip(0.2 + 1.1 * jnp.sqrt(reflectance), 0.0, 0.95), echo)
    return echo, reflectance, solids.material


def share_returned(
    reflectance: jax.Array | float, facing: jax.Array, distance: jax.Array, lidar: Lidar
) -> jax.Array:
    """Returns the probability that enough light of a shot returns from a diffuse surface.

    The light decreases with the square of the distance and follows Lambert's law. A small constant
    accounts for rough surfaces, which return some light even at grazing incidence.

    Args:
      reflectance: in [0, 1].
      facing: the cosine of the angle of incidence.
      distance: metres.
      lidar: the scanner, for its sensitivity.
    """
    signal = reflectance * (facing + 0.05) * (lidar.sensitivity / distance) ** 2
    return -jnp.expm1(-signal)


def _lost(
    key: jax.Array,
    lidar: Lidar,
    ranges: jax.Array,
    echo: jax.Array,
    reflectance: jax.Array,
    facing: jax.Array,
) -> jax.Array:
    """Draws which shots `[B, A]` have no echo, by distance, angle of incidence and material.

    Missing echoes are clustered, as they are on real surfaces.
    """
    chance_key, patch_key = jax.random.split(key)
    hit = jnp.isfinite(ranges)
    near = jnp.where(hit, ranges, 1e3)
    kept = echo * share_returned(reflectance, facing, near, lidar)
    shape = ranges.shape
    coarse = jax.random.uniform(patch_key, (shape[0] // 4 + 2, shape[1] // 10 + 2))
    patch = jax.image.resize(coarse, shape, "linear")
    kept = kept ** (3.0 * patch * patch)
    return ~hit | (jax.random.uniform(chance_key, shape) > kept)


def _facing(ranges: jax.Array, lidar: Lidar, direction: jax.Array) -> jax.Array:
    """Estimates the cosine of the angle of incidence `[B, A]` from adjacent ranges."""
    elevation = -direction[1, :, :1]
    rise = jnp.diff(elevation, axis=0, append=elevation[-1:] - 0.006)
    down = jnp.diff(ranges, axis=0, append=ranges[-1:]) / jnp.minimum(rise, -1e-3)
    steps = jnp.abs(jnp.diff(ranges, axis=1)) / math.radians(lidar.azimuth_step)
    # The neighbour with the more similar range is on the same surface, except on thin objects.
    across = jnp.minimum(
        jnp.pad(steps, ((0, 0), (0, 1)), mode="edge"), jnp.pad(steps, ((0, 0), (1, 0)), mode="edge")
    )
    across = jnp.where(across > 20.0 * ranges, 0.0, across)
    return 1.0 / jnp.sqrt(1.0 + (down / ranges) ** 2 + (across / ranges) ** 2)


def _ranges(key: jax.Array, lidar: Lidar, ranges: jax.Array, material: jax.Array) -> jax.Array:
    """Adds noise, penetration of crowns, and mixed echoes at edges to the ranges `[B, A]`."""
    normal, uniform = jax.random.normal(key, ranges.shape), jax.random.uniform(key, ranges.shape)
    noise = lidar.range_noise * normal
    # Centred so that half of the echoes of a crown come from in front of its modelled surface.
    inside = -CROWN_DEPTH * (jnp.log1p(-uniform) + math.log(2.0))
    inside = jnp.where(material == FOLIAGE, inside, 0.0)
    beyond = jnp.pad(jnp.diff(ranges, axis=1), ((0, 0), (0, 1)), mode="edge")
    edge = (jnp.abs(beyond) > 0.3) & (jnp.abs(beyond) < PULSE) & (material != FOLIAGE)
    mixed = jnp.where(edge & (uniform < 0.2), 5.0 * uniform * beyond, 0.0)
    return ranges + noise + inside + mixed


def _through(
    key: jax.Array,
    street: Street,
    origin: jax.Array,
    direction: jax.Array,
    distance: jax.Array,
    index: jax.Array,
    ranges: jax.Array,
) -> jax.Array:
    """Lets some rays pass through crowns and car windows; returns the new ranges `[R]`.

    The arguments are named as in `scan`: `distance` to the first solid, `ranges` as measured.
    """
    count = distance.shape[0]
    groups = count // PASSING
    chosen = PASSING * jnp.arange(groups) + jax.random.randint(key, (groups,), 0, PASSING)
    reach, material = distance[chosen], street.solids().material[index[chosen]]
    porous = ((material == FOLIAGE) | (material == CABIN)) & jnp.isfinite(reach)
    inside = jnp.where(porous, reach + 0.05, jnp.nan)
    start = jnp.broadcast_to(origin, direction.shape)[:, chosen] + inside * direction[:, chosen]
    behind, _ = trace(street, start, direction[:, chosen])
    return ranges.at[chosen].set(jnp.where(porous, inside + behind, ranges[chosen]))
