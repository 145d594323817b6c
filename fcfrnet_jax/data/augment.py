"""Augmentation of training examples, computed on the devices.

An example is a dict of arrays without a batch axis: `sparse_depth`, `ground_truth` and
`coarse_depth`, float32 `[H, W, 1]` metres, 0 = missing; `image` and `near_image`, uint8 `[H, W, 3]`
RGB; `intrinsics`, float32 `[4]` (fx, fy, cx, cy) in pixels; `rotation` `[3, 3]` and `translation`
`[3]` metres, from the current to the nearby camera. Only `sparse_depth` and `intrinsics` are
required. The functions have no state: equal keys give equal changes.
"""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from fcfrnet_jax.data.images import MIN_DEPTH
from fcfrnet_jax.geometry import luma
from fcfrnet_jax.sensors.beams import lidar_beam
from fcfrnet_jax.sensors.lidar import HDL64, Lidar

Example = dict[str, jax.Array]
IMAGES = ("image", "near_image")
BEAMS = len(HDL64.elevations)


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of training examples. The default is the reference's: flip and colour.

    Attributes:
      flip: probability of a horizontal flip.
      brightness, contrast, saturation: each factor is drawn uniformly from 1 - value to 1 + value.
      random_crop: choose the place of the crop at random instead of the bottom centre.
      beam_probability: probability that whole LiDAR beams are removed.
      beams: numbers of beams, 1 to 64; one of them, drawn uniformly, is the number to keep.
      point_dropout: the share of sparse points to remove is drawn uniformly from 0 to this value.
      points: replace the sparse depth by this many pixels of the ground truth, drawn uniformly; all
        if fewer have a depth. 0 keeps the sparse depth.
      scale: the example is enlarged by a factor drawn uniformly from 1 to this value, see
        `enlarge_and_rotate`; 1 = not.
      rotation: it is rotated by an angle drawn uniformly from minus to plus this value, in degrees.

    Raises:
      ValueError: a value outside its range; only one of `beam_probability` and `beams`; or beams
        with `scale` or `rotation`, after which the pixels no longer show their beams.
    """

    flip: float = 0.5
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    random_crop: bool = False
    beam_probability: float = 0.0
    beams: tuple[int, ...] = ()
    point_dropout: float = 0.0
    points: int = 0
    scale: float = 1.0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        shares = "flip brightness contrast saturation beam_probability point_dropout"
        for name in shares.split():
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if self.points < 0:
            raise ValueError(f"points must not be negative, got {self.points}")
        if not all(1 <= count <= BEAMS for count in self.beams):
            raise ValueError(f"beams must be between 1 and {BEAMS}, got {self.beams}")
        if (self.beam_probability > 0.0) != bool(self.beams):
            raise ValueError(
                "beam_probability and beams must be given together, got "
                f"{self.beam_probability} and {self.beams}"
            )
        if self.scale < 1.0 or not 0.0 <= self.rotation <= 180.0:
            raise ValueError(
                "scale must be at least 1 and rotation between 0 and 180, got "
                f"{self.scale} and {self.rotation}"
            )
        if self.beams and self.moves_pixels:
            raise ValueError(
                "beams cannot be left out of scaled or rotated scans: with beams, scale must be 1 "
                f"and rotation 0, got {self.scale} and {self.rotation}"
            )

    @property
    def moves_pixels(self) -> bool:
        return self.scale > 1.0 or self.rotation > 0.0

    @property
    def jitters_colour(self) -> bool:
        return any((self.brightness, self.contrast, self.saturation))


def augment(
    key: jax.Array, example: Example, settings: Augmentation, lidar: Lidar = HDL64
) -> Example:
    """Enlarges and rotates, draws and removes points, changes colours, and flips, in this order.

    Args:
      key: the JAX random key of the example.
      example: see the module's docstring; with `points`, it needs `ground_truth`.
      settings: the augmentation. `random_crop` has no effect here: the data source crops.
      lidar: the scanner that measured the sparse depth.

    Returns:
      The augmented example, with the same names, shapes and dtypes.
    """
    beam_key, points_key, colour_key, flip_key = jax.random.split(key, 4)
    changed = dict(example)
    # Points and places have other keys, so that the other changes do not depend on them.
    if settings.moves_pixels:
        changed = _moved(jax.random.fold_in(key, 5), changed, settings)
    if settings.points:
        drawn = _drawn_points(jax.random.fold_in(key, 4), changed["ground_truth"], settings.points)
        changed["sparse_depth"] = drawn
    if settings.beams:
        kept = _kept_beams(beam_key, changed, settings, lidar)
        changed["sparse_depth"] = jnp.where(kept, changed["sparse_depth"], 0.0)
    if settings.point_dropout:
        kept = _kept_points(points_key, changed["sparse_depth"], settings.point_dropout)
        changed["sparse_depth"] = jnp.where(kept, changed["sparse_depth"], 0.0)
    images = [name for name in IMAGES if name in example]
    if settings.jitters_colour and images:
        limits = jnp.array([settings.brightness, settings.contrast, settings.saturation])
        factors = 1.0 + limits * jax.random.uniform(colour_key, (3,), minval=-1.0)
        recoloured = recolour(jnp.stack([changed[name] for name in images]), factors)
        changed |= dict(zip(images, recoloured, strict=True))
    if settings.flip:
        chosen = jax.random.uniform(flip_key) < settings.flip
        mirrored = mirror(changed)
        changed = {name: jnp.where(chosen, mirrored[name], leaf) for name, leaf in changed.items()}
    return changed


def recolour(images: jax.Array, factors: jax.Array) -> jax.Array:
    """Changes brightness, contrast and saturation, in this order, like Pillow's ImageEnhance.

    Brightness blends with black, contrast with the mean gray of the first image, and saturation
    with the gray image. The result of each blend is rounded and clipped to 0..255.

    Args:
      images: uint8 `[N, H, W, 3]` RGB.
      factors: `[3]`, 1 = no change.

    Returns:
      uint8 `[N, H, W, 3]` RGB.
    """

    def blend(factor: jax.Array, images: jax.Array, other: jax.Array | float) -> jax.Array:
        return jnp.clip(jnp.round(factor * images + (1.0 - factor) * other), 0.0, 255.0)

    changed = blend(factors[0], images.astype(jnp.float32), 0.0)
    changed = blend(factors[1], changed, jnp.round(jnp.mean(luma(changed[0]))))
    return blend(factors[2], changed, luma(changed)).astype(jnp.uint8)


def enlarge_and_rotate(
    example: Example, scale: jax.Array | float, angle: jax.Array | float
) -> Example:
    """Enlarges an example about its centre, divides its depth by the factor, and rotates it.

    The augmentation of Ma and Karaman (ICRA 2018, arXiv 1709.07492). Depth maps take the nearest
    pixels, images interpolate bilinearly, and what was outside becomes 0.

    Enlarging by s is what a camera with s times the focal length sees of a scene of 1 / s its size,
    so the intrinsics and the pose remain those of the maps: fx, fy and the offset of (cx, cy) from
    the centre become s times as large, and with the roll Q the rotation becomes Q R Q^T and the
    translation Q t / s. For a rotated example this is exact if fx = fy.

    Args:
      example: see the module's docstring.
      scale: positive.
      angle: clockwise in the image, in radians.
    """
    height, width = example["sparse_depth"].shape[:2]
    middle_x, middle_y = 0.5 * (width - 1), 0.5 * (height - 1)
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    x, y = jnp.arange(width) - middle_x, (jnp.arange(height) - middle_y)[:, None]
    from_x, from_y = (cosine * x + sine * y) / scale, (cosine * y - sine * x) / scale
    outside = (jnp.abs(from_x) >= 0.5 * width) | (jnp.abs(from_y) >= 0.5 * height)
    places = [from_y + middle_y, from_x + middle_x]

    def moved(name: str, leaf: jax.Array) -> jax.Array:
        def sample(plane: jax.Array) -> jax.Array:
            found = map_coordinates(plane, places, order=int(name in IMAGES), mode="nearest")
            return jnp.where(outside, 0.0, found)

        values = jax.vmap(sample, in_axes=-1, out_axes=-1)(leaf.astype(jnp.float32))
        return jnp.round(values).astype(leaf.dtype) if name in IMAGES else values / scale

    maps = {name: moved(name, leaf) for name, leaf in example.items() if leaf.ndim == 3}
    fx, fy, cx, cy = example["intrinsics"]
    x, y = cx - middle_x, cy - middle_y
    cx = middle_x + scale * (cosine * x - sine * y)
    cy = middle_y + scale * (sine * x + cosine * y)
    changed = example | maps | {"intrinsics": jnp.stack([scale * fx, scale * fy, cx, cy])}
    if "rotation" in example:
        roll = jnp.eye(3).at[:2, :2].set(jnp.array([[cosine, -sine], [sine, cosine]]))
        multiply = functools.partial(jnp.matmul, precision="highest")
        changed["rotation"] = multiply(multiply(roll, example["rotation"]), roll.T)
        changed["translation"] = multiply(roll, example["translation"]) / scale
    return changed


def mirror(example: Example) -> Example:
    """Flips an example horizontally, including calibration and pose.

    In both camera frames x becomes -x. With S = diag(-1, 1, 1), the rotation becomes S R S, the
    translation S t, and cx becomes W - 1 - cx.
    """
    width = example["sparse_depth"].shape[1]
    side = jnp.array([-1.0, 1.0, 1.0])
    mirrored = {name: leaf[:, ::-1] if leaf.ndim == 3 else leaf for name, leaf in example.items()}
    cx = example["intrinsics"][2]
    mirrored["intrinsics"] = example["intrinsics"].at[2].set(width - 1.0 - cx)
    if "rotation" in example:
        mirrored["rotation"] = side[:, None] * example["rotation"] * side
        mirrored["translation"] = side * example["translation"]
    return mirrored


def _moved(key: jax.Array, example: Example, settings: Augmentation) -> Example:
    """Draws the scale and the angle, and applies them."""
    draws = jax.random.uniform(key, (2,))
    angle = jnp.deg2rad(settings.rotation * (2.0 * draws[1] - 1.0))
    return enlarge_and_rotate(example, 1.0 + (settings.scale - 1.0) * draws[0], angle)


def _kept_beams(
    key: jax.Array, example: Example, settings: Augmentation, lidar: Lidar
) -> jax.Array:
    """Draws the pixels to keep: those of evenly spaced beams, or all."""
    count = len(lidar.elevations)
    chance, choice, phase = jax.random.uniform(key, (3,))
    fewer = jnp.array(settings.beams)[(choice * len(settings.beams)).astype(jnp.int32)]
    beam = lidar_beam(example["sparse_depth"], example["intrinsics"], lidar)
    beam += (phase * count).astype(jnp.int32)
    return (beam * fewer % count < fewer) | (chance >= settings.beam_probability)


def _kept_points(key: jax.Array, depth: jax.Array, limit: float) -> jax.Array:
    """Draws the pixels to keep; each is removed with a probability drawn from 0 to `limit`."""
    draws = jax.random.uniform(key, (1 + depth.size,))
    return draws[1:].reshape(depth.shape) >= limit * draws[0]


def _drawn_points(key: jax.Array, depth: jax.Array, count: int) -> jax.Array:
    """Keeps `count` pixels of those with a depth."""
    valid = depth.reshape(-1) > MIN_DEPTH
    draws = jnp.where(valid, jax.random.uniform(key, valid.shape), -1.0)
    _, places = jax.lax.top_k(draws, min(count, valid.size))
    kept = jnp.zeros_like(valid).at[places].set(True) & valid
    return jnp.where(kept.reshape(depth.shape), depth, 0.0)
