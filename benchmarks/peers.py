"""Times FCFR-Net against implementations on other frameworks, on one machine.

    python benchmarks/peers.py --json peers.json
    python benchmarks/peers.py --mode train --size 128 256
    python benchmarks/peers.py --dtype bfloat16 --batch 1 8 --peers jax torch-compile
    python benchmarks/peers.py --checkpoint compact

Each contender runs in a separate process. They take turns (A B C A B C), so that their threads do
not compete and a varying load of the machine affects all of them. All use the same variables, and
every output is compared with that of jax in float32 before anything is timed.

With `--checkpoint`, the whole model of a checkpoint is timed, coarse and fine network end to end
with the classical fill, instead of the fine network alone: `compact` for the model of the package.
It has to be a model of networks of patches.

All contenders keep freed memory mapped: jax as in its commands, the others by settings of glibc.
With `--tcmalloc /path/to/libtcmalloc.so`, torch uses tcmalloc, with which OpenVINO crashes. Needs
jax, flax, optax and torch. ONNX Runtime and OpenVINO are included where they are installed (`pip
install -e '.[peers]'`).
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(ROOT))

MODULE_OF = {"jax": "jax", "torch": "torch", "torch-compile": "torch", "torch-autotune": "torch"}
MODULE_OF |= {"onnxruntime": "onnxruntime", "openvino": "openvino"}
# Relative to the root mean square of the residual. Rounding errors add up over some fifty layers,
# and may change the choice of the fusion where two energies are almost equal.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
# Has the effect of `process.keep_freed_memory`.
KEPT_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "9" * 18}


class Contender:
    """A process that makes one call for each line that it receives and returns the seconds."""

    def __init__(self, name: str, dtype: str, batch: int, options: argparse.Namespace):
        self.name, self.dtype, self.batch = name, dtype, batch
        self.seconds: list[float] = []
        self.folder = tempfile.TemporaryDirectory()
        task = {
            "name": name,
            "dtype": dtype,
            "batch": batch,
            "mode": options.mode,
            "size": options.size,
            "layers": options.layers,
            "width": options.width,
            "checkpoint": options.checkpoint,
            "output": str(Path(self.folder.name) / "output.npy"),
        }
        environment = dict(os.environ)
        if not name.startswith("jax"):
            preload = options.tcmalloc and name.startswith("torch")
            environment |= {"LD_PRELOAD": str(options.tcmalloc)} if preload else KEPT_MEMORY
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.peer_worker", json.dumps(task)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        # The first call compiles.
        self.ready = self._answer()

    def call(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("call\n")
        self.process.stdin.flush()
        self.seconds.append(self._answer()["seconds"])
        return self.seconds[-1]

    def output(self) -> np.ndarray:
        return np.load(Path(self.folder.name) / "output.npy")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
        self.folder.cleanup()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            # Libraries print other lines.
            if line.startswith("answer "):
                return json.loads(line.removeprefix("answer "))
        raise RuntimeError(f"{self.name} ended with status {self.process.wait()}")


def compare(dtype: str, batch: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each contender: its error relative to jax in float32, and its median seconds."""
    reference = Contender("jax", "float32", batch, options)
    wanted = reference.output()
    reference.close()
    contenders = []
    rows = []
    for name in options.peers:
        contender = Contender(name, dtype, batch, options)
        error = np.sqrt(np.mean((contender.output() - wanted) ** 2) / np.mean(wanted**2))
        if not error < TOLERANCE[dtype]:
            raise RuntimeError(f"{name} computes something else: relative error {error:.3g}")
        contenders.append(contender)
        rows.append({"name": name, "dtype": dtype, "batch": batch, "relative_error": float(error)})
        rows[-1] |= {key: value for key, value in contender.ready.items() if key != "seconds"}
    for _ in range(options.rounds):
        for contender in contenders:
            contender.call()
    medians = [statistics.median(contender.seconds) for contender in contenders]
    peers = [m for m, c in zip(medians, contenders, strict=True) if not c.name.startswith("jax")]
    best = min(peers or medians)
    for row, contender in zip(rows, contenders, strict=True):
        median = statistics.median(contender.seconds)
        row |= {"median_s": median, "of_the_best_peer": median / best, "seconds": contender.seconds}
        contender.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    installed = [name for name, module in MODULE_OF.items() if importlib.util.find_spec(module)]
    # Takes minutes to compile.
    installed = [name for name in installed if name != "torch-autotune"]
    parser.add_argument("--peers", nargs="+", choices=sorted(MODULE_OF), default=installed)
    parser.add_argument("--mode", choices=("predict", "train"), default="predict")
    parser.add_argument("--layers", type=int, choices=(18, 34), default=34)
    parser.add_argument("--width", type=int, default=64, help="channels at full resolution")
    parser.add_argument("--checkpoint", help="`compact` or a folder: times the whole model")
    parser.add_argument("--size", type=int, nargs=2, default=(352, 1216), help="rows, columns")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--dtype", nargs="+", choices=sorted(TOLERANCE), default=["float32"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tcmalloc", type=Path, help="a library to preload for torch")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()
    if options.checkpoint and options.mode == "train":
        parser.error("--checkpoint times predictions: use --mode predict")
    if options.mode == "train":
        options.peers = [n for n in options.peers if MODULE_OF[n] in ("jax", "torch")]

    rows = []
    for dtype in options.dtype:
        for batch in options.batch:
            for row in compare(dtype, batch, options):
                rows.append(row)
                print(
                    f"{row['device']}: {row['name']} {row['version']}, {dtype}, batch {batch}: "
                    f"{row['median_s']:.3f} s, {row['of_the_best_peer']:.2f} of the fastest peer's "
                    f"time, relative error {row['relative_error']:.1e}",
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
