"""Predicts depth maps in other programs, without TensorFlow."""

import warnings
from functools import partial
from pathlib import Path
from typing import Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.data import plausibility
from fcfrnet_jax.networks import models, select
from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec
from fcfrnet_jax.prediction import arrays, recordings
from fcfrnet_jax.prediction.arrays import Array
from fcfrnet_jax.prediction.estimate import (
    DepthEstimate,
    check_confidence,
    predict,
    predict_with_error,
)
from fcfrnet_jax.prediction.inputs import scale_advice
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.scans import Scan
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
        image: Array | None,
        depth: Array | None,
        *,
        depth_scale: float = 1.0,
        return_confidence: Literal[False] = False,
    ) -> np.ndarray: ...

    @overload
    def __call__(
        self,
        image: Array | None,
        depth: Array | None,
        *,
        depth_scale: float = 1.0,
        return_confidence: Literal[True],
    ) -> DepthEstimate: ...

    def __call__(
        self,
        image: Array | None,
        depth: Array | None,
        *,
        depth_scale: float = 1.0,
        return_confidence: bool = False,
    ) -> np.ndarray | DepthEstimate:
        """Predicts dense depth for a batch of frames, or for one frame without the batch axis.

        Args:
          image: uint8 `[B, H, W, 3]` RGB, or gray `[B, H, W, 1]` or `[B, H, W]`; None for the
            modality `d`. Other integer dtypes with values 0..255 work too. A network that needs
            colour gets a gray image three times, and one that needs gray gets the luma. Images and
            depth may be arrays of NumPy, JAX or PyTorch.
          depth: `[B, H, W]` metres, 0 = missing: the sparse depth for a sparse-to-coarse or
            two-stage model, the coarse depth for a coarse-to-fine model; None for `rgb` and `g`.
            Any integer or floating-point dtype whose values float32 represents exactly. Depths
            above 256 m count as 256 m.
          depth_scale: values of `depth` per metre, such as 1000 for millimetres or 256 for the
            integers in KITTI's PNG files.
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
        frames = arrays.prepare(self.spec, image, depth, depth_scale)
        if frames.depth is not None and self._checks_depth:
            self._check_depth(frames.depth[..., 0], depth_scale)
        apply = self._apply_with_error if return_confidence else self._apply
        inputs = (arrays.padded(frames.image), arrays.padded(frames.depth))
        height, width = frames.size
        maps = [
            np.asarray(leaf)[0 if frames.single else slice(None), :height, :width, 0]
            for leaf in jax.tree.leaves(apply(self._variables, *inputs))
        ]
        return DepthEstimate(*maps) if return_confidence else maps[0]

    @overload
    def from_scan(
        self,
        image: Array | None,
        points: Array | Scan,
        calibration: Calibration,
        *,
        remove_hidden: bool = True,
        return_confidence: Literal[False] = False,
    ) -> np.ndarray: ...

    @overload
    def from_scan(
        self,
        image: Array | None,
        points: Array | Scan,
        calibration: Calibration,
        *,
        remove_hidden: bool = True,
        return_confidence: Literal[True],
    ) -> DepthEstimate: ...

    def from_scan(
        self,
        image: Array | None,
        points: Array | Scan,
        calibration: Calibration,
        *,
        remove_hidden: bool = True,
        return_confidence: bool = False,
    ) -> np.ndarray | DepthEstimate:
        """Predicts dense depth for one image and a raw scan.

        Args:
          image: uint8 `[H, W, 3]` RGB, or gray `[H, W, 1]` or `[H, W]`, as the camera records it;
            None for the modality `d`.
          points: the result of `fcfrnet_jax.read_scan`, or `[N, 3]` or wider: x, y, z in metres in
            the scanner's frame.
          calibration: the result of `fcfrnet_jax.read_calibration`.
          remove_hidden: leave out the points that the camera does not see.
          return_confidence: as in `__call__`.

        Returns:
          As `__call__` for one frame, `[H, W]`. With distortion, the depth belongs to the image
          that `sensors.undistortion.undistort` returns.

        Raises:
          ValueError: as `__call__`, an image of another size than that of the calibration, or no
            point in the image. The message then says where the points fall.
        """
        recording = recordings.prepare(image, points, calibration, remove_hidden=remove_hidden)
        if return_confidence:
            return self(recording.image, recording.sparse_depth, return_confidence=True)
        return self(recording.image, recording.sparse_depth)

    def _check_depth(self, depth: np.ndarray, scale: float) -> None:
        """Checks the first frames of a stream, and finds every empty one."""
        key = "coarse_depth" if isinstance(self.spec, CoarseToFineSpec) else "sparse_depth"
        for frame in depth:
            if not self._to_check and frame.any():
                continue
            self._to_check = max(self._to_check - 1, 0)
            for finding in plausibility.find_implausible({key: frame}):
                text = f"{key.replace('_', ' ')}: {finding.text}"
                if finding.impossible:
                    advice = scale_advice(frame * np.float32(scale), scale)
                    raise ValueError(f"{text}{advice}; check_depth=False skips this check")
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
