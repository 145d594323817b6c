"""Frames of procedural streets: pictures, exact depth, laser scans and ground truth.

The camera frame is KITTI's rectified one, x right, y down, z along the optical axis; `street.py`
tells the world frame. All functions are pure; they can be mapped over keys, distances and corners.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.camera import KITTI, Camera, Corner, check_window, window_matrix
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.picture.develop import develop
from fcfrnet_jax.streets.picture.shading import shade
from fcfrnet_jax.streets.rays.raycast import camera_rays, trace
from fcfrnet_jax.streets.scan.echoes import scan, sparse_map, surfaces
from fcfrnet_jax.streets.scan.ground_truth import keep_ground_truth
from fcfrnet_jax.streets.scene.solids import FOLIAGE
from fcfrnet_jax.streets.scene.street import Street, make_street

# Metres and radians that the car moves and turns between the frames of a pair, at most.
STRIDE = (0.3, 1.5)
VEER = 0.02


class Frame(NamedTuple):
    """One frame: `image` uint8 `[h, w, 3]`; else float32 `[h, w]` metres along the optical axis.

    `depth` is the true depth, 0 = sky; `sparse_depth` what a laser scanner measures, with its
    errors; `ground_truth` the true depth where a benchmark would know it; both 0 = missing.
    """

    image: jax.Array
    depth: jax.Array
    sparse_depth: jax.Array
    ground_truth: jax.Array


class Pair(NamedTuple):
    """A frame, the picture uint8 `[h, w, 3]` of a nearby camera, and the way from one to the other.

    A point p in the frame of the first camera is `rotation` p + `translation` in that of the nearby
    one: `[3, 3]`, and `[3]` in metres. The nearby picture is the same window of its camera's.
    """

    frame: Frame
    near_image: jax.Array
    rotation: jax.Array
    translation: jax.Array


class _Seen(NamedTuple):
    """The image `[h, w, 3]`, the depth in metres and the index of the solid `[h, w]`."""

    image: jax.Array
    depth: jax.Array
    solid: jax.Array


@partial(jax.jit, static_argnames=("camera", "lidar", "window"))
def render_scene(
    key: jax.Array,
    camera: Camera = KITTI,
    lidar: Lidar = HDL64,
    travelled: float | jax.Array = 0.0,
    window: Size | None = None,
    corner: Corner = (0, 0),
) -> Frame:
    """Renders one frame of the street that `key` makes, from a car `travelled` metres along it.

    Args:
      key: the JAX random key; the same key, distance and window give the same frame.
      camera: the picture's size and calibration.
      lidar: the scanner; `thinned` makes one that suits a smaller picture.
      travelled: metres along the street.
      window: (height, width) of the part of the picture to render, None for all of it. It has the
        depth of the whole picture; noise and what is lost are drawn for each window.
      corner: (top, left) of the window in the picture; whole numbers from (0, 0) to where the
        window still fits, which is not checked.

    Raises:
      ValueError: the window is empty or larger than the picture.
    """
    window = check_window(camera, window)
    street = make_street(key, travelled)
    keys = jax.random.split(_frame_key(key, travelled), 3)
    seen = _see(keys[0], street, camera, window, corner)
    return _measure(keys[1], keys[2], street, lidar, camera, corner, seen)


@partial(jax.jit, static_argnames=("camera", "lidar", "window"))
def render_pair(
    key: jax.Array,
    camera: Camera = KITTI,
    lidar: Lidar = HDL64,
    travelled: float | jax.Array = 0.0,
    window: Size | None = None,
    corner: Corner = (0, 0),
) -> Pair:
    """Renders a frame, and a picture from where the car is 0.3 to 1.5 m before or after it.

    The arguments and the error are those of `render_scene`, as is the frame.
    """
    window = check_window(camera, window)
    frame_key = _frame_key(key, travelled)
    motion_key, near_key = jax.random.split(jax.random.fold_in(frame_key, 3))
    stride, way, veer = jax.random.uniform(motion_key, (3,))
    stride = (STRIDE[0] + (STRIDE[1] - STRIDE[0]) * stride) * jnp.where(way < 0.5, -1.0, 1.0)
    moved = jnp.array([0.0, 1.0])
    stops = (travelled + moved * stride, moved * VEER * (2.0 * veer - 1.0))
    keys = jax.random.split(frame_key, 3)

    def visit(stop: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Street, _Seen]:
        picture_key, place, turned = stop
        street = make_street(key, place, turned)
        return street, _see(picture_key, street, camera, window, corner)

    # One after the other, so that the long program of a picture is compiled once.
    streets, pictures = jax.lax.map(visit, (jnp.stack([keys[0], near_key]), *stops))
    here, there = (jax.tree.map(lambda leaf, i=i: leaf[i], streets) for i in range(2))
    seen = jax.tree.map(lambda leaf: leaf[0], pictures)
    turn_back = partial(jnp.matmul, there.rotation.T, precision="highest")
    return Pair(
        _measure(keys[1], keys[2], here, lidar, camera, corner, seen),
        pictures.image[1],
        turn_back(here.rotation),
        turn_back(here.camera - there.camera),
    )


def _frame_key(key: jax.Array, travelled: float | jax.Array) -> jax.Array:
    """The key of a frame's noise, which is another every millimetre of the way."""
    return jax.random.fold_in(key, jnp.rint(1000.0 * jnp.asarray(travelled)).astype(jnp.int32))


def _see(key: jax.Array, street: Street, camera: Camera, window: Size, corner: Corner) -> _Seen:
    directions = camera_rays(*window, window_matrix(camera, corner), street.rotation)
    distance, index = trace(street, street.camera[:, None], directions, window[1])
    light = shade(street, directions, distance, index, jnp.float32(camera.fx), window[1])
    image = develop(key, light.reshape(3, *window))
    # Rays have unit length along the optical axis, so their parameter is the depth.
    depth = jnp.where(jnp.isfinite(distance), distance, 0.0)
    return _Seen(image, depth.reshape(window), index.reshape(window))


def _measure(
    scan_key: jax.Array,
    truth_key: jax.Array,
    street: Street,
    lidar: Lidar,
    camera: Camera,
    corner: Corner,
    seen: _Seen,
) -> Frame:
    """Adds what the scanner measures and what a benchmark would know to what the camera sees."""
    window = (seen.depth.shape[0], seen.depth.shape[1])
    points = scan(scan_key, street, lidar, camera, window, corner)
    sparse_depth = sparse_map(points, camera, window, corner)
    echo, _, material = (array[seen.solid] for array in surfaces(street))
    leaves = material == FOLIAGE
    ground_truth = keep_ground_truth(
        truth_key, seen.depth, echo, leaves, sparse_depth, lidar, camera, corner
    )
    return Frame(seen.image, seen.depth, sparse_depth, ground_truth)
