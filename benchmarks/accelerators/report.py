"""Markdown tables of the results of `accelerator.py`, for docs/performance.md."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.accelerators.plan import PLAIN

Row = dict[str, Any]
Cell = Callable[[Row], Any]
# Operations of a profile.
SHOWN = 10
RIVALS = ("torch", "torch-compile", "torch-graphs", "torch-autotune")
JAX = ("jax", PLAIN)


def tables(rows: Sequence[Row]) -> str:
    """All results as Markdown, one table for each part; failures last."""
    about = [row["result"] for row in rows if row["key"].startswith("about/")]
    facts = dict(fact for found in about for fact in found.items())
    blocks = [", ".join(f"{name} {value}" for name, value in facts.items())]
    for part, columns in COLUMNS.items():
        found = [row for row in rows if row.get("part") == part and "result" in row]
        if found:
            blocks += [f"## {part}", _table(columns, found)]
            for row in found:
                if row["result"].get("operations"):
                    blocks += [f"### {row['name']}", _operations(row["result"]["operations"])]
    failed = [(row["key"], row["error"]) for row in rows if "error" in row]
    left_out = [
        (f"{row['key']} {name}", error)
        for row in rows
        for name, error in (row.get("result") or {}).get("errors", {}).items()
    ]
    if failed + left_out:
        lines = "\n".join(f"- {key}: {error}" for key, error in failed + left_out)
        blocks += ["## failed", lines]
    return "\n\n".join(blocks) + "\n"


def _table(columns: Mapping[str, Cell], rows: Sequence[Row]) -> str:
    """A table with the columns that are not empty, always in the same order."""
    filled = {
        heading: cells
        for heading, cell in columns.items()
        if any(cells := [_text(cell(row)) for row in rows])
    }
    lines = [list(filled), ["---"] * len(filled), *zip(*filled.values(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _operations(operations: Sequence[Row]) -> str:
    return _table(OPERATIONS, operations[:SHOWN])


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")


def _value(name: str) -> Cell:
    return lambda row: row["result"].get(name)


def _rate(contender: str) -> Cell:
    """Frames per second of a contender; a measurement without contenders is one of jax."""

    def cell(row: Row) -> Any:
        rates = row["result"].get("frames_per_s")
        if isinstance(rates, Mapping):
            return rates.get(contender)
        return rates if contender == "jax" else None

    return cell


def _ratio(row: Row) -> Any:
    """The rate of jax over that of its fastest rival."""
    rates = row["result"].get("frames_per_s")
    found = rates.items() if isinstance(rates, Mapping) else ()
    rivals = [rate for name, rate in found if name not in JAX]
    return f"{rates['jax'] / max(rivals):.2f}" if rivals else None


def _share(row: Row) -> Any:
    share = row["result"].get("share_of_peak")
    if isinstance(share, Mapping):
        share = share.get("jax")
    return None if share is None or share != share else f"{share:.0%}"


def _latency(percentile: str) -> Cell:
    """Milliseconds of single calls in jax."""

    def cell(row: Row) -> Any:
        pair = row["result"].get("latency_ms", {}).get("jax", {})
        return pair.get(percentile) or row["result"].get(f"{percentile}_ms")

    return cell


RATES: dict[str, Cell] = {
    "": lambda row: row["name"],
    **{name: _rate(name) for name in (*JAX, *RIVALS)},
    "jax / fastest rival": _ratio,
    "share of the peak": _share,
    "p50 ms": _latency("p50"),
    "p99 ms": _latency("p99"),
    "temporaries GiB": _value("temporary_gib"),
}
NAME: dict[str, Cell] = {"": lambda row: row["name"]}
COLUMNS: dict[str, dict[str, Cell]] = {
    "device": NAME | {"TFLOP/s": _value("tflop_per_s"), "GB/s": _value("gb_per_s")},
    "parity": NAME
    | {
        "plain, RMSE mm": _value("plain_rmse_mm"),
        "predicting, RMSE mm": _value("predicting_rmse_mm"),
        "training, RMSE mm": _value("training_rmse_mm"),
        "loss, relative error": _value("loss_relative"),
        "maximum mm": lambda row: row["result"].get(
            "max_mm", row["result"].get("predicting_max_mm")
        ),
    },
    "prediction": RATES,
    "training": RATES,
    "renderer": NAME | {"frames/s": _rate("jax")},
    "flags": NAME | {"frames/s": _rate("jax"), "share of the peak": _share},
    "profile": NAME
    | {
        "frames/s": _rate("jax"),
        "share of the peak": _share,
        "temporaries GiB": _value("temporary_gib"),
    },
}
OPERATIONS: dict[str, Cell] = {
    "share": lambda row: f"{row['share']:.1%}",
    "ms": lambda row: row["ms"],
    "kernels": lambda row: row["launches"],
    "what": lambda row: row["category"] or row["name"],
    "layer": lambda row: _layer(row["source"]),
}


def _layer(source: str) -> str:
    """The place of an operation in the network, without jax's wrappers."""
    names = [part.rpartition(".")[2] for part in source.split("/")]
    hidden = ("jit(", "CoarseToFine", "_released", "conv_general_dilated")
    backward = "backward of " if "transpose(jvp" in source else ""
    return backward + " ".join(n for n in names if not n.startswith(hidden) and "jvp(" not in n)
