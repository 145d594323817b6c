"""Tables of the results of `benchmarks/scanners.py`, in Markdown."""

import re
from collections.abc import Sequence
from typing import Any

from benchmarks.quality.compare import ORDERS, change

Row = dict[str, Any]


def error_table(rows: Sequence[Row]) -> list[str]:
    """RMSE / MAE in mm by case, and the change in percent of both."""
    heads = ["case", "fill", "model", "change", "largest change of a frame"]
    for label in rows[0]["others"]:
        heads += [label, f"change against {label}"]
    return _table(heads, [_error_cells(row) for row in rows])


def _error_cells(row: Row) -> list[str]:
    worst = row["worst"]
    cells = [row["case"], _errors(row["fill"]), _errors(row["model"]), _change(row["change"])]
    cells.append(f"{worst['rmse_percent']:+.1f}% ({short(worst['frame'])})")
    for figures in row["others"].values():
        cells += [_errors(figures), _change(change(row["model"], figures))]
    return cells


def exact_table(rows: Sequence[Row]) -> list[str]:
    """The median relative error above the scan, and the share of the sky that is far."""
    rows = [row for row in rows if "above_percent" in row["fill"]]
    maps = ["fill", "model", *(rows[0]["others"] if rows else ())]
    heads = ["case"]
    for title in ("median error above the scan", "sky beyond 60 m"):
        heads += [f"{title}: {name}" for name in maps]
    found = [{name: row[name] for name in maps[:2]} | row["others"] for row in rows]
    lines = [
        [row["case"], *(f"{figures[name][key]:.1f}%" for key in _EXACT for name in maps)]
        for row, figures in zip(rows, found, strict=True)
    ]
    return _table(heads, lines)


_EXACT = ("above_percent", "sky_percent")


def confidence_table(rows: Sequence[Row]) -> list[str]:
    """The mean error by deciles of the expected error, and the AUSE of each order."""
    heads = ["case", "error by deciles of the expected error, mm", "expected, mm"]
    heads += [f"AUSE: {order}" for order in ORDERS]
    lines = [
        [
            row["case"],
            *(", ".join(f"{value:.0f}" for value in found[key]) for key in _DECILES),
            *(f"{value:.2f}" for value in found["ause"]),
        ]
        for row in rows
        if (found := row.get("confidence"))
    ]
    return _table(heads, lines)


_DECILES = ("error_mm", "expected_mm")


def short(frame: str) -> str:
    """Shortens KITTI's name of a frame to the numbers of the drive and the frame."""
    return re.sub(r"\d{4}_\d\d_\d\d_drive_(\d+)_sync|(?<=\D)0{4,}", r"\1", frame)


def _errors(figures: dict[str, float]) -> str:
    return f"{figures['rmse_mm']:.0f} / {figures['mae_mm']:.0f}"


def _change(percent: Sequence[float]) -> str:
    return ", ".join(f"{value:+.1f}%" for value in percent)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    if not lines:
        return []
    rule = ["---"] * len(heads)
    return [f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines)]
