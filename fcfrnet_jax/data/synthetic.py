"""Frames of procedural streets, with the exact depth of every pixel and a simulated scanner.

They are for trying the program, not for judging a network. The camera frame is KITTI's rectified
one, x right, y down, z along the optical axis; `street.py` tells the world frame.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.data.raycast import camera_rays, trace, turn
from fcfrnet_jax.data.shading import shade
from fcfrnet_jax.data.street import Street, make_street

HEIGHT, WIDTH = 375, 1242
KITTI_INTRINSICS = ((721.5377, 0.0, 609.5593), (0.0, 721.5377, 172.854), (0.0, 0.0, 1.0))

SCANNER = (0.0, -0.08, -0.27)  # in the camera frame
SCANNER_RANGE = 80.0
SCANNER_BEAMS = 64
# Scans taken along the street, in metres: the first gives sparse depth, all of them ground truth.
SCANS = (0.0, -5.0, -4.0, -3.0, -2.0, -1.0, 1.0, 2.0, 3.0, 4.0, 5.0)


class Frame(NamedTuple):
    """One frame: `image` uint8 `[H, W, 3]`; else float32 `[H, W]` metres along the optical axis.

    `depth` is the true depth, 0 = sky; `sparse_depth` one scan with noise, `ground_truth` the true
    depth where any of eleven scans hit, both 0 = missing.
    """

    image: jax.Array
    depth: jax.Array
    sparse_depth: jax.Array
    ground_truth: jax.Array


@partial(jax.jit, static_argnames=("height", "width"))
def render_scene(
    key: jax.Array,
    travelled: float | jax.Array = 0.0,
    height: int = HEIGHT,
    width: int = WIDTH,
    intrinsics: jax.Array | tuple = KITTI_INTRINSICS,
) -> Frame:
    """Renders one frame of the street that `key` makes, from a car `travelled` metres along it.

    The scanner has 64 beams at KITTI's size (32 from +2 to -8.3 degrees, 32 from -8.8 to -24.3) in
    steps of about 0.17 degrees, and proportionally fewer in smaller pictures, so that sparse depth
    covers about the same share of the pixels. It sits where KITTI's does, so that it sees behind
    the edges of objects. Ranges have 2 cm of noise, end at 80 m, and some are lost.

    Args:
      key: the JAX random key; the same key and distance give the same frame.
      travelled: metres along the street, within about 5 of 0.
      height, width: of the picture in pixels.
      intrinsics: `[3, 3]` in pixels, the centre of the first pixel at (0, 0).
    """
    intrinsics = jnp.asarray(intrinsics, jnp.float32)
    street = make_street(key, travelled)
    noise_key = jax.random.fold_in(key, jnp.rint(1000.0 * jnp.asarray(travelled)).astype(jnp.int32))
    keys = jax.random.split(noise_key)

    directions = camera_rays(height, width, intrinsics, street.heading)
    distance, index = trace(street, street.camera[:, None], directions)
    colour = shade(street, directions, distance, index, intrinsics[0, 0])
    # Rays have unit length along the optical axis, so their parameter is the depth.
    depth = jnp.where(jnp.isfinite(distance), distance, 0.0).reshape(height, width)
    image = _develop(keys[0], colour.reshape(3, height, width))
    return Frame(image, depth, *_measure(keys[1], street, depth, intrinsics))


def _develop(key: jax.Array, colour: jax.Array) -> jax.Array:
    """Turns linear light `[3, H, W]` into a uint8 picture `[H, W, 3]`: lens blur, gamma, noise."""
    padded = jnp.pad(jnp.minimum(colour, 1.2), ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = 0.25 * padded[:, :-2] + 0.5 * padded[:, 1:-1] + 0.25 * padded[:, 2:]
    blurred = 0.25 * rows[..., :-2] + 0.5 * rows[..., 1:-1] + 0.25 * rows[..., 2:]
    picture = 255.0 * jnp.maximum(blurred, 0.0) ** (1.0 / 2.2)
    picture += 3.0 * jax.random.normal(key, picture.shape)
    return jnp.moveaxis(jnp.rint(jnp.clip(picture, 0.0, 255.0)).astype(jnp.uint8), 0, -1)


def _scan(
    street: Street,
    height: int,
    width: int,
    intrinsics: jax.Array,
    advance: jax.Array,
    pitch: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Scans the street `advance` metres `[S]` ahead of the camera, tilted up by `pitch` `[S]`.

    Returns the origins `[3, S, R]` and unit directions `[3, S, R]` of all rays, and their ranges
    `[S, R]` in metres, infinite without an echo.
    """
    # The HDL-64E's beams: two blocks, the upper one denser.
    elevations = np.concatenate([2.0 - np.arange(32) / 3.0, -8.83 - np.arange(32) / 2.0])
    beams = max(2, round(SCANNER_BEAMS * height / HEIGHT))
    elevations = np.interp(
        np.linspace(0, SCANNER_BEAMS - 1, beams), range(SCANNER_BEAMS), elevations
    )
    left = jnp.arctan(intrinsics[0, 2] / intrinsics[0, 0]) + 0.03
    right = jnp.arctan((width - intrinsics[0, 2]) / intrinsics[0, 0]) + 0.03
    azimuth = jnp.linspace(-left, right, round(486 * width / WIDTH))
    tilt = pitch[:, None] + jnp.radians(jnp.asarray(elevations, jnp.float32))
    advance, tilt, azimuth = (
        grid.ravel()
        for grid in jnp.broadcast_arrays(advance[:, None, None], tilt[..., None], azimuth)
    )
    level = jnp.cos(tilt)
    directions = jnp.stack([level * jnp.sin(azimuth), -jnp.sin(tilt), level * jnp.cos(azimuth)])
    directions = turn(directions, street.heading)
    mount = turn(jnp.array(SCANNER)[:, None], street.heading)
    origins = street.camera[:, None] + mount + jnp.array([[0.0], [0.0], [1.0]]) * advance
    ranges, _ = trace(street, origins, directions)
    ranges = jnp.where(ranges <= SCANNER_RANGE, ranges, jnp.inf)
    by_scan = (pitch.shape[0], -1)
    return origins.reshape(3, *by_scan), directions.reshape(3, *by_scan), ranges.reshape(by_scan)


