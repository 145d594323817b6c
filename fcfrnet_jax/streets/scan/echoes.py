"""What a laser scanner measures of a street: echoes with noise and losses, and their depth map.

The scanner sits above and behind the camera, so that it sees past the edges of what the camera
sees: points of the background appear among those of the foreground, as in KITTI's raw depth maps.
"""

import math

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import Size
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
    join,
)
from fcfrnet_jax.streets.scene.street import Street

# One ray in so many goes on through the crown or the window that it hits.
PASSING = 8
# Metres from where the first rays to enter a crown are thrown back to where they are on average.
CROWN_DEPTH = 0.3
# The cosine of the angle at which leaves are met, which turn every way.
LEAF_FACING = 0.5
# Of two neighbouring echoes at most so many metres apart, some are one echo between the two.
PULSE = 2.5
# The chance of an echo from near by and head-on, for what is shiny, dark or transparent.
ECHO = {BUILDING: 0.94, CABIN: 0.35, FOLIAGE: 0.93, METAL: 0.9, PLAIN: 0.6, SIGN: 0.95, WHEEL: 0.5}


def scan(
    key: jax.Array,
    street: Street,
    lidar: Lidar,
    camera: Camera,
    window: Size,
    corner: Corner,
) -> jax.Array:
    """Scans what a window of the camera's picture may show.

    Returns:
      The echoes `[3, N]` in the camera's frame, in metres; infinite where there is none.
    """
    keys = jax.random.split(key, 4)
    rays = window_rays(keys[0], lidar, camera, window, corner)
    shape = rays.direction.shape[1:]
    turn = jnp.asarray(lidar.rotation(), jnp.float32)
    direction = _rotate(turn, rays.direction.reshape(3, -1))
    up = jnp.asarray(lidar.rotation()[:, 1:2], jnp.float32)
    height = jnp.broadcast_to(rays.height, shape).ravel()
    origin = jnp.array(lidar.position, jnp.float32)[:, None] - up * height
    world_origin = street.camera[:, None] + _rotate(street.rotation, origin)
    world_direction = _rotate(street.rotation, direction)

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
    """Returns sparse depth `[h, w]` in metres, 0 = missing, of the points `[3, N]` of a scan.

    Of several points in a pixel the nearest stays. Points that something hides from the camera stay
    as well, as they do in KITTI's raw depth maps.
    """
    pixel, z = project(points, camera, window, corner)
    nearest = jnp.full(math.prod(window), jnp.inf).at[pixel].min(z, mode="drop")
    return jnp.where(jnp.isfinite(nearest), nearest, 0.0).reshape(window)


def surfaces(street: Street) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns each solid's chance of an echo head-on, reflectance in [0, 1] and material, `[N]`.

    Paint is shiny: of dark cars and lorries hardly more comes back than a scanner notices.
    """
    solids = join(street.boxes, street.ellipsoids, street.cylinders)
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
    """Returns the chance in [0, 1] that enough light of a shot comes back from a dull surface.

    The light falls with the square of the distance and by Lambert's law; `facing` is the cosine of
    the angle of incidence. A rough surface sends some back however flat the light falls onto it.
    """
    signal = reflectance * (facing + 0.05) * (lidar.sensitivity / distance) ** 2
    return -jnp.expm1(-signal)


def _rotate(matrix: jax.Array, vectors: jax.Array) -> jax.Array:
    # Written out: a matrix product would be rounded to bfloat16 or TF32 on some platforms.
    x, y, z = vectors
    return jnp.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix])


def _lost(
    key: jax.Array,
    lidar: Lidar,
    ranges: jax.Array,
    echo: jax.Array,
    reflectance: jax.Array,
    facing: jax.Array,
) -> jax.Array:
    """Whether each shot `[B, A]` brings no echo: by distance, angle of incidence and material.

    Losses come in patches, as surfaces do.
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
    """The cosine `[B, A]` of the angle of incidence, from the ranges of neighbouring shots."""
    elevation = -direction[1, :, :1]
    rise = jnp.diff(elevation, axis=0, append=elevation[-1:] - 0.006)
    down = jnp.diff(ranges, axis=0, append=ranges[-1:]) / jnp.minimum(rise, -1e-3)
    steps = jnp.abs(jnp.diff(ranges, axis=1)) / math.radians(lidar.azimuth_step)
    # The nearer neighbour is on the same surface, unless the thing is as thin as a post.
    across = jnp.minimum(
        jnp.pad(steps, ((0, 0), (0, 1)), mode="edge"), jnp.pad(steps, ((0, 0), (1, 0)), mode="edge")
    )
    across = jnp.where(across > 20.0 * ranges, 0.0, across)
    return 1.0 / jnp.sqrt(1.0 + (down / ranges) ** 2 + (across / ranges) ** 2)


def _ranges(key: jax.Array, lidar: Lidar, ranges: jax.Array, material: jax.Array) -> jax.Array:
    """What is measured `[B, A]`: with noise, within crowns, between an edge and what is behind."""
    normal, uniform = jax.random.normal(key, ranges.shape), jax.random.uniform(key, ranges.shape)
    noise = lidar.range_noise * normal
    # Half of the leaves that throw a ray back lie before the crown's drawn surface.
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
    """The ranges `[R]` once some rays have gone on through crowns and car windows.

    All arguments are as in `scan`: `distance` to the first solid, `ranges` what has been measured.
    """
    count = distance.shape[0]
    groups = count // PASSING
    chosen = PASSING * jnp.arange(groups) + jax.random.randint(key, (groups,), 0, PASSING)
    reach, material = distance[chosen], surfaces(street)[2][index[chosen]]
    porous = ((material == FOLIAGE) | (material == CABIN)) & jnp.isfinite(reach)
    inside = jnp.where(porous, reach + 0.05, jnp.nan)
    start = jnp.broadcast_to(origin, direction.shape)[:, chosen] + inside * direction[:, chosen]
    behind, _ = trace(street, start, direction[:, chosen])
    return ranges.at[chosen].set(jnp.where(porous, inside + behind, ranges[chosen]))
