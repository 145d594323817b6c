"""Predicts depth maps in other programs, without TensorFlow."""

from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Literal, overload

import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import Spec
from fcfrnet_jax.prediction import arrays, recordings
from fcfrnet_jax.prediction.arrays import Array
from fcfrnet_jax.prediction.depth_check import DepthCheck
from fcfrnet_jax.prediction.estimate import DepthEstimate, check_confidence
from fcfrnet_jax.prediction.programs import Inputs, Programs
from fcfrnet_jax.prediction.streams import pairs_of
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
        self._programs = Programs(spec, variables, dtype)
        self._check = DepthCheck(spec) if check_depth else None

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
          Float32 `[B, H, W]` metres, within the `limits` of the model's spec (0.9 to 100 for
          published sparse-to-coarse models, 0.9 to 85 for the others). Without the batch axis in
          the inputs, `[H, W]`. Inputs whose height or width is not a multiple of 16 are padded with
          zeros at the bottom and the right, and the prediction is cropped.

        Raises:
          ValueError: an input that is missing, not used by the model or of the wrong shape or
            dtype, image values outside 0..255, a depth that is negative, not finite or not exact
            in float32, or depth that is impossible, see `data.plausibility`; the first frames are
            checked, and unusual depth gives one warning; or confidence of a model that does not
            predict it.
        """
        return self._predict(image, depth, depth_scale, return_confidence)

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
        return self._predict(recording.image, recording.sparse_depth, None, return_confidence)

    def warm_up(
        self,
        sizes: Iterable[Size],
        *,
        batch_size: int = 1,
        gray: bool = False,
        return_confidence: bool = False,
    ) -> None:
        """Compiles the model for images that will come, so that no call has to wait for it.

        Args:
          sizes: (height, width) of the images in pixels. Sizes that are padded to the same
            multiples of 16 share a program.
          batch_size: the number of frames of a call, B.
          gray: whether the images will have one channel.
          return_confidence: as in `__call__`; depth with and without it are different programs.

        Raises:
          ValueError: a size or the batch size is not positive, or the model predicts no confidence.
          TypeError: `sizes` are not pairs.
        """
        if return_confidence:
            check_confidence(self.spec)
        for height, width in pairs_of(sizes, "sizes", "(height, width), such as [(375, 1242)]"):
            shape = batch_size, height, width
            if min(shape) < 1:
                raise ValueError(
                    f"sizes and batch_size must be positive, got {height}x{width} pixels and a "
                    f"batch of {batch_size}"
                )
            self._programs.warm_up(shape, 1 if gray else 3, return_confidence)

    @overload
    def stream(
        self,
        frames: Iterable[tuple[Array | None, Array | None]],
        *,
        depth_scale: float = 1.0,
        return_confidence: Literal[False] = False,
    ) -> Generator[np.ndarray, None, None]: ...

    @overload
    def stream(
        self,
        frames: Iterable[tuple[Array | None, Array | None]],
        *,
        depth_scale: float = 1.0,
        return_confidence: Literal[True],
    ) -> Generator[DepthEstimate, None, None]: ...

    def stream(
        self,
        frames: Iterable[tuple[Array | None, Array | None]],
        *,
        depth_scale: float = 1.0,
        return_confidence: bool = False,
    ) -> Generator[np.ndarray | DepthEstimate, None, None]:
        """Predicts one frame after the other, while the next ones are read and transferred.

        A thread iterates over `frames`, checks them and begins their transfer. If `frames` is a
        generator that reads and decodes files, this happens while the device works. A second thread
        starts the prediction of a frame as soon as it is there, while the caller uses the one
        before it. At most three frames are taken that have not been returned.

        Args:
          frames: pairs of image and depth as for `__call__`, of single frames or batches.
          depth_scale, return_confidence: as for `__call__`.

        Yields:
          What `__call__` returns, in the order of `frames`.

        Raises:
          ValueError: as `__call__`. It is raised in the place of the frame, which ends the stream,
            as errors of `frames` do.
          TypeError: an item of `frames` is not a pair.
        """
        if return_confidence:
            check_confidence(self.spec)
        pairs = pairs_of(frames, "frames", "(image, depth)")
        loaded = (self._load(image, depth, depth_scale) for image, depth in pairs)
        return self._programs.stream(loaded, return_confidence)

    def _predict(
        self,
        image: Array | None,
        depth: Array | None,
        depth_scale: float | None,
        return_confidence: bool,
    ) -> np.ndarray | DepthEstimate:
        """Predicts one batch; methods of the interface call it, for the places of warnings."""
        if return_confidence:
            check_confidence(self.spec)
        inputs = self._load(image, depth, depth_scale)
        return self._programs.collect(inputs, self._programs.start(inputs, return_confidence))

    def _load(self, image: Array | None, depth: Array | None, depth_scale: float | None) -> Inputs:
        """Checks the inputs of a call and begins their transfer; without a scale, it is 1."""
        scale = 1.0 if depth_scale is None else depth_scale
        frames = arrays.prepare(self.spec, image, depth, scale)
        if frames.depth is not None and self._check is not None:
            self._check(frames.depth[..., 0], depth_scale)
        return self._programs.load(frames)


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
        depths back. Networks with `patch` 2 or 4 then lack the sparse depth and predict poor depth.
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
