"""What a model is: the settings that its weights depend on, without the network itself."""

import dataclasses
from typing import Any

SPARSE_TO_COARSE = "sparse_to_coarse"
COARSE_TO_FINE = "coarse_to_fine"
MODALITIES = {
    SPARSE_TO_COARSE: ("rgbd", "gd", "d", "rgb", "g"),
    COARSE_TO_FINE: ("rgbd", "gd"),
}
VARIANTS = ("released", "paper")
# What sparse-to-coarse starts from.
BASES = ("none", "fill")
RESNET_LAYERS = (18, 34, 50)
MAX_DEPTH = {SPARSE_TO_COARSE: 100.0, COARSE_TO_FINE: 85.0}


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """What a network is, as far as its weights depend on it; kept beside every checkpoint.

    Attributes:
      network: `sparse_to_coarse` (the STD network) or `coarse_to_fine` (FCFR-Net).
      layers: depth of the ResNet encoder, 18, 34 or 50.
      modality: inputs: `rgb` or `g` for the image, `d` for depth, or both; FCFR-Net takes both.
      width: channels at full resolution, which scales all others; 64 is the published one.
      variant: wiring of FCFR-Net: `released` as the published weights need it, or `paper`.
      window: side in pixels of FCFR-Net's energy box, odd.
      base: of sparse-to-coarse: `none`, as published, or `fill`: it reads the classical fill of
        the sparse depth, with the measured depths put back, beside it, and predicts the difference
        from that. A narrow network comes further this way with little training.
      keep_measured: of sparse-to-coarse: measured depths take the place of its own, and of those of
        a network that refines it, but for points seen through what is in front; the replacement
        step of CSPN (arXiv 1808.00150). Off, as published.

    Raises:
      ValueError: a value that no network has.
    """

    network: str
    layers: int = 34
    modality: str = "rgbd"
    width: int = 64
    variant: str = "released"
    window: int = 5
    base: str = "none"
    keep_measured: bool = False

    def __post_init__(self) -> None:
        _check("network", self.network, tuple(MODALITIES))
        _check("layers", self.layers, RESNET_LAYERS)
        _check("modality", self.modality, MODALITIES[self.network])
        _check("variant", self.variant, VARIANTS)
        _check("base", self.base, BASES)
        if self.base == "fill" and (self.network != SPARSE_TO_COARSE or not self.uses_depth):
            raise ValueError(
                f"only {SPARSE_TO_COARSE} with a depth input can start from the fill, "
                f"got {self.network} of modality {self.modality}"
            )
        if not isinstance(self.keep_measured, bool):
            raise ValueError(f"keep_measured must be True or False, got {self.keep_measured!r}")
        if self.keep_measured and (self.network != SPARSE_TO_COARSE or not self.uses_depth):
            raise ValueError(
                f"only {SPARSE_TO_COARSE} with a depth input can keep measured depths, "
                f"got {self.network} of modality {self.modality}"
            )
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {self.width}")
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window must be odd and positive, got {self.window}")

    @property
    def max_depth(self) -> float:
        """The largest depth in metres that the network is meant to return."""
        return MAX_DEPTH[self.network]

    @property
    def uses_image(self) -> bool:
        return self.modality != "d"

    @property
    def uses_depth(self) -> bool:
        return self.modality.endswith("d")


@dataclasses.dataclass(frozen=True)
class TwoStageSpec:
    """A sparse-to-coarse network and the coarse-to-fine network that refines its depth.

    Raises:
      ValueError: the networks are not one of each kind in this order.
    """

    coarse: ModelSpec
    fine: ModelSpec

    def __post_init__(self) -> None:
        if (self.coarse.network, self.fine.network) != (SPARSE_TO_COARSE, COARSE_TO_FINE):
            raise ValueError(
                f"a two-stage model is {SPARSE_TO_COARSE} then {COARSE_TO_FINE}, "
                f"got {self.coarse.network} then {self.fine.network}"
            )

    @property
    def max_depth(self) -> float:
        return self.fine.max_depth

    @property
    def uses_image(self) -> bool:
        return True

    @property
    def uses_depth(self) -> bool:
        return self.coarse.uses_depth


def _check(name: str, value: Any, allowed: tuple) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}")
