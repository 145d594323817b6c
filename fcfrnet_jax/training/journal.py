"""Records of a training run: `metrics.jsonl` and TensorBoard event files."""

import json
from pathlib import Path

import numpy as np

from fcfrnet_jax.files import atomic_path


class Journal:
    """Appends to the records of a run.

    A run that was killed may have recorded steps after its last snapshot. These lines are removed
    first. `metrics.jsonl` holds no times, so a resumed run writes the same file as an uninterrupted
    one.

    Args:
      workdir: the folder for `metrics.jsonl` and `tensorboard/`.
      step: the step of the snapshot; lines of later steps are removed.
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
        """Writes finite numbers to a line of `metrics.jsonl` and to TensorBoard."""
        line = {"step": step} | {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        self.show(step, values)

    def show(self, step: int, values: dict[str, float]) -> None:
        """Writes numbers, such as times, only to TensorBoard."""
        for name, value in values.items():
            self._board.add_scalar(name, float(value), step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 `[H, W, 3]` RGB, to TensorBoard."""
        self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_journal(workdir: str | Path) -> list[dict[str, float]]:
    """Reads the lines of `metrics.jsonl`; an unfinished last line is ignored."""
    return [json.loads(line) for line in _whole_lines(Path(workdir) / "metrics.jsonl")]


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [line for line in lines if line.endswith("\n")]
