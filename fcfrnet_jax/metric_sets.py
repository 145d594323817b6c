"""Which metrics of a data set are shown, and how. `evaluation.metrics` computes all of them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """How a metric is shown.

    Attributes:
      name: one of `evaluation.metrics.NAMES`.
      label: what it is called.
      unit: of the shown value; empty for shares and ratios.
      scale: the computed value times this is shown.
      digits: after the decimal point in tables; None for four significant ones, and one after the
        point from 100 on.
      fixed: the format in the line of a validation.
    """

    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    digits: int | None = None
    fixed: str = ".4f"

    @property
    def heading(self) -> str:
        """The label with the unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, value: float) -> str:
        """The value as tables and captions show it."""
        value *= self.scale
        if self.digits is not None:
            return f"{value:.{self.digits}f}"
        return f"{value:.1f}" if value >= 100 else f"{value:.4g}"

    def described(self, text: str) -> str:
        """A text of the value with its label and unit: `RMSE 801.3 mm`."""
        return f"{self.label} {text} {self.unit}".rstrip()


@dataclass(frozen=True)
class MetricSet:
    """The metrics that are shown for a data set.

    Attributes:
      measures: in the order of the table. The first one is the RMSE, by which models are selected;
        the first two are in captions and in the lines of validations.
      heading: of these two, for the lines of validations.
    """

    measures: tuple[Measure, ...]
    heading: str

    def caption(self, metrics: Mapping[str, float]) -> str:
        """The first two metrics of a depth map, for a panel."""
        return ", ".join(m.described(m.text(metrics[m.name])) for m in self.measures[:2])

    def line(self, metrics: Mapping[str, float]) -> str:
        """The first two metrics of a depth map, aligned, without their labels."""
        return " / ".join(format(m.scale * metrics[m.name], m.fixed) for m in self.measures[:2])

    def best(self, value: float) -> str:
        """The first metric, of the best model."""
        first = self.measures[0]
        return first.described(format(first.scale * value, first.fixed).strip())


KITTI = MetricSet(
    (
        Measure("rmse_mm", "RMSE", "mm", fixed="7.1f"),
        Measure("mae_mm", "MAE", "mm", fixed="6.1f"),
        Measure("irmse_1_per_km", "iRMSE", "1/km"),
        Measure("imae_1_per_km", "iMAE", "1/km"),
        Measure("silog", "SILog", "x100"),
        Measure("abs_rel", "abs rel"),
        Measure("sq_rel", "sq rel"),
        Measure("delta1", "delta < 1.25"),
        Measure("delta2", "delta < 1.25^2"),
        Measure("delta3", "delta < 1.25^3"),
    ),
    heading="RMSE / MAE in mm",
)
# Those of papers on NYU Depth v2.
INDOOR = MetricSet(
    (
        Measure("rmse_mm", "RMSE", "m", scale=1e-3, digits=4),
        Measure("abs_rel", "REL", digits=4),
        Measure("mae_mm", "MAE", "m", scale=1e-3, digits=4),
        Measure("delta_1_02", "delta < 1.02", digits=4),
        Measure("delta_1_05", "delta < 1.05", digits=4),
        Measure("delta_1_10", "delta < 1.10", digits=4),
        Measure("delta1", "delta < 1.25", digits=4),
        Measure("delta2", "delta < 1.25^2", digits=4),
        Measure("delta3", "delta < 1.25^3", digits=4),
    ),
    heading="RMSE in m / REL",
)
