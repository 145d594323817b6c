"""Draws the curves of training runs from their workdirs, one row per run.

    python benchmarks/curves.py output/coarse output/fine output/joint --image curves.png

Left: the training loss. Right: the RMSE of every depth map on the validation frames. Needs
matplotlib.
"""

import argparse
import sys
from pathlib import Path

from matplotlib.figure import Figure

if not __package__:
    # The command works in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.training.journal import read_journal


def column(rows: list[dict[str, float]], name: str) -> tuple[list[float], list[float]]:
    """Returns the steps at which `name` was recorded, and its values."""
    found = [(row["step"], row[name]) for row in rows if name in row]
    return [step for step, _ in found], [value for _, value in found]


def draw(workdirs: list[Path], image: Path) -> None:
    """Draws the curves of the runs to an image file."""
    figure = Figure(figsize=(10, 2.8 * len(workdirs)), layout="constrained")
    axes = figure.subplots(len(workdirs), 2, squeeze=False)
    for workdir, (loss, rmse) in zip(workdirs, axes, strict=True):
        rows = read_journal(workdir)
        loss.semilogy(*column(rows, "loss"), linewidth=0.8)
        loss.set(title=f"{workdir.name}: training loss", xlabel="step")
        for name in ("fill", "coarse", "fine"):
            steps, values = column(rows, f"val/{name}/rmse_mm")
            if steps:
                rmse.plot(steps, values, marker=".", label=f"{name}, final {values[-1]:.0f}")
        rmse.set(title=f"{workdir.name}: RMSE, mm", xlabel="step", ylim=(0, None))
        rmse.legend()
    figure.savefig(image, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", type=Path, nargs="+")
    parser.add_argument("--image", type=Path, default=Path("curves.png"))
    options = parser.parse_args()
    for workdir in options.workdirs:
        if not (workdir / "metrics.jsonl").is_file():
            parser.error(f"{workdir} is not the workdir of a training run: it has no metrics.jsonl")
    draw(options.workdirs, options.image)
    print(f"The curves are in {options.image}")


if __name__ == "__main__":
    main()
