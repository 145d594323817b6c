"""The inverse warp of the photometric loss: a nearby image seen from the current camera."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

# Metres. Smaller depths are treated as missing.
MIN_WARPED_DEPTH = 1e-3
# A point whose depth shrinks to less than this share is beside or behind the nearby camera.
MIN_DEPTH_RATIO = 1e-3


def project_to_near(
    depth: jax.Array, rotation: jax.Array, translation: jax.Array, intrinsics: jax.Array
) -> jax.Array:
    """Projects the points of a depth map into a nearby camera.

    Args:
      depth: `[B, H, W, 1]` metres.
      rotation: `[B, 3, 3]`, from the current to the nearby camera.
      translation: `[B, 3]` metres; a point p becomes rotation p + translation.
      intrinsics: `[B, 4]` or `[4]`, (fx, fy, cx, cy) in pixels of the map, of both cameras; 0 or
        NaN = not calibrated.

    Returns:
      `[B, H, W, 2]` (x, y) in pixels. (-2, -2), which is outside the image, marks a point without a
      positive finite depth, behind or almost beside the nearby camera, or without calibration.

    Raises:
      ValueError: the pose or the calibration has the wrong shape.
    """
    if rotation.shape[1:] != (3, 3) or translation.shape[1:] != (3,) or intrinsics.shape[-1] != 4:
        raise ValueError(
            "expected rotation [B, 3, 3], translation [B, 3] and (fx, fy, cx, cy) [B, 4] or [4], "
            f"got {rotation.shape}, {translation.shape} and {intrinsics.shape}"
        )
    height, width = depth.shape[1:3]
    calibrated = jnp.all(intrinsics[..., :2] > 0, axis=-1)[..., None, None]
    intrinsics = jnp.where(calibrated[..., 0], intrinsics, 1.0)
    fx, fy, cx, cy = jnp.moveaxis(intrinsics, -1, 0)[..., None, None]
    x = jnp.arange(width, dtype=depth.dtype)[None, None, :]
    y = jnp.arange(height, dtype=depth.dtype)[None, :, None]
    shape = depth.shape[:3]
    ray_x = jnp.broadcast_to((x - cx) / fx, shape)
    ray_y = jnp.broadcast_to((y - cy) / fy, shape)
    ray = jnp.stack([ray_x, ray_y, jnp.ones(shape, depth.dtype)], axis=-1)
    known = (depth > MIN_WARPED_DEPTH) & jnp.isfinite(depth) & calibrated[..., None]
    inverse_depth = 1.0 / jnp.where(known, depth, 1.0)
    # The motion of the point in units of its depth. Adding it to the pixel is more accurate in
    # float32 than projecting the moved point, and exact for the identity.
    turn = rotation - jnp.eye(3, dtype=rotation.dtype)
    change = jnp.einsum("bij,bhwj->bhwi", turn, ray, precision="highest")
    change += translation[:, None, None, :] * inverse_depth
    visible = known[..., 0] & (1.0 + change[..., 2] > MIN_DEPTH_RATIO)
    ratio = jnp.where(visible, 1.0 + change[..., 2], 1.0)
    near_x = x + fx * (change[..., 0] - ray_x * change[..., 2]) / ratio
    near_y = y + fy * (change[..., 1] - ray_y * change[..., 2]) / ratio
    return jnp.where(visible[..., None], jnp.stack([near_x, near_y], axis=-1), -2.0)


def sample_bilinear(image: jax.Array, coordinates: jax.Array) -> jax.Array:
    """Samples `image` `[B, H, W, C]` with bilinear interpolation.

    Args:
      image: floats.
      coordinates: `[B, h, w, 2]` (x, y) in pixels, where (0, 0) is the centre of the first pixel;
        not NaN.

    Returns:
      `[B, h, w, C]`, 0 for coordinates beyond the centres of the outermost pixels. As in the
      reference, such a coordinate is first replaced by 1.5 times that of the last pixel. In an
      image of two pixels this is half a pixel beyond the last, which contributes half its value.
    """
    height, width = image.shape[1:3]
    last = jnp.array([width - 1, height - 1], coordinates.dtype)
    beyond = (coordinates < 0) | (coordinates > last)
    x, y = jnp.moveaxis(jnp.where(beyond, 1.5 * last, coordinates), -1, 0)
    inside = (x < width) & (y < height)

    def sample(plane: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        return map_coordinates(plane, [y, x], order=1)

    channels = jax.vmap(sample, in_axes=(-1, None, None), out_axes=-1)
    sampled = jax.vmap(channels)(image, jnp.where(inside, x, 0.0), jnp.where(inside, y, 0.0))
    return jnp.where(inside[..., None], sampled, 0.0)


def inverse_warp(
    near_image: jax.Array,
    depth: jax.Array,
    rotation: jax.Array,
    translation: jax.Array,
    intrinsics: jax.Array,
) -> jax.Array:
    """Warps the nearby image to the view of the current camera.

    Args:
      near_image: `[B, H, W, C]` floats.
      depth, rotation, translation, intrinsics: see `project_to_near`.

    Returns:
      `[B, H, W, C]`, 0 where the nearby camera sees nothing. It is differentiable with respect to
      the depth and the pose.
    """
    coordinates = project_to_near(depth, rotation, translation, intrinsics)
    return sample_bilinear(near_image, coordinates)
