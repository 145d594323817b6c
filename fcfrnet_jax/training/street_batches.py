"""Training batches of rendered streets, made on the devices.

The stream is endless and has no state. Each position holds a frame of a different street, which
depends only on the seed and the position.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import IMAGES, Augmentation, Example, augment
from fcfrnet_jax.data.pipeline import share_of_batch
from fcfrnet_jax.geometry import Size, crop_box, crop_intrinsics
from fcfrnet_jax.sensors.camera import KITTI, Camera, Corner
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.frame import render_pair, render_scene
from fcfrnet_jax.streets.picture.disturb import clutter_gain, shift_image


@dataclass(frozen=True)
class Streets:
    """The settings of the rendered examples.

    Attributes:
      seed: of the streets and of everything random about the examples; not negative.
      crop: (height, width) in pixels of the window that is rendered.
      augmentation: applied to the windows.
      near: add to each example a nearby frame for the photometric loss.
      clutter: strength, in [0, 1], of patterns added to the images that are unrelated to depth; see
        `clutter_gain`.
      misalignment: the largest shift, in pixels along each axis, of an image relative to its depth
        maps. It imitates an inexact calibration of camera and scanner.
      camera: the camera of the whole image.
      lidar: the scanner.

    Raises:
      ValueError: the crop is larger than the image, a number is outside its range, or the
        augmentation keeps more beams than the scanner has.
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
            raise ValueError(f"clutter must be between 0 and 1, got {self.clutter}")
        if not 0.0 <= self.misalignment < min(self.crop):
            raise ValueError(
                f"misalignment must be at least 0 and less than the {min(self.crop)} pixels of the "
                f"crop, got {self.misalignment}"
            )
        beams = len(self.lidar.elevations)
        if max(self.augmentation.beams, default=0) > beams:
            raise ValueError(
                f"the scanner has {beams} beams, so augmentation.beams must be at most {beams}, "
                f"got {self.augmentation.beams}"
            )


def scene_batches(
    streets: Streets, *, batch_size: int, first_step: int = 0, process: tuple[int, int] = (0, 1)
) -> Iterator[tuple[np.ndarray, parallel.Batch]]:
    """Opens the stream: step s, counted from 0, gets the positions from s B to s B + B - 1.

    The batch of a step does not depend on the number of devices and processes, except for rounding.
    Batches are returned before the devices have finished computing them.

    Args:
      streets: the settings of the examples.
      batch_size: global batch size, B: the frames of all processes together.
      first_step: step of the first batch.
      process: (index, count): this process gets the contiguous part `index` of `count` of each
        batch.

    Returns:
      Endless batches: the positions, int64 `[b]` with b = B / count, and the arrays of
      `street_example`, sharded over the devices: `[D, b / D, ...]`.

    Raises:
      ValueError: with the first batch, for a process that does not exist or a batch size that is
        not divisible by the number of processes or devices.
    """
    render = parallel.map_examples(lambda batch: street_example(streets, batch["position"]))
    share = share_of_batch(batch_size, process)
    for step in itertools.count(first_step):
        positions = step * batch_size + np.arange(*share)
        yield positions, render(parallel.shard({"position": positions.astype(np.uint32)}))


def street_example(streets: Streets, position: jax.Array) -> Example:
    """Renders and augments the frame at a position of the stream, a uint32 scalar.

    Returns:
      A dict of
        image: uint8 [H, W, 3] RGB;
        sparse_depth, ground_truth: float32 [H, W, 1] metres, 0 = missing;
        intrinsics: float32 [4] (fx, fy, cx, cy) in pixels of the crop;
      and with `near`
        near_image: uint8 [H, W, 3] RGB, the same window of the nearby camera's image;
        rotation, translation: float32 [3, 3] and [3] metres: a point p in the frame's camera is
          rotation p + translation in the nearby camera.
    """
    key = jax.random.fold_in(jax.random.key(streets.seed), position)
    street_key, corner_key, image_key, augmentation_key = jax.random.split(key, 4)
    example = _render(street_key, streets, _corner(corner_key, streets))
    images = {
        name: disturb(image_key, example[name], streets) for name in IMAGES if name in example
    }
    return augment(augmentation_key, example | images, streets.augmentation, streets.lidar)


def disturb(key: jax.Array, image: jax.Array, streets: Streets) -> jax.Array:
    """Adds clutter to an image, uint8 `[H, W, 3]`, and shifts it relative to the depth maps.

    The same key gives the same disturbance, so the images of an example share one key.
    """
    clutter_key, shift_key = jax.random.split(key)
    if streets.clutter:
        gain = clutter_gain(clutter_key, streets.crop, streets.clutter)
        image = jnp.clip(jnp.round(gain * image), 0.0, 255.0).astype(jnp.uint8)
    if streets.misalignment:
        shift = streets.misalignment * jax.random.uniform(shift_key, (2,), minval=-1.0)
        image = shift_image(image, shift)
    return image


def _render(key: jax.Array, streets: Streets, corner: Corner) -> Example:
    """Renders the window whose first pixel is `corner`."""
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


def _corner(key: jax.Array, streets: Streets) -> Corner:
    """Returns (top, left) of the window: random, or at the bottom centre of the image."""
    size = (streets.camera.height, streets.camera.width)
    if not streets.augmentation.random_crop:
        return crop_box(size, streets.crop)
    margins = jnp.array(size) - jnp.array(streets.crop)
    top, left = jax.random.randint(key, (2,), 0, margins + 1)
    return top, left
