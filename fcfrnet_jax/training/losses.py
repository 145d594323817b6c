"""The losses of the self-supervised sparse-to-dense network (Ma et al., ICRA 2019).

Every loss is a mean over pixels of the whole batch. On several devices, each with a part of the
batch, `axis_name` makes each device return its *share* of that mean: its own sum, divided by the
count of all devices. `psum` of the shares and of their gradients gives those of the whole batch,
also if the numbers of valid pixels on the devices differ.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from fcfrnet_jax.evaluation.metrics import sum_rows
from fcfrnet_jax.geometry import scale_intrinsics
from fcfrnet_jax.training.warp import inverse_warp

MODES = ("dense", "sparse", "photo", "sparse+photo", "dense+photo")
# Number of scales of the photometric loss: 1/2, 1/4, ... of the size.
SCALES = 5
# The default weight of the root mean square error in `masked_l1_rmse`.
RMSE_WEIGHT = 0.3
# Square metres, added to the mean square error so that its root has a finite gradient.
MIN_SQUARE = 1e-6
# Metres. Pixels with a smaller target have no depth supervision, so the photometric loss uses them.
MIN_SUPERVISION = 1e-3

T = TypeVar("T")


class MaskedSum(NamedTuple):
    """The sum over the valid pixels of a batch and their number, two float scalars."""

    total: jax.Array
    pixels: jax.Array

    def mean(self, axis_name: str | None = None) -> jax.Array:
        """Returns the mean, or with `axis_name` this device's share; 0 if no pixel is valid."""
        # Only the count is summed over devices. It has no gradient, so none is communicated.
        pixels = self.pixels if axis_name is None else jax.lax.psum(self.pixels, axis_name)
        return self.total / jnp.maximum(pixels, 1.0)


class NearView(NamedTuple):
    """The image of a nearby camera and its pose.

    Attributes:
      image: `[B, H, W, 3]` RGB, 0..255.
      rotation: `[B, 3, 3]`, from the current to the nearby camera.
      translation: `[B, 3]` metres, from the current to the nearby camera.
      intrinsics: `[B, 4]` or `[4]`, (fx, fy, cx, cy) in pixels, of both cameras.
    """

    image: jax.Array
    rotation: jax.Array
    translation: jax.Array
    intrinsics: jax.Array


