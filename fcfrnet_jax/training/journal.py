"""Records of a training run: `metrics.jsonl` and TensorBoard event files."""

import json
import socket
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from fcfrnet_jax.files import atomic_path, parse_json
from fcfrnet_jax.system_errors import append, open_to_append
from fcfrnet_jax.text import printable


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
      OSError: a file cannot be written, here or by the methods; it is named.
    """

    def __init__(self, workdir: str | Path, step: int) -> None:
        self._path = Path(workdir) / "metrics.jsonl"
        lines = [text for text, record in _lines(self._path) if record["step"] <= step]
        with atomic_path(self._path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        self._file = open_to_append(self._path)
        self._board = _board(Path(workdir) / "tensorboard", step)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Writes finite numbers to a line of `metrics.jsonl` and to TensorBoard."""
        line = {"step": step} | {name: float(value) for name, value in values.items()}
        append(self._file, json.dumps(line, allow_nan=False).encode() + b"\n")
        self.show(step, values)

    def show(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers, such as times, only to TensorBoard."""
        if self._board:
            for name, value in values.items():
                self._board.scalar(step, name, float(value))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 `[H, W, 3]` RGB, to TensorBoard."""
        if self._board:
            self._board.image(step, printable(name), image)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()


class _Board:
    """An event file of TensorBoard, which hides what earlier files have from a step on.

    tensorboardX's own writer writes in a thread, which dies when the disk is full; training would
    then wait for it for ever.
    """

    def __init__(self, folder: Path, step: int | None) -> None:
        from tensorboardX import summary
        from tensorboardX.proto import event_pb2
        from tensorboardX.record_writer import masked_crc32c

        self._summary, self._event, self._checksum = summary, event_pb2.Event, masked_crc32c
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._file = open_to_append(folder / name)
        self._write(file_version="brain.Event:2")
        if step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._write(step=step, session_log=start)

    def scalar(self, step: int, name: str, value: float) -> None:
        self._write(step=step, summary=self._summary.scalar(name, value))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._write(step=step, summary=self._summary.image(name, image, dataformats="HWC"))

    def close(self) -> None:
        self._file.close()

    def _write(self, **event: Any) -> None:
        data = self._event(wall_time=time.time(), **event).SerializeToString()
        length = struct.pack("<Q", len(data))
        checksums = (struct.pack("<I", self._checksum(part)) for part in (length, data))
        append(self._file, b"".join((length, next(checksums), data, next(checksums))))


def _board(folder: Path, step: int) -> _Board | None:
    """The writer of the event files; None, with a warning, without tensorboardX."""
    try:
        return _Board(folder, step + 1 if step else None)
    except ImportError as error:
        logging.warning("No TensorBoard files are written: %s", error)
        return None


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
