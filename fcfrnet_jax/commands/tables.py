"""Prints results as tables and sentences."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rich.table import Table

from fcfrnet_jax.evaluation.frames import FrameMetrics
from fcfrnet_jax.files import count_of
from fcfrnet_jax.metric_sets import KITTI, MetricSet
from fcfrnet_jax.progress import console


def print_metrics(result: dict[str, Any], workdir: Path, shown: MetricSet = KITTI) -> None:
    """Prints a summary of `metrics.json`: the models' origin, the means, and the frames left out.

    Args:
      result: what `evaluate.run` returns.
      workdir: where it was written.
      shown: the metrics in the table.
    """
    output = console()
    for setting, provenance in result["provenance"].items():
        output.print(f"Model {result[setting]}: {origin(provenance)}", soft_wrap=True)
    if result["metrics"]:
        frames = count_of(result["frames"], "frame")
        title = f"Mean over the {frames} of {result['split']}, {result['data']}:"
        output.print(title, soft_wrap=True)
        table = Table("", *result["metrics"])
        for measure in shown.measures:
            row = (measure.text(values[measure.name]) for values in result["metrics"].values())
            table.add_row(measure.heading, *row)
        output.print(table)
    if result["skipped"]:
        skipped = count_of(len({item["name"] for item in result["skipped"]}), "frame")
        left_out = f"Left out {skipped} with files that cannot be used; see metrics.json"
        output.print(left_out, soft_wrap=True)
    written = (
        "metrics.json, predictions and panels"
        if result["panels"]
        else "metrics.json and predictions"
    )
    output.print(f"Wrote {written} to {workdir}", soft_wrap=True)


def rendered_table(figures: Mapping[str, float]) -> str:
    """The validation on rendered frames, a line for each case.

    Args:
      figures: what `make_rendered_validation` returns.
    """
    cases: dict[str, dict[str, dict[str, float]]] = {}
    for key, value in figures.items():
        if key.count("/") == 3:
            _, case, name, measure = key.split("/")
            cases.setdefault(case, {}).setdefault(name, {})[measure] = value
    names = next(iter(cases.values()))
    headings = (*names, "change", "worst frame", "above scan")
    table = Table("RMSE / MAE (mm)", *headings, box=None, padding=(0, 2, 0, 0))
    for case, maps in cases.items():
        pairs = [f"{found['rmse_mm']:.0f} / {found['mae_mm']:.0f}" for found in maps.values()]
        *_, last = maps.values()
        change = f"{last['rmse_change']:+.1%} / {last['mae_change']:+.1%}"
        worst = f"{last['worst_change']:+.1%} (frame {last['worst_frame']:.0f})"
        above = " ".join(f"{found['above']:.1%}" for found in maps.values() if "above" in found)
        table.add_row(case.replace("_", " "), *pairs, change, worst, above)
    text = StringIO()
    console(width=120, file=text).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def origin(provenance: dict[str, Any]) -> str:
    """Describes where weights come from, given the `provenance` of their checkpoint."""
    if {"coarse", "fine"} <= provenance.keys():
        return "; ".join(f"{stage} {origin(provenance[stage])}" for stage in ("coarse", "fine"))
    if "averaged" in provenance:
        models = provenance["averaged"]
        return f"mean of {len(models)} models, the last one {origin(models[-1])}"
    if "source" in provenance:
        return f"converted from {provenance['source']}"
    if "trained_steps" not in provenance:
        return "of unknown origin"
    settings = provenance.get("settings", {})
    data = settings.get("data_dir") or "sample scenes"
    if settings.get("source") == "synthetic":
        data = "rendered streets only"
    return f"trained for {provenance['trained_steps']} steps on {data}"


def captions(metrics: FrameMetrics, shown: MetricSet = KITTI) -> dict[str, str]:
    """The caption of each depth map in a panel: its errors, as the table shows them."""
    return {name: shown.caption(values) for name, values in metrics.items()}
