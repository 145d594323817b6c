"""Predicts depth maps in other programs, without TensorFlow."""

import warnings
from functools import partial
from pathlib import Path
from typing import Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.data import plausibility
from fcfrnet_jax.geometry import margins
from fcfrnet_jax.networks import models, select
from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec
from fcfrnet_jax.prediction.estimate import (
    DepthEstimate,
    check_confidence,
    predict,
    predict_with_error,
)
from fcfrnet_jax.weights import checkpoint

DTYPES = ("float32", "bfloat16")


class Predictor:
    """Predicts dense depth from images and depth maps of any size; see `fcfrnet_jax.load`.

    Attributes:
      spec: the model.

    Raises:
      ValueError: an unknown dtype.
    """

    def __init__(
        self,
        spec: Spec,
        variables: models.Variables,
        dtype: str = "float32",
        *,
        check_depth: bool = True,
    ):
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        self.spec = spec
        network, folded, options = select.for_prediction(spec, variables, jnp.dtype(dtype))
        self._variables = jax.device_put(folded)
        # Compiled once for each batch and image size.
        self._apply = jax.jit(partial(predict, network), compiler_options=options)
        self._apply_with_error = jax.jit(
            partial(predict_with_error, network), compiler_options=options
        )
        self._checks_depth = check_depth
        self._to_check = plausibility.SAMPLES
        self._warned: set[str] = set()

    @overload
    def __call__(
        self,
        image: np.ndarray | None,
        depth: np.ndarray | None,
        *,
        return_confidence: Literal[False] = False,
    ) -> np.ndarray: ...

    @overload
    def __call__(
        self,
        image: np.ndarray | None,
        depth: np.ndarray | None,
        *,
        return_confidence: Literal[True],
    ) -> DepthEstimate: ...

    def __call__(
        self,
        image: np.ndarray | None,
        depth: np.ndarray | None,
        *,
        return_confidence: bool = False,
    ) -> np.ndarray | DepthEstimate:
        """Predicts dense depth for a batch of frames, or for one frame without the batch axis.

        Args:
          image: uint8 `[B, H, W, 3]` RGB, or gray `[B, H, W, 1]` or `[B, H, W]`; None for the
            modality `d`. Other integer dtypes with values 0..255 work too. A network that needs
            colour gets a gray image three times, and one that needs gray gets the luma.
          depth: `[B, H, W]` metres, 0 = missing: the sparse depth for a sparse-to-coarse or
            two-stage model, the coarse depth for a coarse-to-fine model; None for `rgb` and `g`.
            Any integer or floating-point dtype whose values float32 represents exactly. Depths
            above 256 m count as 256 m.
          return_confidence: return a `DepthEstimate` with the expected error of each depth too.
            Needs a model whose fine network has `patch` 2 or 4 and was trained with
            `scale_weight` above 0, such as the compact model.

        Returns:
          Float32 `[B, H, W]` metres, between 0.9 and the maximum of the model (100 for
          sparse-to-coarse, 85 for the others). Without the batch axis in the inputs, `[H, W]`.
          Inputs whose height or width is not a multiple of 16 are padded with zeros at the bottom
          and the right, and the prediction is cropped.

        Raises:
          ValueError: an input that is missing, not used by the model or of the wrong shape or
            dtype, image values outside 0..255, a depth that is negative, not finite or not exact
            in float32, or depth that is impossible, see `data.plausibility`; the first frames are
            checked, and unusual depth gives one warning; or confidence of a model that does not
            predict it.
        """
        if return_confidence:
            check_confidence(self.spec)
        _check_wanted("image", image, self.spec.uses_image)
        _check_wanted("depth", depth, self.spec.uses_depth)
        image = None if image is None else _checked_image(image)
        depth = None if depth is None else _checked_depth(depth)
        _check_axes(image, depth)
        single = _is_single(image, depth)
        image, depth = _batched(image, single, "image"), _batched(depth, single, "depth")
        sizes = [array.shape[:3] for array in (image, depth) if array is not None]
        if sizes[0] != sizes[-1]:
            raise ValueError(f"image {sizes[0]} and depth {sizes[-1]} must have the same [B, H, W]")
        _, height, width = sizes[0]
        if depth is not None and self._checks_depth:
            self._check_depth(depth[..., 0])
        apply = self._apply_with_error if return_confidence else self._apply
        maps = [
            np.asarray(leaf)[0 if single else slice(None), :height, :width, 0]
            for leaf in jax.tree.leaves(apply(self._variables, _padded(image), _padded(depth)))
        ]
        return DepthEstimate(*maps) if return_confidence else maps[0]

    def _check_depth(self, depth: np.ndarray) -> None:
        """Checks the first frames of a stream, and finds every empty one."""
        key = "coarse_depth" if isinstance(self.spec, CoarseToFineSpec) else "sparse_depth"
        for frame in depth:
            if not self._to_check and frame.any():
                continue
            self._to_check = max(self._to_check - 1, 0)
            for finding in plausibility.find_implausible({key: frame}):
                text = f"{key.replace('_', ' ')}: {finding.text}"
                if finding.impossible:
                    raise ValueError(f"{text}; check_depth=False skips this check")
                if finding.kind not in self._warned:
                    self._warned.add(finding.kind)
                    warnings.warn(text, stacklevel=3)


def load(
    checkpoint_dir: str | Path,
    dtype: str = "float32",
    *,
    coarse_checkpoint: str | Path | None = None,
    stage: str | None = None,
    check_depth: bool = True,
) -> Predictor:
    """Loads a model checkpoint for prediction.

    Args:
      checkpoint_dir: the folder of a model checkpoint that the converter or training wrote, or
        `"compact"` for the compact model of the package (`fcfrnet_jax.COMPACT`).
      dtype: of the convolutions, `float32` or `bfloat16`; inputs and outputs are float32.
      coarse_checkpoint: a model whose coarse network runs before a coarse-to-fine model.
      stage: `coarse` or `fine` for this network of a two-stage model alone; None for the whole
        model. The fine network alone takes coarse depth, from any source, and does not put measured
        depths back.
      check_depth: refuse depth that cannot be right, such as millimetres.

    Raises:
      ValueError: a folder that is not a checkpoint or is damaged, models that cannot be combined, a
        stage that the model does not have, or an unknown dtype.
    """
    spec, variables = checkpoint.load_model(checkpoint_dir)
    if stage is not None:
        spec, variables = checkpoint.take_stage((spec, variables), stage)
    if coarse_checkpoint is not None:
        coarse = checkpoint.load_coarse(coarse_checkpoint)
        try:
            spec, variables = checkpoint.combine(coarse, (spec, variables))
        except ValueError as error:
            raise ValueError(f"{coarse_checkpoint} and {checkpoint_dir}: {error}") from error
    return Predictor(spec, variables, dtype, check_depth=check_depth)


def _padded(array: np.ndarray | None) -> np.ndarray | None:
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


def _checked_image(image: np.ndarray) -> np.ndarray:
    """Returns the image as uint8."""
    image = np.asarray(image)
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
    depth = np.asarray(depth)
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
