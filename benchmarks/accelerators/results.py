"""The results of `accelerator.py`, which survive the end of a run at any moment."""

import json
import re
from pathlib import Path
from typing import Any

Row = dict[str, Any]
FILE = "results.jsonl"


class Results:
    """The results file: one JSON object per line, written at once."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE
        self.rows = _read(self._path)
        self._rewrite()

    def begin(self, about: Row) -> None:
        """Records the device that is measured from now on.

        Results of another device, or of a rehearsal, are set aside in another file; those of this
        device are taken up again.

        Args:
          about: the description of the device, with `toy` in a rehearsal.
        """
        earlier = self.find("about/jax")
        kept = self._aside(about)
        if earlier is not None and self._aside(earlier) != kept:
            self._path.replace(self._aside(earlier))
            print(f"Earlier results are kept in {self._aside(earlier)}", flush=True)
            self.rows = []
        take_up = not self.rows and kept.exists()
        self.rows = _read(kept) if take_up else self.rows
        self.add({"key": "about/jax", "result": about})
        if take_up:
            kept.unlink()

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

    def _aside(self, about: Row) -> Path:
        name = re.sub(r"\W+", "_", about["device"]) + ("_toy" if about.get("toy") else "")
        return self._path.with_name(f"results_{name}.jsonl")

    def _rewrite(self) -> None:
        temporary = self._path.with_suffix(".partial")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in self.rows), "utf-8")
        temporary.replace(self._path)


def _read(path: Path) -> list[Row]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    # A killed run may leave half a line.
    return [row for line in lines if (row := _parsed(line))]


def _parsed(line: str) -> Row | None:
    try:
        return json.loads(line)
    except ValueError:
        return None
