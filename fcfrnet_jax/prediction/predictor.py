"""Predicts depth maps in other programs, without TensorFlow."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.networks import models, select
from fcfrnet_jax.networks.specs import Spec
from fcfrnet_jax.weights import checkpoint

DTYPES = ("float32", "bfloat16")


class Predictor:
    """Predicts dense depth from images and depth maps of any size; see `fcfrnet_jax.load`.

    Attributes:
      spec: the model.

    Raises:
      ValueError: an unknown dtype.
    """

    def __init__(self, spec: Spec, variables: models.Variables, dtype: str = "float32"):
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.spec = spec
        network, folded, options = select.for_prediction(spec, variables, jnp.dtype(dtype))
        self._variables = jax.device_put(folded)
        # Compiled once for each batch and image size.
        self._apply = jax.jit(partial(_predict, network), compiler_options=options)

    def __call__(self, image: np.ndarray | None, depth: np.ndarray | None) -> np.ndarray:
        """Predicts dense depth.

        Args:
          image: uint8 `[B, H, W, 3]` RGB, or gray `[B, H, W, 1]` for the modalities `gd` and `g`;
            None for `d`.
          depth: float32 `[B, H, W]` metres, 0 = missing: the sparse depth for a sparse-to-coarse or
            two-stage model, the coarse depth for a coarse-to-fine model; None for `rgb` and `g`.

        Returns:
          Float32 `[B, H, W]` metres, between 0.9 and the maximum of the model (100 for
          sparse-to-coarse, 85 for the others). Inputs whose height or width is not a multiple of 16
          are padded with zeros at the bottom and the right, and the prediction is cropped.

        Raises:
          ValueError: an input that is missing, not used by the model or of the wrong shape or
            dtype, or a depth that is negative or not finite.
        """
        _check_wanted("image", image, self.spec.uses_image)
        _check_wanted("depth", depth, self.spec.uses_depth)
        image = None if image is None else _checked_image(image)
        depth = None if depth is None else _checked_depth(depth)
        sizes = [array.shape[:3] for array in (image, depth) if array is not None]
        if sizes[0] != sizes[-1]:
            raise ValueError(f"image {sizes[0]} and depth {sizes[-1]} must have the same [B, H, W]")
        _, height, width = sizes[0]
        prediction = self._apply(self._variables, _padded(image), _padded(depth))
        return np.asarray(prediction)[:, :height, :width, 0]


def load(
    checkpoint_dir: str | Path,
    dtype: str = "float32",
    *,
    coarse_checkpoint: str | Path | None = None,
) -> Predictor:
    """Loads a model checkpoint for prediction.

    Args:
      checkpoint_dir: the folder of a model checkpoint, such as `fcfrnet_jax.COMPACT` or one that
        the converter or training wrote.
      dtype: of the convolutions, `float32` or `bfloat16`; inputs and outputs are float32.
      coarse_checkpoint: a sparse-to-coarse model to run before a coarse-to-fine model.

    Raises:
      ValueError: a folder that is not a checkpoint or is damaged, models that cannot be combined,
        or an unknown dtype.
    """
    spec, variables = checkpoint.load_model(checkpoint_dir)
    if coarse_checkpoint is not None:
        coarse = checkpoint.load_model(coarse_checkpoint)
        spec, variables = checkpoint.combine(coarse, (spec, variables))
    return Predictor(spec, variables, dtype)


def _predict(
    network: models.Network,
    variables: models.Variables,
    image: jax.Array | None,
    depth: jax.Array | None,
) -> jax.Array:
    prediction: Any = network.apply(variables, image, depth)
    if isinstance(network, models.TwoStage):
        _, prediction = prediction
    return models.clip_depth(prediction, network.spec.max_depth)


def _padded(array: np.ndarray | None) -> np.ndarray | None:
    if array is None:
        return None
    missing = [-size % models.SIZE_MULTIPLE for size in array.shape[1:3]]
    return np.pad(array, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))


def _check_wanted(name: str, value: np.ndarray | None, wanted: bool) -> None:
    if wanted and value is None:
        raise ValueError(f"this model needs {name}s, got {name}=None")
    if not wanted and value is not None:
        raise ValueError(f"this model uses no {name}: pass {name}=None")


def _checked_image(image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if (
        image.dtype != np.uint8
        or image.ndim != 4
        or image.shape[-1] not in (1, 3)
        or not image.size
    ):
        raise ValueError(
            "expected a uint8 image [B, H, W, 3] or [B, H, W, 1], "
            f"got {image.dtype} {list(image.shape)}"
        )
    return image


def _checked_depth(depth: np.ndarray) -> np.ndarray:
    depth = np.asarray(depth)
    if depth.dtype != np.float32 or depth.ndim != 3 or not depth.size:
        raise ValueError(
            f"expected a float32 depth map [B, H, W], got {depth.dtype} {list(depth.shape)}"
        )
    if not np.isfinite(depth).all() or depth.min() < 0:
        raise ValueError(
            "a depth map must hold finite metres, 0 = missing; this one has negative values, "
            "NaN or infinity"
        )
    return depth[..., None]