def _measure(
    key: jax.Array, street: Street, depth: jax.Array, intrinsics: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns sparse depth, from the first scan, and ground truth, from all of them."""
    height, width = depth.shape
    noise_key, chance_key, pitch_key = jax.random.split(key, 3)
    advance = jnp.array(SCANS)
    # A driving car nods a little; without it the level beams of all scans would fall together.
    pitch = 0.006 * jax.random.uniform(pitch_key, advance.shape, minval=-1.0) * (advance != 0.0)
    origins, directions, ranges = _scan(street, height, width, intrinsics, advance, pitch)
    chance = jax.random.uniform(chance_key, ranges.shape)

    lost = 0.03 + 0.4 * (ranges[0] / SCANNER_RANGE) ** 2
    noisy = ranges[0] + 0.02 * jax.random.normal(noise_key, ranges[0].shape)
    noisy = jnp.where(chance[0] > lost, noisy, jnp.inf)
    points = origins[:, 0] + noisy * directions[:, 0]
    pixel, z = _project(points, street, height, width, intrinsics)
    nearest = jnp.full(height * width, jnp.inf).at[pixel].min(z, mode="drop")
    sparse_depth = jnp.where(jnp.isfinite(nearest), nearest, 0.0).reshape(height, width)

    points = (origins + ranges * directions).reshape(3, -1)
    pixel, z = _project(points, street, height, width, intrinsics)
    true = depth.ravel()[jnp.minimum(pixel, height * width - 1)]
    # The benchmark's check against stereo loses good points too: here one in three.
    kept = (chance.ravel() > 1.0 / 3.0) & (jnp.abs(z - true) < 0.03 * true)
    pixel = jnp.where(kept, pixel, height * width)
    hit = jnp.zeros(height * width, bool).at[pixel].set(True, mode="drop").reshape(height, width)
    return sparse_depth, jnp.where(hit, depth, 0.0)


def _project(
    points: jax.Array, street: Street, height: int, width: int, intrinsics: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns each world point's pixel, `v * width + u` or past the end if not seen, and depth."""
    x, y, z = turn(points - street.camera[:, None], -street.heading)
    u = jnp.rint(intrinsics[0, 0] * x / z + intrinsics[0, 2])
    v = jnp.rint(intrinsics[1, 1] * y / z + intrinsics[1, 2])
    # Points at infinity have coordinates that are not numbers and fail these comparisons.
    seen = (z > 0.1) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return jnp.where(seen, v * width + u, height * width).astype(jnp.int32), z
