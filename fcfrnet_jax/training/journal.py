"""What a training run writes down as it goes: `metrics.jsonl` and TensorBoard's event files."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from fcfrnet_jax.files import atomic_path


class Journal:
    """Appends to a run's records, after taking back what a killed run wrote beyond its snapshot.

    `metrics.jsonl` holds no times, so that a resumed run writes what an uninterrupted one would.

    Args:
      workdir: gets `metrics.jsonl` and `tensorboard/`.
      step: the step from which the run goes on; lines of later steps are dropped.
    """

    def __init__(self, workdir: str | Path, step: int) -> None:
        from tensorboardX import SummaryWriter

        self._path = Path(workdir) / "metrics.jsonl"
        lines = [line for line in _whole_lines(self._path) if json.loads(line)["step"] <= step]
        with atomic_path(self._path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        folder = str(Path(workdir) / "tensorboard")
        self._board = SummaryWriter(folder, purge_step=step + 1 if step else None)

    def record(self, step: int, values: dict[str, float]) -> None:
        """Writes a line of finite numbers, and the same to TensorBoard."""
        line = {"step": step} | {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        self.show(step, values)

    def show(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers to TensorBoard alone, such as times."""
        for name, value in values.items():
            self._board.add_scalar(name, float(value), step)

    def picture(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes a uint8 picture `[H, W, 3]` to TensorBoard."""
        self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_journal(workdir: str | Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`; one that a killed run left unfinished is passed over."""
    return [json.loads(line) for line in _whole_lines(Path(workdir) / "metrics.jsonl")]


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
