"""Specs: the settings of a model that its weights depend on."""

import dataclasses
from typing import Any, ClassVar

SPARSE_TO_COARSE = "sparse_to_coarse"
COARSE_TO_FINE = "coarse_to_fine"
TWO_STAGE = "two_stage"
RESNET_LAYERS = (10, 18, 34, 50)
VARIANTS = ("released", "paper")
BASES = ("none", "fill")
PATCHES = (1, 2, 4)
# Far above any useful network; damaged or hostile files must not request more.
MAX_WIDTH = 1024
MAX_WINDOW = 1023
# Metres. Below the first one, measured depth counts as missing; networks of patches cannot express
# much more than the second.
SMALLEST, LARGEST = 0.1, 1000.0


@dataclasses.dataclass(frozen=True)
class _StageSettings:
    """The settings that both networks have in common; see the classes below."""

    network: ClassVar[str]
    modalities: ClassVar[tuple[str, ...]]

    layers: int = 34
    modality: str = "rgbd"
    width: int = 64
    patch: int = dataclasses.field(default=1, kw_only=True)
    min_depth: float = dataclasses.field(default=0.9, kw_only=True)
    max_depth: float = dataclasses.field(default=100.0, kw_only=True)

    def __post_init__(self) -> None:
        _check("layers", self.layers, RESNET_LAYERS)
        _check("modality", self.modality, self.modalities)
        _check("patch", self.patch, PATCHES)
        _check_integer("width", self.width, MAX_WIDTH)
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {self.width}")
        _check_range(self.min_depth, self.max_depth)

    @property
    def limits(self) -> tuple[float, float]:
        """`min_depth` and `max_depth`."""
        return self.min_depth, self.max_depth

    @property
    def uses_image(self) -> bool:
        return self.modality != "d"

    @property
    def uses_depth(self) -> bool:
        return self.modality.endswith("d")


@dataclasses.dataclass(frozen=True)
class SparseToCoarseSpec(_StageSettings):
    """The sparse-to-coarse network (the STD network).

    Attributes:
      layers: depth of the ResNet encoder: 10, 18, 34 or 50.
      modality: the inputs: `rgb` (colour) or `g` (gray) for the image, `d` for sparse depth, or an
        image and depth: `rgbd`, `gd`.
      width: number of channels at full resolution, which scales all others; a positive multiple
        of 4. The published width is 64.
      patch: side in pixels of the patches that are the positions of the network's features. 1, as
        published, or 2 or 4: the form of `patches.py`, which is faster with few channels. It
        predicts log depth by convex combinations, always from the classical fill.
      base: `none`, as published, or `fill`: the network also reads the classical fill of the
        sparse depth, with the measured depths put back, and predicts the difference from it. This
        makes narrow networks more accurate after short training.
      min_depth, max_depth: metres, the range of the result after clipping. Networks also scale
        depth by the largest one. The published networks have 0.9 and 100, for KITTI.
      keep_measured: replace predicted by measured depths, here and in a network that refines the
        coarse depth, except at points seen through the foreground. This is the replacement step of
        CSPN (arXiv 1808.00150). The published network does not do it.

    Raises:
      ValueError: a value outside its range.
    """

    network = SPARSE_TO_COARSE
    modalities = ("rgbd", "gd", "d", "rgb", "g")

    base: str = "none"
    keep_measured: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("base", self.base, BASES)
        _check("keep_measured", self.keep_measured, (False, True))
        if (self.base == "fill" or self.keep_measured) and not self.uses_depth:
            raise ValueError(
                "base='fill' and keep_measured=True need a modality with depth, "
                f"got {self.modality!r}"
            )
        if self.patch > 1 and not self.uses_depth:
            raise ValueError(
                f"patch={self.patch} needs a modality with depth, got {self.modality!r}: networks "
                "of patches start from the classical fill"
            )


