"""Checks the depth that callers pass to a predictor."""

import warnings

import numpy as np

from fcfrnet_jax.data import plausibility
from fcfrnet_jax.data.own.inputs import scale_advice
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, Spec, TwoStageSpec


class DepthCheck:
    """Checks the first frames of a stream of depth maps, and finds every empty one."""

    def __init__(self, spec: Spec) -> None:
        coarse = isinstance(spec, CoarseToFineSpec)
        self._key = "coarse_depth" if coarse else "sparse_depth"
        self._limits = depth_limits(spec)
        self._left = plausibility.SAMPLES
        self._warned: set[str] = set()

    def __call__(self, depth: np.ndarray, scale: float | None) -> None:
        """Checks `[B, H, W]` metres; unusual depth gives one warning of its kind.

        Args:
          depth: in metres, 0 = missing.
          scale: by which the depth was divided, for messages; None if the caller has no such
            argument, because the depth is that of points.

        Raises:
          ValueError: depth that is impossible.
        """
        for frame in depth:
            if not self._left and frame.any():
                continue
            self._left = max(self._left - 1, 0)
            maps = {self._key: frame}
            for finding in plausibility.find_implausible(maps, limits=self._limits, of_model=True):
                text = f"{self._key.replace('_', ' ')}: {finding.text}"
                if finding.impossible:
                    advice = "; the points must be in metres"
                    if scale is not None:
                        advice = scale_advice(frame * np.float32(scale), scale)
                    raise ValueError(f"{text}{advice}; check_depth=False skips this check")
                if finding.kind not in self._warned:
                    self._warned.add(finding.kind)
                    warnings.warn(text, stacklevel=5)


def depth_limits(spec: Spec) -> tuple[float, float]:
    """The smallest and the largest depth in metres that the input of a model usually has."""
    least, largest = (spec.coarse if isinstance(spec, TwoStageSpec) else spec).limits
    if isinstance(spec, CoarseToFineSpec):
        # Coarse depth reaches farther than what it is refined to: 100 and 85 m on KITTI.
        largest *= SparseToCoarseSpec().max_depth
        largest /= CoarseToFineSpec().max_depth
    return least, largest
