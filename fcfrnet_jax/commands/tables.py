"""Prints results as tables and sentences."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from fcfrnet_jax.evaluation.frames import FrameMetrics
from fcfrnet_jax.evaluation.metrics import NAMES
from fcfrnet_jax.training.pool_validation import Figures

LABELS = {
    "rmse_mm": "RMSE (mm)",
    "mae_mm": "MAE (mm)",
    "irmse_1_per_km": "iRMSE (1/km)",
    "imae_1_per_km": "iMAE (1/km)",
    "silog": "SILog (x100)",
    "abs_rel": "abs rel",
    "sq_rel": "sq rel",
    "delta1": "delta < 1.25",
    "delta2": "delta < 1.25^2",
    "delta3": "delta < 1.25^3",
}


def print_metrics(result: dict[str, Any], workdir: Path) -> None:
    """Prints a summary of `metrics.json`: the models' origin, the means, and the frames left out.

    Args:
      result: what `evaluate.run` returns.
      workdir: where it was written.
    """
    console = Console(markup=False, highlight=False)
    for setting, provenance in result["provenance"].items():
        console.print(f"Model {result[setting]}: {origin(provenance)}", soft_wrap=True)
    if result["metrics"]:
        frames = _frames(result["frames"])
        title = f"Mean over the {frames} of {result['split']}, {result['data']}:"
        console.print(title, soft_wrap=True)
        table = Table("", *result["metrics"])
        for measure in NAMES:
            row = (rounded(values[measure]) for values in result["metrics"].values())
            table.add_row(LABELS[measure], *row)
        console.print(table)
    if result["skipped"]:
        count = len({item["name"] for item in result["skipped"]})
        left_out = f"Left out {_frames(count)} with files that cannot be used; see metrics.json"
        console.print(left_out, soft_wrap=True)
    written = (
        "metrics.json, predictions and panels"
        if result["panels"]
        else "metrics.json and predictions"
    )
    console.print(f"Wrote {written} to {workdir}", soft_wrap=True)


def print_patterns(step: int, figures: Figures) -> None:
    """Prints the validation on rendered frames with several scan patterns.

    Args:
      step: the training step.
      figures: what `make_pool_validation` returns.
    """
    names = next(iter(figures.values()))
    table = Table("RMSE / MAE (mm)", *names, "change", "above (%)")
    for case, maps in figures.items():
        pairs = [f"{values['rmse_mm']:.0f} / {values['mae_mm']:.0f}" for values in maps.values()]
        fill, last = maps["fill"], list(maps.values())[-1]
        change = (100 * (last[name] / fill[name] - 1) for name in ("rmse_mm", "mae_mm"))
        above = " ".join(f"{100 * values['above']:.1f}" for values in maps.values())
        table.add_row(case, *pairs, "{:+.1f}, {:+.1f}%".format(*change), above)
    console = Console(stderr=True)
    console.print(
        f"Step {step}, rendered frames; change against the fill; median error above the scan:"
    )
    console.print(table)


def origin(provenance: dict[str, Any]) -> str:
    """Describes where weights come from, given the `provenance` of their checkpoint."""
    if {"coarse", "fine"} <= provenance.keys():
        return "; ".join(f"{stage} {origin(provenance[stage])}" for stage in ("coarse", "fine"))
    if "source" in provenance:
        return f"converted from {provenance['source']}"
    if "trained_steps" not in provenance:
        return "of unknown origin"
    settings = provenance.get("settings", {})
    data = settings.get("data_dir") or "sample scenes"
    if settings.get("source") == "synthetic":
        data = "rendered streets only"
    return f"trained for {provenance['trained_steps']} steps on {data}"


def rounded(value: float) -> str:
    """A figure as tables and captions show it."""
    return f"{value:.1f}" if value >= 100 else f"{value:.4g}"


def captions(metrics: FrameMetrics) -> dict[str, str]:
    """The caption of each depth map in a panel: its errors, as the table shows them."""
    return {
        name: f"RMSE {rounded(values['rmse_mm'])} mm, MAE {rounded(values['mae_mm'])} mm"
        for name, values in metrics.items()
    }


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"