@dataclasses.dataclass(frozen=True)
class CoarseToFineSpec(_StageSettings):
    """The coarse-to-fine network (FCFR-Net).

    Attributes:
      layers, width, patch, min_depth, max_depth: as for `SparseToCoarseSpec`, but the published
        `max_depth` is 85.
      modality: `rgbd`; `gd` for a gray image; or `d` for none, which needs `patch` above 1.
      variant: the wiring: `released`, which the published weights require, or `paper`.
      window: side of the box over which energies are summed, in pixels, odd.

    Raises:
      ValueError: a value outside its range.
    """

    network = COARSE_TO_FINE
    modalities = ("rgbd", "gd", "d")

    variant: str = "released"
    window: int = 5
    max_depth: float = dataclasses.field(default=85.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("variant", self.variant, VARIANTS)
        if not self.uses_image and self.patch == 1:
            raise ValueError(
                "modality='d' of the fine network needs patch=2 or 4: the published form has an "
                "encoder for the image"
            )
        _check_integer("window", self.window, MAX_WINDOW)
        if self.window < 1 or self.window % 2 == 0:
            raise ValueError(f"window must be odd and positive, got {self.window}")


@dataclasses.dataclass(frozen=True)
class TwoStageSpec:
    """A sparse-to-coarse network and the coarse-to-fine network that refines its depth.

    Raises:
      ValueError: the networks are of another kind.
    """

    coarse: SparseToCoarseSpec
    fine: CoarseToFineSpec

    network = TWO_STAGE

    def __post_init__(self) -> None:
        found = (self.coarse.network, self.fine.network)
        if found != (SPARSE_TO_COARSE, COARSE_TO_FINE):
            raise ValueError(
                f"a two-stage model is {SPARSE_TO_COARSE} then {COARSE_TO_FINE}, "
                f"got {found[0]} then {found[1]}"
            )

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the fine depth."""
        return self.fine.limits

    @property
    def uses_image(self) -> bool:
        return self.coarse.uses_image or self.fine.uses_image

    @property
    def uses_depth(self) -> bool:
        return self.coarse.uses_depth


StageSpec = SparseToCoarseSpec | CoarseToFineSpec
Spec = SparseToCoarseSpec | CoarseToFineSpec | TwoStageSpec


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """Converts a spec to JSON types; `spec_from_json` is the inverse."""
    if isinstance(spec, TwoStageSpec):
        stages = {"coarse": spec_to_json(spec.coarse), "fine": spec_to_json(spec.fine)}
        return {"network": TWO_STAGE, **stages}
    return {"network": spec.network, **dataclasses.asdict(spec)}


def spec_from_json(record: object) -> Spec:
    """Reads a record of `spec_to_json`, or of the first version of this package.

    Raises:
      ValueError: an unknown network or setting, a missing stage, or a value outside its range.
    """
    settings = _settings_of(record, "the model")
    _check("network", settings["network"], (SPARSE_TO_COARSE, COARSE_TO_FINE, TWO_STAGE))
    if settings["network"] != TWO_STAGE:
        return _stage_from_json(settings)
    stages = {
        stage: _stage_from_json(_settings_of(settings.pop(stage, None), f"the {stage} stage"))
        for stage in ("coarse", "fine")
    }
    _check_known(settings, {"network"})
    return TwoStageSpec(**stages)  # type: ignore[arg-type]  # checked by the class


def differing_settings(found: Spec, wanted: Spec) -> dict[str, tuple[Any, Any]]:
    """Returns the settings that differ between two specs of the same kind of network.

    Returns:
      The values of `found` and `wanted` by name, such as `width`, or `coarse.width` for a two-stage
      model. A network of another kind differs in `network` alone.
    """
    one, other = (_flat(spec_to_json(spec)) for spec in (found, wanted))
    if one["network"] != other["network"]:
        return {"network": (one["network"], other["network"])}
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in record.items():
        inner = _flat(value) if isinstance(value, dict) else {"": value}
        flat |= {f"{name}.{key}".rstrip("."): leaf for key, leaf in inner.items()}
    return flat


def _settings_of(record: object, what: str) -> dict[str, Any]:
    if not isinstance(record, dict) or "network" not in record:
        raise ValueError(f"{what} is not described by an object with the entry 'network'")
    return dict(record)


def _stage_from_json(settings: dict[str, Any]) -> StageSpec:
    network = settings.pop("network")
    _check("network", network, (SPARSE_TO_COARSE, COARSE_TO_FINE))
    kinds: tuple[type[StageSpec], ...] = (SparseToCoarseSpec, CoarseToFineSpec)
    kind, other = kinds if network == SPARSE_TO_COARSE else kinds[::-1]
    own = {field.name for field in dataclasses.fields(kind)}
    # The first version wrote the settings of both networks for each of them.
    for field in dataclasses.fields(other):
        if field.name not in own and settings.get(field.name) == field.default:
            del settings[field.name]
    _check_known(settings, own)
    return kind(**settings)


def _check_known(settings: dict[str, Any], known: set[str]) -> None:
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise ValueError(f"unknown setting {_short(unknown[0])}")


def _check_range(least: object, largest: object) -> None:
    for name, value in (("min_depth", least), ("max_depth", largest)):
        if type(value) not in (float, int):
            raise ValueError(f"{name} must be a number, got {_short(value)}")
    if not SMALLEST <= least < largest <= LARGEST:  # type: ignore[operator]
        raise ValueError(
            f"min_depth and max_depth must be within {SMALLEST:g} to {LARGEST:g} m, and the first "
            f"below the second, got {least:g} and {largest:g}"
        )


def _check_integer(name: str, value: object, largest: int) -> None:
    if type(value) is not int:
        raise ValueError(f"{name} must be an integer, got {_short(value)}")
    if value > largest:
        raise ValueError(f"{name} must be at most {largest}, got {_short(value)}")


def _short(value: object) -> str:
    """The beginning of a value from a file, which may be very long."""
    return repr(value)[:40]


def _check(name: str, value: Any, allowed: tuple) -> None:
    if value not in allowed or type(value) is not type(allowed[0]):
        raise ValueError(
            f"{name} must be one of {', '.join(map(str, allowed))}, got {_short(value)}"
        )
