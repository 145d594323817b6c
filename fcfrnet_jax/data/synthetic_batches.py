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

from fcfrnet_jax import steps
from fcfrnet_jax.data.augment import Augmentation
from fcfrnet_jax.data.lidar import HDL64, Lidar
from fcfrnet_jax.data.pinhole import KITTI, Camera
from fcfrnet_jax.data.synthetic import render_pair, render_scene
from fcfrnet_jax.data.variation import clutter_gain, mirror, moved, recolour
from fcfrnet_jax.geometry import Size, crop_box, crop_intrinsics

Example = dict[str, jax.Array]


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
) -> Iterator[tuple[np.ndarray, steps.Batch]]:
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
    source = steps.make_source(lambda position: street_example(streets, position))
    index, count = process
    share = batch_size // count
    start = first_step * batch_size + index * share
    while True:
        positions = start + np.arange(share)
        yield positions, source(positions)
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
    street_key, corner_key, variation_key = jax.random.split(key, 3)
    example = _render(street_key, streets, _corner(corner_key, streets))
    return vary(variation_key, example, streets)


def vary(key: jax.Array, example: Example, streets: Streets) -> Example:
    """Changes an example of `street_example`: fewer beams and points, other colours, mirrored."""
    settings = streets.augmentation
    beam_key, points_key, colour_key, flip_key, clutter_key = jax.random.split(key, 5)
    images = [name for name in ("image", "near_image") if name in example]
    if settings.beams:
        kept = _kept_beams(beam_key, example, streets)
        example = example | {"sparse_depth": jnp.where(kept, example["sparse_depth"], 0.0)}
    if settings.point_dropout:
        depth = example["sparse_depth"]
        draws = jax.random.uniform(points_key, (1 + depth.size,))
        kept = draws[1:].reshape(depth.shape) >= settings.point_dropout * draws[0]
        example = example | {"sparse_depth": jnp.where(kept, depth, 0.0)}
    limits = (settings.brightness, settings.contrast, settings.saturation)
    if any(limits):
        factors = 1.0 + jnp.array(limits) * jax.random.uniform(colour_key, (3,), minval=-1.0)
        recoloured = recolour(jnp.stack([example[name] for name in images]), factors)
        example = example | dict(zip(images, recoloured, strict=True))
    if streets.clutter:
        gain = clutter_gain(clutter_key, streets.crop, streets.clutter)
        for name in images:
            lit = jnp.clip(jnp.round(gain * example[name]), 0.0, 255.0)
            example = example | {name: lit.astype(jnp.uint8)}
    if streets.misalignment:
        shift_key = jax.random.fold_in(key, 5)
        shift = streets.misalignment * jax.random.uniform(shift_key, (2,), minval=-1.0)
        example = example | {name: moved(example[name], shift) for name in images}
    if settings.flip:
        chosen = jax.random.uniform(flip_key) < settings.flip
        mirrored = mirror(example)
        example = {name: jnp.where(chosen, mirrored[name], example[name]) for name in example}
    return example


def lidar_beam(depth: jax.Array, intrinsics: jax.Array, lidar: Lidar) -> jax.Array:
    """Tells which beam, 0 the highest, measured each pixel of sparse depth, by its elevation.

    Args:
      depth: `[H, W, 1]` metres; where it is 0 the result means nothing.
      intrinsics: `[4]` (fx, fy, cx, cy) in pixels.
      lidar: what measured it.

    Returns:
      int32 `[H, W, 1]`.
    """
    row, column = jnp.indices(depth.shape[:2])
    fx, fy, cx, cy = intrinsics
    point = jnp.stack([(column - cx) / fx, (row - cy) / fy, jnp.ones_like(row)])
    offset = np.array(lidar.position, np.float32)[:, None, None]
    # In the scanner's frame; written out, as a matrix product might be rounded to bfloat16.
    x, y, z = (
        sum(row[i] * leg for i, leg in enumerate(point * depth[..., 0] - offset))
        for row in lidar.rotation().T.astype(np.float32)
    )
    away, beam = jnp.hypot(x, z), jnp.zeros(depth.shape[:2], jnp.int32)
    steepness = np.tan(np.radians(np.convolve(lidar.elevations, (0.5, 0.5), "valid")))
    heights = np.convolve(lidar.heights, (0.5, 0.5), "valid")
    # A point belongs to the beams beneath every border between two beams that it lies beneath.
    for tangent, height in zip(steepness.tolist(), heights.tolist(), strict=True):
        beam += -y - height < tangent * away
    return beam[..., None]


def _kept_beams(key: jax.Array, example: Example, streets: Streets) -> jax.Array:
    """Which pixels stay where some beams, evenly spaced, are left out; perhaps all of them."""
    settings, count = streets.augmentation, len(streets.lidar.elevations)
    chance, choice, phase = jax.random.uniform(key, (3,))
    fewer = jnp.array(settings.beams)[(choice * len(settings.beams)).astype(jnp.int32)]
    beam = lidar_beam(example["sparse_depth"], example["intrinsics"], streets.lidar)
    beam += (phase * count).astype(jnp.int32)
    return (beam * fewer % count < fewer) | (chance >= settings.beam_probability)


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
