"""Records of a training run: `metrics.jsonl` and TensorBoard event files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from fcfrnet_jax.files import atomic_path, parse_json


class Journal:
    """Appends to the records of a run.

    A run that was killed may have recorded steps after its last snapshot. These lines are removed
    first. `metrics.jsonl` holds no times, so a resumed run writes the same file as an uninterrupted
    one.

    Args:
      workdir: the folder for `metrics.jsonl` and `tensorboard/`.
      step: the step of the snapshot; lines of later steps are removed.

    Raises:
      ValueError: a line of `metrics.jsonl` is damaged.
    """

    def __init__(self, workdir: str | Path, step: int) -> None:
        self._path = Path(workdir) / "metrics.jsonl"
        lines = [text for text, record in _lines(self._path) if record["step"] <= step]
        with atomic_path(self._path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._board = _board(Path(workdir) / "tensorboard", step)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Writes finite numbers to a line of `metrics.jsonl` and to TensorBoard."""
        line = {"step": step} | {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        self.show(step, values)

    def show(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers, such as times, only to TensorBoard."""
        for name, value in values.items() if self._board else ():
            self._board.add_scalar(name, float(value), step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 `[H, W, 3]` RGB, to TensorBoard."""
        if self._board:
            self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()


def _board(folder: Path, step: int) -> Any:
    """The writer of the event files; None, with a warning, without tensorboardX."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        logging.warning("No TensorBoard files are written: %s", error)
        return None
    return SummaryWriter(str(folder), purge_step=step + 1 if step else None)


def read_journal(workdir: str | Path) -> list[dict[str, float]]:
    """Reads the lines of `metrics.jsonl`; an unfinished last line is ignored.

    Raises:
      ValueError: another line is damaged.
    """
    return [record for _, record in _lines(Path(workdir) / "metrics.jsonl")]


def _lines(path: Path) -> list[tuple[str, dict[str, float]]]:
    """The whole lines of the file, as text and as records."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder, expected a file of records")
    if not path.exists():
        return []
    found: list[tuple[str, dict[str, float]]] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            record = parse_json(line)
            _check_record(record, found[-1][1]["step"] if found else 0)
        except ValueError as error:
            raise ValueError(
                f"{path}: line {number} {error}; remove this line or the file, which only records "
                "the metrics"
            ) from error
        found.append((f"{line.decode()}\n", record))
    return found


def _check_record(record: dict[str, Any], before: float) -> None:
    step = record.get("step")
    if type(step) is not int:
        raise ValueError(f"has the step {step!r}, expected an integer")
    if step < before:
        raise ValueError(f"has the step {step} after step {before:.0f}")
    wrong = [name for name, value in record.items() if type(value) not in (int, float)]
    if wrong:
        raise ValueError(f"has the value {record[wrong[0]]!r} for {wrong[0]}, expected a number")