def masked_mse(depth: jax.Array, target: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Returns the mean squared error in square metres; arguments as in `masked_sums`."""
    return masked_sums(jnp.square, depth, target).mean(axis_name)


def masked_l1(depth: jax.Array, target: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Returns the mean absolute error in metres; arguments as in `masked_sums`."""
    return masked_sums(_absolute, depth, target).mean(axis_name)


def masked_l1_mse(depth: jax.Array, target: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Returns the sum of both, the loss of NLSPN (Park et al., ECCV 2020)."""
    return masked_l1(depth, target, axis_name) + masked_mse(depth, target, axis_name)


def masked_l1_rmse(
    depth: jax.Array,
    target: jax.Array,
    axis_name: str | None = None,
    *,
    rmse_weight: float = RMSE_WEIGHT,
) -> jax.Array:
    """Returns the mean absolute error plus `rmse_weight` times the root mean square error.

    Both are in metres. The other arguments are those of `masked_sums`. Unlike the other losses, the
    root is not a mean over pixels.
    """
    share = masked_mse(depth, target, axis_name)
    whole = share if axis_name is None else jax.lax.psum(share, axis_name)
    # Each device returns its part of the root. The gradient of the root is that of the mean square
    # error divided by twice the root.
    root = jax.lax.stop_gradient(jnp.sqrt(whole + MIN_SQUARE))
    value = jax.lax.stop_gradient(share)
    part = (value + 0.5 * (share - value)) / root
    return masked_l1(depth, target, axis_name) + rmse_weight * part


def masked_sums(
    penalty: Callable[[jax.Array], jax.Array], depth: jax.Array, target: jax.Array
) -> MaskedSum:
    """Sums `penalty(depth - target)` over the pixels with a target.

    Args:
      penalty: elementwise, 0 at 0.
      depth: `[B, H, W, 1]` metres; any value, including NaN, where there is no target.
      target: `[B, H, W, 1]` metres, 0 = missing.

    Raises:
      ValueError: the shapes differ or are not `[B, H, W, 1]`.
    """
    _check_maps(depth, target)
    valid = target > 0
    error = jnp.where(valid, _accurate(depth) - _accurate(target), 0.0)
    return _masked_sum(penalty(error), valid)


def smoothness(depth: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Returns the mean of |d2 depth / dx2| + |d2 depth / dy2| over the inner pixels, in metres.

    Args:
      depth: `[B, H, W, 1]` metres, dense; the derivatives are central differences over one pixel.
      axis_name: see the module.

    Raises:
      ValueError: the shape is not `[B, H, W, 1]`.
    """
    _check_maps(depth)
    depth = _accurate(depth)
    centre = 2.0 * depth[:, 1:-1, 1:-1]
    horizontal = centre - depth[:, 1:-1, :-2] - depth[:, 1:-1, 2:]
    vertical = centre - depth[:, :-2, 1:-1] - depth[:, 2:, 1:-1]
    bend = _absolute(horizontal) + _absolute(vertical)
    return _masked_sum(bend, jnp.ones_like(bend, bool)).mean(axis_name)


def photometric(
    depth: jax.Array,
    image: jax.Array,
    near: NearView,
    supervision: jax.Array | None = None,
    axis_name: str | None = None,
) -> jax.Array:
    """Returns the weighted sum of the means of `photometric_sums`.

    Scale s = 0..4 (1/32..1/2 of the size) has the weight 2^(s - 5).
    """
    sums = photometric_sums(depth, image, near, supervision)
    shares = [2.0 ** (s - SCALES) * scale.mean(axis_name) for s, scale in enumerate(sums)]
    return jnp.sum(jnp.stack(shares))


def photometric_sums(
    depth: jax.Array, image: jax.Array, near: NearView, supervision: jax.Array | None = None
) -> list[MaskedSum]:
    """Compares an image with a nearby image, warped by the depth, at five scales.

    All maps are average-pooled, then the nearby image is warped. A pixel counts if neither image is
    black there and none of the pixels pooled into it has depth supervision.

    Args:
      depth: `[B, H, W, 1]` metres; H and W are multiples of 32.
      image: `[B, H, W, 3]` RGB, 0..255.
      near: the nearby view, of the same size.
      supervision: `[B, H, W, 1]` metres, the target of the depth loss, 0 = missing; None if there
        is no depth loss.

    Returns:
      For each scale, from 1/32 to 1/2, the sum over pixels of the absolute differences, summed over
      the channels.

    Raises:
      ValueError: the shapes do not match, or the size is not a multiple of 32.
    """
    supervision = jnp.zeros_like(depth) if supervision is None else supervision
    _check_maps(depth, supervision)
    _check_images(depth, image, near.image)
    free = supervision < MIN_SUPERVISION
    maps = [_accurate(array) for array in (depth, image, near.image, free)]
    rotation, translation, intrinsics = (_accurate(array) for array in near[1:])
    sums = []
    for level in range(1, SCALES + 1):
        maps = [_halve(array) for array in maps]
        depth, image, near_image, free = maps
        scaled = scale_intrinsics(intrinsics, 0.5**level)
        warped = inverse_warp(near_image, depth, rotation, translation, scaled)
        counted = (_channel_sum(image) > 0) & (_channel_sum(warped) > 0) & (free == 1.0)
        sums.append(_masked_sum(_channel_sum(_absolute(image - warped)), counted))
    return sums[::-1]


def loss_parts(
    mode: str,
    depth: jax.Array,
    *,
    image: jax.Array | None = None,
    sparse_depth: jax.Array | None = None,
    ground_truth: jax.Array | None = None,
    near: NearView | None = None,
    depth_loss: Callable[..., jax.Array] = masked_mse,
    axis_name: str | None = None,
) -> dict[str, jax.Array]:
    """Returns the parts of the loss of a training mode, before weighting.

    Args:
      mode: one of `MODES`. The depth loss of `dense` compares with the ground truth, that of
        `sparse` with the sparse input. `photo` adds the photometric and the smoothness loss.
      depth: `[B, H, W, 1]` metres, the network's unclipped output.
      image: `[B, H, W, 3]` RGB, 0..255, for `photo`.
      sparse_depth: `[B, H, W, 1]` metres, 0 = missing, for `sparse`.
      ground_truth: `[B, H, W, 1]` metres, 0 = missing, for `dense`.
      near: the nearby view, for `photo`.
      depth_loss: `masked_mse` or another loss with its arguments.
      axis_name: see the module.

    Returns:
      Float32 scalars: those of `depth`, `photometric` and `smoothness` that the mode has.

    Raises:
      ValueError: the mode is unknown, an input that it needs is None, or a shape is wrong.
    """
    if mode not in MODES:
        raise ValueError(f"unknown training mode {mode!r}; the modes are {', '.join(MODES)}")
    parts = {}
    supervision = None
    if "sparse" in mode:
        supervision = _needed(mode, "sparse_depth", sparse_depth)
    elif "dense" in mode:
        supervision = _needed(mode, "ground_truth", ground_truth)
    if supervision is not None:
        parts["depth"] = depth_loss(depth, supervision, axis_name)
    if "photo" in mode:
        image, near = _needed(mode, "image", image), _needed(mode, "near", near)
        parts["photometric"] = photometric(depth, image, near, supervision, axis_name)
        parts["smoothness"] = smoothness(depth, axis_name)
    return parts


def _needed(mode: str, name: str, value: T | None) -> T:
    if value is None:
        raise ValueError(f"the training mode {mode!r} needs {name}")
    return value


def _accurate(array: jax.Array) -> jax.Array:
    """Converts to float32, unless the type is wider."""
    array = jnp.asarray(array)
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _absolute(values: jax.Array) -> jax.Array:
    # The derivative of jnp.abs at 0 is 1, so a flat depth map would get a gradient.
    return values * jnp.sign(values)


def _masked_sum(values: jax.Array, valid: jax.Array) -> MaskedSum:
    counted = jnp.where(valid, values, 0.0)
    return MaskedSum(jnp.sum(sum_rows(counted)), jnp.sum(sum_rows(valid.astype(values.dtype))))


def _channel_sum(image: jax.Array) -> jax.Array:
    return jnp.sum(image, axis=-1, keepdims=True)


def _halve(array: jax.Array) -> jax.Array:
    """Averages 2x2 pixels: `[B, H, W, C]` to `[B, H / 2, W / 2, C]`."""
    batch, height, width, channels = array.shape
    blocks = array.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.mean(blocks, axis=(2, 4))


def _check_maps(*maps: jax.Array) -> None:
    shapes = {array.shape for array in maps}
    if len(shapes) > 1 or maps[0].ndim != 4 or maps[0].shape[-1] != 1:
        found = " and ".join(str(array.shape) for array in maps)
        raise ValueError(f"expected maps [B, H, W, 1] of one shape, got {found}")


def _check_images(depth: jax.Array, image: jax.Array, near_image: jax.Array) -> None:
    if image.shape[:-1] != depth.shape[:-1] or image.shape != near_image.shape:
        raise ValueError(
            f"expected two images [B, H, W, 3] of the size of the depth {depth.shape}, "
            f"got {image.shape} and {near_image.shape}"
        )
    height, width = depth.shape[1:3]
    step = 2**SCALES
    if height % step or width % step:
        raise ValueError(
            f"the photometric loss needs a multiple of {step}, got {height}x{width}: "
            f"crop to {height // step * step}x{width // step * step}"
        )
