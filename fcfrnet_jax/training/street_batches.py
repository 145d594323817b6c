"""Training batches of rendered streets, made by the devices that train on them.

The stream has no end and no state: what it holds at a position, a frame of a street of its own,
depends on the seed and the position alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import IMAGES, Augmentation, Example, augment
from fcfrnet_jax.geometry import Size, crop_box, crop_intrinsics
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.frame import render_pair, render_scene
from fcfrnet_jax.streets.picture.disturb import clutter_gain, shift_image


@dataclass(frozen=True)
class Streets:
    """What the examples are.

    Attributes:
      seed: of the streets and of all that is drawn about them.
      crop: (height, width) of the window that is rendered.
      augmentation: how the windows are varied; `beams` counts of the scanner's.
      near: give each example a nearby frame for the photometric loss.
      clutter: strength, in [0, 1], of patterns laid over the images that have nothing to do with
        depth; see `clutter_gain`.
      misalignment: pixels, at most so far is an image moved along either axis against its depth
        maps, as the calibration of a real camera and scanner is off.
      camera, lidar: the uncropped picture and the scanner.

    Raises:
      ValueError: a crop larger than the picture, or a strength outside its range.
    """

    seed: int
    crop: Size
    augmentation: Augmentation
    near: bool = False
    clutter: float = 0.0
    misalignment: float = 0.0
    camera: Camera = KITTI
    lidar: Lidar = HDL64

    def __post_init__(self) -> None:
        crop_box((self.camera.height, self.camera.width), self.crop)
        if not 0.0 <= self.clutter <= 1.0:
            raise ValueError(f"clutter should be between 0 and 1, got {self.clutter}")
        if not 0.0 <= self.misalignment < min(self.crop):
            raise ValueError(
                f"misalignment should be pixels between 0 and the crop's {min(self.crop)}, got "
                f"{self.misalignment}"
            )


def scene_batches(
    streets: Streets, *, batch_size: int, first_step: int = 0, process: tuple[int, int] = (0, 1)
) -> Iterator[tuple[np.ndarray, parallel.Batch]]:
    """Opens the stream: step s, counted from 0, gets the positions from s B to s B + B - 1.

    A batch is the same, but for rounding, whatever the number of devices and processes, and is
    still being made when it is returned.

    Args:
      streets: what the examples are.
      batch_size: frames a step of all processes together, B.
      first_step: of the first batch.
      process: (index, count): the contiguous part of each batch that this process gets.

    Returns:
      Endless batches: the positions, int64 `[b]` with b = B / count, and the arrays of
      `street_example`, sharded over the devices: `[D, b / D, ...]`.
    """
    render = parallel.map_examples(lambda batch: street_example(streets, batch["position"]))
    index, count = process
    share = batch_size // count
    start = first_step * batch_size + index * share
    while True:
        positions = start + np.arange(share)
        yield positions, render(parallel.shard({"position": positions.astype(np.uint32)}))
        start += batch_size


def street_example(streets: Streets, position: jax.Array) -> Example:
    """Renders the frame at a position of the stream, uint32.

    Returns:
      image: uint8 [H, W, 3] RGB;
      sparse_depth, ground_truth: float32 [H, W, 1] metres, 0 = missing;
      intrinsics: float32 [4] (fx, fy, cx, cy) pixels of the crop;
      and with `near`
      near_image: uint8 [H, W, 3] RGB, the nearby camera's picture in the same window;
      rotation, translation: float32 [3, 3] and [3] metres: a point p of the frame's camera is
        rotation p + translation in the nearby one's.
    """
    key = jax.random.fold_in(jax.random.key(streets.seed), position)
    street_key, corner_key, image_key, augmentation_key = jax.random.split(key, 4)
    example = _render(street_key, streets, _corner(corner_key, streets))
    images = {
        name: disturb(image_key, example[name], streets) for name in IMAGES if name in example
    }
    return augment(augmentation_key, example | images, streets.augmentation, streets.lidar)


def disturb(key: jax.Array, image: jax.Array, streets: Streets) -> jax.Array:
    """Adds clutter to an image, uint8 `[H, W, 3]`, and moves it against the depth maps.

    Images of one example get the same disturbance if they get the same key.
    """
    clutter_key, shift_key = jax.random.split(key)
    if streets.clutter:
        gain = clutter_gain(clutter_key, streets.crop, streets.clutter)
        image = jnp.clip(jnp.round(gain * image), 0.0, 255.0).astype(jnp.uint8)
    if streets.misalignment:
        shift = streets.misalignment * jax.random.uniform(shift_key, (2,), minval=-1.0)
        image = shift_image(image, shift)
    return image


def _render(key: jax.Array, streets: Streets, corner: tuple[Any, Any]) -> Example:
    camera = streets.camera
    view = (key, camera, streets.lidar, 0.0, streets.crop, corner)
    near = {}
    if streets.near:
        frame, near_image, rotation, translation = render_pair(*view)
        near = {"near_image": near_image, "rotation": rotation, "translation": translation}
    else:
        frame = render_scene(*view)
    intrinsics = crop_intrinsics((camera.fx, camera.fy, camera.cx, camera.cy), *corner)
    return near | {
        "image": frame.image,
        "sparse_depth": frame.sparse_depth[..., None],
        "ground_truth": frame.ground_truth[..., None],
        "intrinsics": jnp.stack([jnp.float32(value) for value in intrinsics]),
    }


def _corner(key: jax.Array, streets: Streets) -> tuple[Any, Any]:
    """Where the window lies in the picture: anywhere, or at the bottom centre."""
    size = (streets.camera.height, streets.camera.width)
    if not streets.augmentation.random_crop:
        return crop_box(size, streets.crop)
    margins = jnp.array(size) - jnp.array(streets.crop)
    top, left = jax.random.randint(key, (2,), 0, margins + 1)
    return top, left
