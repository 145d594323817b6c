"""The results of `accelerator.py`, which survive the end of a run at any moment."""

import json
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Results:
    """The results file: one JSON object per line, written at once."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "results.jsonl"
        lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.exists() else []
        # A killed run may leave half a line.
        self.rows: list[Row] = [row for line in lines if (row := _parsed(line))]
        self._rewrite()

    def done(self, *, again: bool) -> set[str]:
        """The keys of the measured items; of the failed ones as well unless `again`."""
        return {row["key"] for row in self.rows if not (again and "error" in row)}

    def add(self, row: Row) -> None:
        self.rows = [old for old in self.rows if old["key"] != row["key"]] + [row]
        self._rewrite()

    def find(self, key: str) -> Row | None:
        """The result of an item, if there is one."""
        return next((row.get("result") for row in self.rows if row["key"] == key), None)

    def peak(self, dtype: str) -> float:
        """The measured rate of a matrix product in TFLOP/s, or NaN."""
        found = self.find(f"device/product {dtype} default")
        return found["tflop_per_s"] if found else float("nan")

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".partial")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")
        temporary.replace(self._path)


def _parsed(line: str) -> Row | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
