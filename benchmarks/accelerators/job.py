"""What `travel/run.sh` starts: measurements, then training for the rest of the time.

    python -m benchmarks.accelerators.job travel OUTPUT --minutes 9 --measure 6

Results that travelled are copied to the output folder first. If a training travelled, it continues
from its newest snapshot; its workdir and all logs come back as the pieces of one archive.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accelerators import archive

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "fcfrnet_jax.main"
# Seconds for the last step, its snapshot and the archive, and to end without them.
MARGIN, PATIENCE = 25, 20


def measure(output: Path, minutes: float, arguments: Sequence[str]) -> None:
    """Runs `accelerator.py`.

    Raises:
      SystemExit: it failed, for example because jax runs on another platform than required.
    """
    line = [sys.executable, "benchmarks/accelerator.py", "--output", str(output)]
    status = subprocess.run([*line, "--minutes", str(minutes), *arguments], cwd=ROOT, check=False)
    if status.returncode:
        raise SystemExit(status.returncode)


def train(travelled: Path, output: Path, seconds: float, command: str = COMMAND) -> None:
    """Continues the training that travelled, and packs what comes back.

    Args:
      travelled: the folder of `travel.gather`.
      output: gets the archive. Logs and compressed files that are there move into it.
      seconds: after these the command is asked to stop, which saves a snapshot.
      command: the module to run.
    """
    arguments = json.loads((travelled / "training.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "unpacked"
        if any(travelled.glob("archive.tar.*")):
            archive.unpack(travelled, folder)
        workdir = folder / "training"
        workdir.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        if (travelled / "cache").is_dir():
            environment["XDG_CACHE_HOME"] = str(travelled.absolute() / "cache")
        line = [sys.executable, "-m", command, *arguments, f"--workdir={workdir}"]
        with (output / "training.log").open("ab") as log:
            run_for(seconds, line, environment, log.fileno())
        logs = [*output.glob("*.log"), *output.glob("*.gz")]
        entries = {f"logs/{path.name}": path for path in logs} | archive.run_entries(workdir)
        for path in archive.pack(entries, output):
            print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)
        for path in logs:
            path.unlink()


def run_for(seconds: float, line: Sequence[str], environment: dict[str, str], log: int) -> None:
    """Runs a command, and asks it to stop after some seconds; it is killed if it does not."""
    process = subprocess.Popen(line, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        process.wait(max(0.0, seconds))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    print(f"training ended with status {process.returncode}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("travelled", type=Path, help="folder of travel.py")
    parser.add_argument("output", type=Path, help="folder for what comes back")
    parser.add_argument("--minutes", type=float, required=True, help="time budget")
    parser.add_argument("--measure", type=float, help="minutes of it for measurements, or all")
    options, arguments = parser.parse_known_args()
    end = time.monotonic() + 60 * options.minutes
    measuring = options.minutes if options.measure is None else options.measure
    options.output.mkdir(parents=True, exist_ok=True)
    if (options.travelled / "results").is_dir():
        shutil.copytree(options.travelled / "results", options.output, dirs_exist_ok=True)
    if measuring:
        measure(options.output, measuring, arguments)
    left = end - time.monotonic() - MARGIN
    if left > 0 and (options.travelled / "training.json").is_file():
        train(options.travelled, options.output, left)


if __name__ == "__main__":
    main()
