"""Random changes of training examples: mirrored, recoloured, thinned out, cut elsewhere.

An op's outer call binds the settings, the inner function maps one example. All randomness comes
from the example's `seed`, int64 `[2]`, through tf.random.stateless_*: the same seed gives the same
change, whatever came before. TensorFlow is imported when an op is made.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

from fcfrnet_jax.data.pipeline import MAPS, Example, Op, crop_at
from fcfrnet_jax.geometry import Size

BEAMS = 64
# KITTI's scanner stands 8 cm above and 27 cm behind the camera; metres in the camera frame.
SCANNER = (0.0, -0.08, -0.27)
# Each op draws from a stream of its own, so that one setting does not change another's numbers.
_FLIP, _COLOUR, _BEAMS, _POINTS, _CROP = range(5)


@dataclass(frozen=True)
class Augmentation:
    """How training examples are varied. The default is the reference's: flip and colour.

    Attributes:
      flip: probability of a mirror image.
      brightness, contrast, saturation: factors are drawn from 1 - value to 1 + value.
      random_crop: whether the crop lies anywhere, instead of at the bottom centre.
      beam_probability: probability that whole LiDAR beams are left out.
      beams: how many of the `BEAMS` then stay: one of these numbers, evenly drawn.
      point_dropout: up to this share of the points of sparse depth is left out, evenly drawn for
        each example.

    Raises:
      ValueError: a value outside 0..1, a number of beams outside 1..64, or one of the two settings
        of beams without the other.
    """

    flip: float = 0.5
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    random_crop: bool = False
    beam_probability: float = 0.0
    beams: tuple[int, ...] = ()
    point_dropout: float = 0.0

    def __post_init__(self) -> None:
        shares = "flip brightness contrast saturation beam_probability point_dropout"
        for name in shares.split():
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} should be between 0 and 1, got {getattr(self, name)}")
        if not all(1 <= count <= BEAMS for count in self.beams):
            raise ValueError(f"beams should be between 1 and {BEAMS}, got {self.beams}")
        if (self.beam_probability > 0.0) != bool(self.beams):
            raise ValueError(
                "beam_probability and beams go together, got "
                f"{self.beam_probability} and {self.beams}"
            )


def augment(settings: Augmentation) -> Op:
    """All changes but the crop, in the order recolour, mirror, leave out beams, leave out points.

    Maps an example with `seed`, `sparse_depth` and `intrinsics`, and whatever else of `pipeline`'s
    maps it has, at any size: float32 `[H, W, 1]` metres, 0 = missing, and uint8 `[H, W, 3]` RGB. An
    example with `near_image` also has `rotation` and `translation`.
    """
    ops = []
    factors = settings.brightness, settings.contrast, settings.saturation
    if any(factors):
        ops.append(jitter_colour(*factors))
    if settings.flip:
        ops.append(flip(settings.flip))
    if settings.beams:
        ops.append(drop_beams(settings.beam_probability, settings.beams))
    if settings.point_dropout:
        ops.append(drop_points(settings.point_dropout))
    return lambda example: reduce(lambda changed, op: op(changed), ops, dict(example))


def jitter_colour(brightness: float, contrast: float, saturation: float) -> Op:
    """Recolours the image, and the nearby image alike, as Pillow's ImageEnhance does.

    Brightness blends with black, contrast with the mean of the current image's gray, saturation
    with the gray image. A blend `factor * image + (1 - factor) * other` is rounded and clipped to
    uint8 before the next.
    """
    import tensorflow as tf

    def blend(factor: Any, image: Any, other: Any) -> Any:
        return tf.clip_by_value(tf.round(factor * image + (1.0 - factor) * other), 0.0, 255.0)

    def gray(image: Any) -> Any:
        # ITU-R BT.601 in integers, as in Pillow.
        red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
        return ((19595 * red + 38470 * green + 7471 * blue + 2**15) // 2**16)[..., None]

    def jitter(example: Example) -> Example:
        keys = [key for key in ("image", "near_image") if key in example]
        if not keys:
            return example
        limits = (brightness, contrast, saturation)
        factors = tf.unstack(1.0 + limits * _uniform(example, _COLOUR, [3], -1.0))
        images = tf.cast(tf.stack([example[key] for key in keys]), tf.float32)
        images = blend(factors[0], images, 0.0)
        mean = tf.reduce_mean(tf.cast(gray(images[0]), tf.float64))
        images = blend(factors[1], images, tf.round(tf.cast(mean, tf.float32)))
        images = blend(factors[2], images, tf.cast(gray(images), tf.float32))
        return example | dict(zip(keys, tf.unstack(tf.cast(images, tf.uint8)), strict=True))

    return jitter


def flip(probability: float) -> Op:
    """Mirrors all maps left to right, the calibration and the pose with them.

    The scene is mirrored, x to -x in either camera's frame, by S = diag(-1, 1, 1): the rotation
    becomes S R S, the translation S t, and cx becomes W - 1 - cx.
    """
    import tensorflow as tf

    def mirror(example: Example) -> Example:
        mirrored = {key: tf.reverse(example[key], [1]) for key in MAPS & example.keys()}
        fx, fy, cx, cy = tf.unstack(example["intrinsics"])
        width = tf.cast(tf.shape(example["sparse_depth"])[1], tf.float32)
        mirrored["intrinsics"] = tf.stack([fx, fy, width - 1.0 - cx, cy])
        if "rotation" in example:
            side = tf.constant([-1.0, 1.0, 1.0])
            mirrored["rotation"] = side[:, None] * example["rotation"] * side
            mirrored["translation"] = side * example["translation"]
        return example | mirrored

    def maybe(example: Example) -> Example:
        chosen = _uniform(example, _FLIP) < probability
        return tf.cond(chosen, lambda: mirror(example), lambda: example)

    return maybe


def drop_beams(probability: float, beams: tuple[int, ...]) -> Op:
    """Keeps some of the 64 beams of sparse depth, evenly spaced, as of a scanner with fewer.

    Which beam a pixel is from is told by `lidar_beam`. The first that stays is drawn as well.
    """
    import tensorflow as tf

    def thin(example: Example) -> Example:
        depth = example["sparse_depth"]
        chance, choice, phase = tf.unstack(_uniform(example, _BEAMS, [3]))
        count = tf.gather(beams, tf.cast(choice * len(beams), tf.int32))
        beam = lidar_beam(depth, example["intrinsics"]) + tf.cast(phase * BEAMS, tf.int32)
        kept = (beam * count % BEAMS < count) | (chance >= probability)
        return example | {"sparse_depth": tf.where(kept, depth, 0.0)}

    return thin


def lidar_beam(depth: Any, intrinsics: Any) -> Any:
    """Guesses which beam, 0..63 from above, measured each pixel of a depth map `[H, W, 1]`.

    A depth map does not say. The point's elevation, seen from where KITTI's scanner stands, is
    rounded to the nominal beams of the HDL-64E: 32 from +2 degrees in steps of 1/3, 32 from -8.83
    in steps of 1/2. A real scanner's beams differ from those by fractions of a step and it stands
    tilted by about a degree, so that on real frames a beam found this way is a band as narrow as a
    beam, which passes from one true beam to the next on its way across the image.

    Args:
      depth: a tensor, float32 `[H, W, 1]` metres; where it is 0 the result means nothing.
      intrinsics: float32 `[4]` (fx, fy, cx, cy) in pixels.
    """
    import tensorflow as tf

    height, width = tf.unstack(tf.shape(depth)[:2])
    fx, fy, cx, cy = tf.unstack(intrinsics)
    column = tf.cast(tf.range(width), tf.float32)[None, :, None]
    row = tf.cast(tf.range(height), tf.float32)[:, None, None]
    x = (column - cx) / fx * depth - SCANNER[0]
    y = (row - cy) / fy * depth - SCANNER[1]
    z = depth - SCANNER[2]
    elevation = tf.atan2(-y, tf.sqrt(x * x + z * z)) * (180.0 / math.pi)
    upper = tf.clip_by_value(tf.round((2.0 - elevation) * 3.0), 0.0, 31.0)
    lower = tf.clip_by_value(tf.round((-8.83 - elevation) * 2.0), 0.0, 31.0) + 32.0
    # Halfway between the last beam of the upper block and the first of the lower one.
    return tf.cast(tf.where(elevation > -8.58, upper, lower), tf.int32)


def drop_points(limit: float) -> Op:
    """Leaves out points of sparse depth: each with a probability drawn from 0 to `limit`."""
    import tensorflow as tf

    def drop(example: Example) -> Example:
        depth = example["sparse_depth"]
        draws = _uniform(example, _POINTS, [1 + tf.size(depth)])
        kept = tf.reshape(draws[1:], tf.shape(depth)) >= limit * draws[0]
        return example | {"sparse_depth": tf.where(kept, depth, 0.0)}

    return drop


def crop_anywhere(crop: Size) -> Op:
    """Cuts (height, width) out of all maps, at a place of which each is as likely."""
    import tensorflow as tf

    def cut(example: Example) -> Example:
        margin = tf.shape(example["sparse_depth"])[:2] - crop
        places = _uniform(example, _CROP, [2]) * tf.cast(margin + 1, tf.float32)
        top, left = tf.unstack(tf.cast(places, tf.int32))
        return crop_at(example, top, left, crop)

    return cut


def _uniform(example: Example, stream: int, shape: Any = (), low: float = 0.0) -> Any:
    """Draws from `low` to 1, from one of the example's streams of random numbers."""
    import tensorflow as tf

    # Named, because the default generator depends on the device.
    seed = tf.random.fold_in(example["seed"], stream, alg="philox")
    return tf.random.stateless_uniform(shape, seed, low, 1.0, alg="philox")
