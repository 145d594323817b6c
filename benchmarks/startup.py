"""Times how long a command takes to its first depth map, from nothing and with what it keeps.

    python benchmarks/startup.py --json startup.json

Runs the evaluation of the sample frames several times, each time in a new process, with caches in a
folder of its own: first with none, so that scenes are rendered and steps compiled, then with those
of the run before. Tells the seconds from the start of the process to the first depth map on disk
and to the end. Needs what the command needs.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(folder: Path) -> dict[str, float]:
    """Runs the command with its caches and results in `folder`."""
    workdir = folder / "output"
    line = [sys.executable, "-m", "fcfrnet_jax.main", "--config=configs/eval.py"]
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    environment = kept | {"XDG_CACHE_HOME": str(folder / "cache")}
    before = set(depth_maps(workdir))
    start = time.perf_counter()
    process = subprocess.Popen(
        [*line, f"--workdir={workdir}"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = None
    while process.poll() is None:
        if first is None and set(depth_maps(workdir)) - before:
            first = time.perf_counter() - start
        time.sleep(0.02)
    if process.returncode or first is None:
        raise RuntimeError(f"the command failed: {' '.join(line)}")
    return {"first_depth_map_s": first, "end_s": time.perf_counter() - start}


def depth_maps(workdir: Path) -> list[Path]:
    """The depth maps of a run that is not over yet."""
    return list(workdir.glob(".incomplete-*/predictions/**/*.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--warm", type=int, default=3, help="runs after the first one")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + options.warm):
            row = {"caches": "warm" if number else "none"} | run(Path(folder))
            rows.append(row)
            print(
                f"caches {row['caches']}: first depth map after {row['first_depth_map_s']:.1f} s, "
                f"end after {row['end_s']:.1f} s",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
