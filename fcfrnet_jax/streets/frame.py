"""Rendered frames of procedural streets: image, exact depth, sparse depth and ground truth.

The camera's axes are those of KITTI's rectified images: x right, y down, z along the optical axis.
The world frame is described in `scene/street.py`. All functions are pure and can be mapped over
keys, distances and corners.
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

# Between the two frames of a pair: the range of the distance that the car moves, in metres, and the
# largest angle by which it turns, in radians.
STRIDE = (0.3, 1.5)
VEER = 0.02


class RenderedFrame(NamedTuple):
    """One rendered frame. Depths are float32 `[h, w]` in metres along the optical axis.

    Attributes:
      image: uint8 `[h, w, 3]` RGB.
      depth: the exact depth, 0 = sky.
      sparse_depth: what the laser scanner measures, including its errors, 0 = missing.
      ground_truth: semi-dense depth with gaps like those of KITTI's ground truth, 0 = missing.
    """

    image: jax.Array
    depth: jax.Array
    sparse_depth: jax.Array
    ground_truth: jax.Array


class RenderedPair(NamedTuple):
    """A frame, the image of a nearby camera, and the relative pose of the two cameras.

    A point p in the first camera's frame is `rotation` p + `translation` in the nearby camera's.

    Attributes:
      frame: the frame.
      near_image: uint8 `[h, w, 3]` RGB, the same window of the nearby camera's image.
      rotation: `[3, 3]`.
      translation: `[3]` metres.
    """

    frame: RenderedFrame
    near_image: jax.Array
    rotation: jax.Array
    translation: jax.Array


class _View(NamedTuple):
    """What the camera sees: the image `[h, w, 3]`, and depth in metres and solid index `[h, w]`."""

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
    dense: float | jax.Array = 0.0,
) -> RenderedFrame:
    """Renders one frame of the street generated from `key`.

    Args:
      key: the JAX random key; the same key, distance and window give the same frame.
      camera: the size of the image and its intrinsics.
      lidar: the scanner; see `scaled_rig` for one that suits smaller images.
      travelled: the position of the car in metres along the street.
      window: (height, width) of the part of the image to render; None for the whole image. The
        depth is that of the whole image. Noise and missing points are drawn for each window.
      corner: (top, left) of the window in the image, integers. They are not checked: the window
        must lie within the image.
      dense: the probability of dense traffic.

    Raises:
      ValueError: the window is empty or larger than the image.
    """
    window = check_window(camera, window)
    street = make_street(key, travelled, dense=dense)
    keys = jax.random.split(_frame_key(key, travelled), 3)
    view = _see(keys[0], street, camera, window, corner)
    return _measure(keys[1], keys[2], street, lidar, camera, corner, view)


@partial(jax.jit, static_argnames=("camera", "lidar"))
def scan_points(key: jax.Array, camera: Camera = KITTI, lidar: Lidar = HDL64) -> jax.Array:
    """Returns the raw scan of a frame of `render_scene`, of which its sparse depth is a projection.

    Args:
      key, camera, lidar: as for `render_scene`.

    Returns:
      The points `[3, N]` in metres in the camera's frame; infinite where a shot has no echo.
    """
    street = make_street(key, 0.0)
    keys = jax.random.split(_frame_key(key, 0.0), 3)
    return scan(keys[1], street, lidar, camera, check_window(camera, None), (0, 0))


@partial(jax.jit, static_argnames=("camera", "lidar"))
def scan_scene(
    key: jax.Array, camera: Camera, lidar: Lidar, dense: float | jax.Array = 0.0
) -> jax.Array:
    """Returns another scanner's sparse depth `[h, w]` of the frame that `render_scene` renders.

    Args:
      key, camera, dense: as for `render_scene`.
      lidar: the other scanner.
    """
    window = check_window(camera, None)
    street = make_street(key, 0.0, dense=dense)
    scan_key = jax.random.fold_in(_frame_key(key, 0.0), 4)
    points = scan(scan_key, street, lidar, camera, window, (0, 0))
    return sparse_map(points, camera, window, (0, 0))


@partial(jax.jit, static_argnames=("camera", "lidar", "window"))
def render_pair(
    key: jax.Array,
    camera: Camera = KITTI,
    lidar: Lidar = HDL64,
    travelled: float | jax.Array = 0.0,
    window: Size | None = None,
    corner: Corner = (0, 0),
) -> RenderedPair:
    """Renders a frame, and the image from a position 0.3 to 1.5 m ahead or behind.

    The arguments, the errors and the frame are those of `render_scene`.
    """
    window = check_window(camera, window)
    frame_key = _frame_key(key, travelled)
    motion_key, near_key = jax.random.split(jax.random.fold_in(frame_key, 3))
    stride, way, veer = jax.random.uniform(motion_key, (3,))
    stride = (STRIDE[0] + (STRIDE[1] - STRIDE[0]) * stride) * jnp.where(way < 0.5, -1.0, 1.0)
    share = jnp.array([0.0, 1.0])
    stops = (travelled + share * stride, share * VEER * (2.0 * veer - 1.0))
    keys = jax.random.split(frame_key, 3)

    def visit(stop: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[Street, _View]:
        image_key, place, turned = stop
        street = make_street(key, place, turned)
        return street, _see(image_key, street, camera, window, corner)

    # A loop, so that the long program for an image is compiled once.
    streets, views = jax.lax.map(visit, (jnp.stack([keys[0], near_key]), *stops))
    here, there = (jax.tree.map(lambda leaf, i=i: leaf[i], streets) for i in range(2))
    view = jax.tree.map(lambda leaf: leaf[0], views)
    turn_back = partial(jnp.matmul, there.rotation.T, precision="highest")
    return RenderedPair(
        _measure(keys[1], keys[2], here, lidar, camera, corner, view),
        views.image[1],
        turn_back(here.rotation),
        turn_back(here.camera - there.camera),
    )


def _frame_key(key: jax.Array, travelled: float | jax.Array) -> jax.Array:
    """Returns the key of a frame's noise, a different one for each millimetre along the street."""
    return jax.random.fold_in(key, jnp.rint(1000.0 * jnp.asarray(travelled)).astype(jnp.int32))


def _see(key: jax.Array, street: Street, camera: Camera, window: Size, corner: Corner) -> _View:
    directions = camera_rays(*window, window_matrix(camera, corner), street.rotation)
    distance, index = trace(street, street.camera[:, None], directions, window[1])
    light = shade(street, directions, distance, index, jnp.float32(camera.fx), window[1])
    image = develop(key, light.reshape(3, *window))
    # Rays have unit length along the optical axis, so the distance along them is the depth.
    depth = jnp.where(jnp.isfinite(distance), distance, 0.0)
    return _View(image, depth.reshape(window), index.reshape(window))


def _measure(
    scan_key: jax.Array,
    truth_key: jax.Array,
    street: Street,
    lidar: Lidar,
    camera: Camera,
    corner: Corner,
    view: _View,
) -> RenderedFrame:
    """Adds sparse depth and ground truth to what the camera sees."""
    window = (view.depth.shape[0], view.depth.shape[1])
    points = scan(scan_key, street, lidar, camera, window, corner)
    sparse_depth = sparse_map(points, camera, window, corner)
    echo, _, material = (array[view.solid] for array in surfaces(street))
    leaves = material == FOLIAGE
    ground_truth = keep_ground_truth(
        truth_key, view.depth, echo, leaves, sparse_depth, lidar, camera, corner
    )
    return RenderedFrame(view.image, view.depth, sparse_depth, ground_truth)
