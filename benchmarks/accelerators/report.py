"""Markdown tables of the results of `accelerator.py`, for docs/performance.md."""

from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
# Operations of a profile.
SHOWN = 10


def tables(rows: Sequence[Row]) -> str:
    """All results as Markdown, in the order of the parts; failures last."""
    about = {row["key"]: row["result"] for row in rows if row["key"].startswith("about/")}
    facts = [f"{name} {value}" for found in about.values() for name, value in found.items()]
    parts = [", ".join(facts)]
    for part in ("device", "parity", "prediction", "training", "renderer", "flags", "profile"):
        found = [row for row in rows if row.get("part") == part and "result" in row]
        if found:
            parts += [f"## {part}", *_part(found)]
    failed = [row for row in rows if "error" in row]
    if failed:
        parts += ["## failed", *(f"- {row['key']}: {row['error']}" for row in failed)]
    return "\n\n".join(_joined(parts)) + "\n"


def _joined(parts: list[str]) -> list[str]:
    """Joins the lines of a list into one block."""
    blocks: list[str] = []
    for part in parts:
        if blocks and part.startswith("- ") and blocks[-1].startswith("- "):
            blocks[-1] += "\n" + part
        else:
            blocks.append(part)
    return blocks


def _part(rows: Sequence[Row]) -> list[str]:
    """The tables of a part: one for each set of columns."""
    shapes: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if "operations" in row["result"]:
            continue
        flat = _flat(row["result"])
        shapes.setdefault(tuple(flat), []).append({"name": row["name"], **flat})
    found = [_table(["name", *names], group) for names, group in shapes.items()]
    for row in rows:
        if "operations" in row["result"]:
            facts = dict(row["result"])
            operations = facts.pop("operations")
            found += [f"{row['name']}: " + ", ".join(f"{k} {_text(v)}" for k, v in facts.items())]
            columns = ["share", "ms", "launches", "name", "category", "source"]
            found.append(_table(columns, operations[:SHOWN]))
    return found


def _flat(result: Row) -> Row:
    """One column per value; those of a contender are named after it."""
    flat: Row = {}
    for name, value in result.items():
        if isinstance(value, dict):
            for contender, inner in _flat(value).items():
                flat[f"{contender} {name}"] = inner
        else:
            flat[name] = value
    rates = result.get("frames_per_s")
    if isinstance(rates, dict) and len(rates) > 1 and "jax" in rates:
        best = max(value for name, value in rates.items() if name != "jax")
        flat["jax relative to the best"] = rates["jax"] / best
    return flat


def _table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [columns, ["---"] * len(columns)]
    lines += [[_text(row.get(column, "")) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
