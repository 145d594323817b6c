"""Converts hostile checkpoints and checks that each is read or refused, quickly and in one message.

    python -m tests.hostile --cases 3000

Constructions come first, then mutations of valid files; the same numbers make the same files.
Exits with status 1 if a bar is missed: code was run, a traceback, a crash, a message that would
write to the terminal, or a refusal of more than 1 s of the CPU or 64 MiB beyond the file's size.
"""

import argparse
import itertools
import json
import pickle
import select
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.hostile.constructions import FAMILIES
from tests.hostile.mutations import mutate
from tests.weights.foreign.checkpoint_files import PADDLE_FILES, TORCH_FILES
from tests.weights.narrow_states import narrow_state

SECONDS, MIB = 1.0, 64
TIMEOUT = 60


class Worker:
    """The process that converts; it is started again after a crash or a hang."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None

    def convert(self, path: Path) -> dict[str, Any]:
        """Returns what the conversion of a file took, see `worker`."""
        if self._process is None:
            command = [sys.executable, "-m", "tests.hostile.worker", str(self._folder / "warm")]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        ready, _, _ = select.select([self._process.stdout], [], [], TIMEOUT)
        line = self._process.stdout.readline() if ready else ""
        if line:
            return json.loads(line)
        self.close()
        message = "the process ended" if ready else f"no answer in {TIMEOUT} s"
        return {"outcome": "crash", "message": message, "seconds": TIMEOUT, "KiB": 0, "actions": []}

    def close(self) -> None:
        """Ends the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def cases() -> Iterator[tuple[str, bytes]]:
    """All constructions, and then mutations without end."""
    for family in FAMILIES:
        yield from family()
    valid = [path.read_bytes() for path in [*PADDLE_FILES, *TORCH_FILES]]
    valid.append(pickle.dumps(narrow_state(), 4))
    for number in itertools.count():
        yield f"mutation {number}", mutate(valid[number % len(valid)], number)


def missed(result: dict[str, Any], size: int) -> str | None:
    """Returns which bar a result misses, if any."""
    if result["actions"]:
        return f"code was run: {result['actions'][0]}"
    if result["outcome"] not in ("read", "refused"):
        return f"{result['outcome']}: {result['message'].strip().splitlines()[-1]}"
    if result["outcome"] == "refused" and result["seconds"] > SECONDS:
        return f"{result['seconds']:.2f} s: {result['message'][:200]}"
    if result["outcome"] == "refused" and result["KiB"] * 1024 > size + (MIB << 20):
        return f"{result['KiB'] >> 10} MiB for {size >> 10} KiB: {result['message'][:200]}"
    return None


def main() -> None:
    """Runs the cases and prints the summary."""
    parser = argparse.ArgumentParser(description="Convert hostile checkpoints.")
    parser.add_argument("--cases", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    slowest, largest, failures = (0.0, ""), (0.0, ""), 0
    with tempfile.TemporaryDirectory() as folder:
        worker, path = Worker(Path(folder)), Path(folder) / "case"
        chosen = itertools.islice(cases(), options.first, options.first + options.cases)
        for name, data in chosen:
            path.write_bytes(data)
            result = worker.convert(path)
            counts[result["outcome"]] += 1
            counts["code run"] += bool(result["actions"])
            if result["outcome"] == "refused":
                slowest = max(slowest, (result["seconds"], name))
                largest = max(largest, (result["KiB"] / 1024 - len(data) / 2**20, name))
            fault = missed(result, len(data))
            if fault:
                failures += 1
                print(f"{name} ({len(data)} bytes): {fault}", flush=True)
        worker.close()
    kinds = ("refused", "read", "traceback", "crash", "unprintable", "code run")
    print(", ".join(f"{kind} {counts[kind]}" for kind in kinds))
    print(f"slowest refusal {slowest[0]:.2f} s ({slowest[1]})")
    print(f"largest refusal {largest[0]:.0f} MiB beyond the file ({largest[1]})")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
