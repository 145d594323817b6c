"""Arrays that callers pass to a predictor: their conversion to NumPy, and their checks."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.geometry import Size, margins
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import Spec

# NumPy, JAX or PyTorch arrays, and whatever else has `__array__` or `__dlpack__`.
Array = Any


class Frames(NamedTuple):
    """The inputs of a network.

    Attributes:
      image: uint8 `[B, H, W, C]`, or None.
      depth: float32 `[B, H, W, 1]` metres, 0 = missing, or None.
      single: whether they were given as one frame, without B.
    """

    image: np.ndarray | None
    depth: np.ndarray | None
    single: bool

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        array = self.depth if self.image is None else self.image
        assert array is not None
        return array.shape[1], array.shape[2]


def as_numpy(array: Array, name: str) -> np.ndarray:
    """Converts an array of any library to NumPy, without a copy where that is possible.

    Tensors of PyTorch may require gradients or be on a GPU. PyTorch is not imported.

    Args:
      array: with `__array__` or `__dlpack__`, or nested sequences of numbers.
      name: for messages.

    Raises:
      ValueError: it cannot be converted.
    """
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "detach"):
        array = array.detach()
    try:
        if hasattr(array, "__array__") or not hasattr(array, "__dlpack__"):
            return np.asarray(array)
    except (TypeError, RuntimeError):
        # A tensor on another device, or of a type that NumPy does not know, such as bfloat16.
        if hasattr(array, "cpu"):
            array = array.cpu()
    try:
        return np.asarray(jnp.from_dlpack(array))
    except Exception as error:  # each library raises its own
        raise ValueError(
            f"{name}: a {type(array).__module__}.{type(array).__name__} cannot be converted to "
            f"NumPy ({error}); pass a NumPy array"
        ) from error


def prepare(
    spec: Spec, image: Array | None, depth: Array | None, depth_scale: float = 1.0
) -> Frames:
    """Checks the inputs of a model, and adds the axes that they lack.

    Args:
      spec: the model.
      image, depth: see `Predictor.__call__`.
      depth_scale: values of `depth` per metre.

    Raises:
      ValueError: see `Predictor.__call__`.
    """
    _check_wanted("image", image, spec.uses_image)
    _check_wanted("depth", depth, spec.uses_depth)
    if not (np.isfinite(depth_scale) and depth_scale > 0):
        raise ValueError(f"depth_scale must be a positive number, got {depth_scale}")
    image = None if image is None else check_image(as_numpy(image, "image"))
    depth = None if depth is None else _checked_depth(as_numpy(depth, "depth"))
    if depth is not None and depth_scale != 1:
        depth = depth / np.float32(depth_scale)
    _check_axes(image, depth)
    single = _is_single(image, depth)
    image, depth = _batched(image, single, "image"), _batched(depth, single, "depth")
    sizes = [array.shape[:3] for array in (image, depth) if array is not None]
    if sizes[0] != sizes[-1]:
        raise ValueError(f"image {sizes[0]} and depth {sizes[-1]} must have the same [B, H, W]")
    return Frames(image, depth, single)


def padded(array: np.ndarray | None) -> np.ndarray | None:
    if array is None:
        return None
    below, right = margins(array.shape[1:3], models.SIZE_MULTIPLE)
    return np.pad(array, ((0, 0), (0, below), (0, right), (0, 0)))


def _check_wanted(name: str, value: np.ndarray | None, wanted: bool) -> None:
    if wanted and value is None:
        raise ValueError(f"this model needs {name}s, got {name}=None")
    if not wanted and value is not None:
        raise ValueError(f"this model uses no {name}: pass {name}=None")


def _check_not_empty(name: str, array: np.ndarray) -> None:
    if not array.size:
        raise ValueError(
            f"expected at least one frame with at least one pixel, got {name} {list(array.shape)}"
        )


def check_image(image: np.ndarray) -> np.ndarray:
    """Returns an image as uint8.

    Raises:
      ValueError: it is empty, its values are no integers, or they are outside 0..255.
    """
    shape = list(image.shape)
    _check_not_empty("image", image)
    if not np.issubdtype(image.dtype, np.integer):
        raise ValueError(
            "expected a uint8 image [B, H, W, 3] or [B, H, W, 1], or without B, got "
            f"{image.dtype} {shape}; convert values to 0..255 and pass image.astype(np.uint8)"
        )
    if image.dtype != np.uint8 and (image.min() < 0 or image.max() > 255):
        raise ValueError(
            f"expected an image with values 0..255, got {image.dtype} {shape} with values "
            f"{image.min()}..{image.max()}"
        )
    return image.astype(np.uint8, copy=False)


def _checked_depth(depth: np.ndarray) -> np.ndarray:
    """Returns the depth map as float32."""
    kinds = jnp.integer, jnp.floating  # NumPy's own do not include bfloat16
    _check_not_empty("depth", depth)
    if not any(jnp.issubdtype(depth.dtype, kind) for kind in kinds):
        raise ValueError(
            "expected a float32 depth map [B, H, W], or [H, W] for one frame, got "
            f"{depth.dtype} {list(depth.shape)}"
        )
    with np.errstate(over="ignore"):
        metres = depth.astype(np.float32, copy=False)
    if not np.isfinite(metres).all() or metres.min() < 0:
        raise ValueError(
            "a depth map must hold finite metres, 0 = missing; this one has negative values, "
            "NaN or infinity"
        )
    if metres is not depth and not np.array_equal(metres, depth):
        raise ValueError(
            f"this {depth.dtype} depth map has values that float32 cannot represent; to round "
            "them, pass depth.astype(np.float32)"
        )
    return metres


def _check_axes(image: np.ndarray | None, depth: np.ndarray | None) -> None:
    """Refuses depth of one frame with an axis of channels, which looks like a batch."""
    if depth is None or depth.ndim != 3 or depth.shape[-1] != 1:
        return
    if image is None or image.ndim < 4:
        raise ValueError(
            f"expected the depth as [B, H, W], or [H, W] for one frame, got {depth.dtype} "
            f"{list(depth.shape)}; if this is one frame, pass depth[..., 0]"
        )


def _is_single(image: np.ndarray | None, depth: np.ndarray | None) -> bool:
    """Whether the inputs are one frame without the batch axis."""
    if depth is not None:
        return depth.ndim == 2
    assert image is not None
    return image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (1, 3))


def _batched(array: np.ndarray | None, single: bool, name: str) -> np.ndarray | None:
    """Adds the batch axis and the axis of channels if they are missing: `[B, H, W, C]`."""
    if array is None:
        return None
    frames = array[None] if single else array
    if frames.ndim == 3:
        return frames[..., None]
    if frames.ndim != 4 or name == "depth" or frames.shape[-1] not in (1, 3):
        form = "[B, H, W]" if name == "depth" else "[B, H, W, 3] or [B, H, W, 1]"
        raise ValueError(
            f"expected the {name} as {form}, or without B for one frame, got {array.dtype} "
            f"{list(array.shape)}"
        )
    return frames
