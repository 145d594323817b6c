"""Times the evaluation of the sample frames: seconds to the first depth map and to the end.

    python benchmarks/startup.py --json startup.json

Runs the command several times, each time in a new process. The first run starts with an empty cache
folder, so it renders the sample frames and compiles. The others reuse that cache. Both times are
measured from the start of the process; the first ends when a depth map is on disk.
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
    """Runs the command once, with the cache and the results in `folder`.

    Raises:
      RuntimeError: the command failed.
    """
    workdir = folder / "output"
    line = [sys.executable, "-m", "fcfrnet_jax", "--config=eval"]
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
    """Lists the depth maps of a run in progress, which are in a temporary folder."""
    return list(workdir.glob(".incomplete-*/predictions/**/*.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--warm", type=int, default=3, help="number of runs with a filled cache")
    parser.add_argument("--json", type=Path, help="write the times to this file")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1 + options.warm):
            cache, times = "filled" if number else "empty", run(Path(folder))
            rows.append({"cache": cache, **times})
            print(
                f"{cache} cache: first depth map after {times['first_depth_map_s']:.1f} s, "
                f"end after {times['end_s']:.1f} s",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
