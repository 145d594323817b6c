"""Times prediction or training of one model on random frames, by batch size and dtype.

    python benchmarks/model.py --network joint --batch 1 8 --dtype float32 bfloat16
    python benchmarks/model.py --mode train --batch 4 8 16 --dtype bfloat16 --remat off on

Needs only jax, flax and optax. `--repeats 0` compiles, prints the memory and runs nothing.

Mode `predict` times the network that `fcfrnet_jax.load` runs, on the first device, with the batch
on the device. Mode `train` times the step of the training command on all local devices, which
share the batch: forward and backward pass, synchronised BatchNorm and Adam, with the state donated.
Latencies are those of single calls, each waited for. Frames per second are measured over several
calls without waiting in between. The share of the peak is relative to products of large matrices in
the same dtype, which are timed first.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax import parallel
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.cpu.conv import CompilerOptions
from fcfrnet_jax.networks.initialise import initial_variables
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, Spec, TwoStageSpec
from fcfrnet_jax.process import keep_freed_memory
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.optimizers import make_optimizer, make_schedule
from fcfrnet_jax.training.state import initial_state
from fcfrnet_jax.training.update import make_update

GIB = 2**30
# Rows and columns of the matrices whose products are timed to find the peak.
MATRIX = {"cpu": 2048}
LARGE_MATRIX = 8192


def describe(network: str, layers: int, width: int) -> Spec:
    """The model: `coarse`, `fine` (given the coarse depth) or `joint` (both in one call)."""
    coarse = SparseToCoarseSpec(layers, width=width)
    fine = CoarseToFineSpec(layers, width=width)
    specs: dict[str, Spec] = {"coarse": coarse, "fine": fine, "joint": TwoStageSpec(coarse, fine)}
    return specs[network]


def random_batch(batch: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Random frames: 5% of the pixels have a measured depth, 20% have ground truth."""
    random = np.random.default_rng(0)
    depth = random.uniform(1, 80, (batch, height, width, 1)).astype(np.float32)
    chance = random.random(depth.shape)
    return {
        "image": random.integers(0, 256, (batch, height, width, 3), np.uint8),
        "sparse_depth": np.where(chance < 0.05, depth, np.float32(0)),
        "coarse_depth": depth,
        "ground_truth": np.where(chance < 0.2, depth, np.float32(0)),
    }


class Case:
    """A compiled program and how to call it.

    Attributes:
      frames: frames that one device processes in a call.
      operations: floating point operations of one device in a call.
      compile_s: seconds that compiling took.
      compiled: the program.
      call: calls the program once.
    """

    def __init__(
        self,
        lowered: jax.stages.Lowered,
        frames: float,
        call: Callable[[Any], Any],
        compiler_options: CompilerOptions | None = None,
    ):
        self.frames = frames
        self.operations = count_operations(lowered)
        start = time.perf_counter()
        self.compiled = lowered.compile(dict(compiler_options or {}))
        self.compile_s = time.perf_counter() - start
        self.call = lambda: call(self.compiled)


def count_operations(lowered: jax.stages.Lowered) -> float:
    """Floating point operations of a program before optimisation, or 0 if they are unknown."""
    analysis = lowered.cost_analysis()
    if analysis is None:
        # A GPU's plugin does not count them, but the backend of the CPU does for any program.
        try:
            from jax._src.lib import _jax

            computation: Any = lowered.compiler_ir("hlo")
            host = jax.devices("cpu")[0].client
            analysis = _jax.hlo_module_cost_analysis(host, computation.as_hlo_module())
        except (AttributeError, ImportError, RuntimeError):
            analysis = {}
    return float(analysis.get("flops", 0))


def predict_case(
    options: argparse.Namespace,
    batch_size: int,
    dtype: str,
    remat: bool = False,
    compiler_options: CompilerOptions | None = None,
) -> Case:
    spec = describe(options.network, options.layers, options.width)
    network, folded, selected = select.for_prediction(
        spec, initial_variables(spec, 0, "resnet"), jnp.dtype(dtype)
    )
    batch = random_batch(batch_size, *options.size)
    depth = batch["coarse_depth" if options.network == "fine" else "sparse_depth"]
    arguments = (folded, batch["image"], depth)
    arguments = jax.device_put(arguments, jax.local_devices()[0])
    lowered = jax.jit(network.apply).lower(*arguments)
    chosen = {**selected, **(compiler_options or {})}
    return Case(lowered, batch_size, lambda apply: apply(*arguments), chosen)


def train_case(
    options: argparse.Namespace,
    batch_size: int,
    dtype: str,
    remat: bool,
    compiler_options: CompilerOptions | None = None,
) -> Case:
    spec = describe(options.network, options.layers, options.width)
    schedule = make_schedule("constant", 1e-5)
    optimizer = make_optimizer("adam", schedule)
    network = select.for_training(spec, dtype=jnp.dtype(dtype), remat=remat)
    update = make_update(network, optimizer, schedule, Objective())
    step: Any = parallel.map_global(update, donate=True)
    state = parallel.replicate(initial_state(initial_variables(spec, 0, "resnet"), optimizer))
    batch = parallel.shard(random_batch(batch_size, *options.size))
    if options.repeats:
        batch = jax.pmap(lambda leaf: leaf, parallel.AXIS)(batch)

    def call(step: Any) -> Any:
        nonlocal state
        state, metrics = step(state, {}, batch)
        return metrics

    lowered = step.lower(state, {}, batch)
    return Case(lowered, batch_size / jax.local_device_count(), call, compiler_options)


CASES = {"predict": predict_case, "train": train_case}


def peak(dtype: str) -> float:
    """Floating point operations per second in products of large matrices, first device."""
    size = MATRIX.get(jax.default_backend(), LARGE_MATRIX)
    matrix = jax.device_put(jnp.full((size, size), 1e-3, dtype))
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(matrix, matrix))
    runs = []
    for _ in range(5):
        start = time.perf_counter()
        jax.block_until_ready([multiply(matrix, matrix) for _ in range(4)])
        runs.append((time.perf_counter() - start) / 4)
    return 2 * size**3 / min(runs)


def measure(
    options: argparse.Namespace, batch_size: int, dtype: str, remat: bool, peak_rate: float
) -> dict[str, Any]:
    """Compiles a program and, unless `options.repeats` is 0, times it. Returns a table row."""
    case = CASES[options.mode](options, batch_size, dtype, remat)
    return row_of(case, options, batch_size, dtype, remat, peak_rate)


def row_of(
    case: Case,
    options: argparse.Namespace,
    batch_size: int,
    dtype: str,
    remat: bool,
    peak_rate: float,
) -> dict[str, Any]:
    """The table row of a compiled program, with times unless `options.repeats` is 0."""
    memory = case.compiled.memory_analysis()
    row = {
        "mode": options.mode,
        "network": options.network,
        "batch": batch_size,
        "dtype": dtype,
        "remat": remat,
        "compile_s": case.compile_s,
        "temporary_gib": getattr(memory, "temp_size_in_bytes", math.nan) / GIB,
        "arguments_gib": getattr(memory, "argument_size_in_bytes", math.nan) / GIB,
        "tflop_a_frame": case.operations / case.frames / 1e12,
    }
    if not options.repeats:
        return row
    latencies, seconds = timed(case.call, options.repeats)
    # Per device.
    row |= {
        "p50_ms": 1e3 * statistics.median(latencies),
        "p99_ms": 1e3 * float(np.percentile(latencies, 99)),
        "frames_per_s": batch_size / seconds,
        "tflop_per_s": case.operations / seconds / 1e12,
        "share_of_peak": case.operations / seconds / peak_rate,
    }
    return row


def timed(call: Callable[[], Any], repeats: int) -> tuple[list[float], float]:
    """Seconds of single calls, and seconds per call over several calls, after two warm-up calls."""
    for _ in range(2):
        jax.block_until_ready(call())
    latencies = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        latencies.append(time.perf_counter() - start)
    start = time.perf_counter()
    # Only the latest result is kept, as in a loop over frames.
    for _ in range(repeats):
        result = call()
    jax.block_until_ready(result)
    return latencies, (time.perf_counter() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=("predict", "train"), default="predict")
    parser.add_argument("--network", choices=("coarse", "fine", "joint"), default="fine")
    parser.add_argument("--layers", type=int, choices=(18, 34, 50), default=34)
    parser.add_argument("--width", type=int, default=64, help="channels at full resolution")
    parser.add_argument("--size", type=int, nargs=2, default=(352, 1216), help="rows, columns")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--dtype", nargs="+", default=["float32"])
    parser.add_argument("--remat", choices=("off", "on"), nargs="+", default=["off"])
    parser.add_argument("--repeats", type=int, default=10, help="0 for compile time and memory")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()

    keep_freed_memory()
    device = jax.devices()[0]
    print(
        f"{jax.local_device_count()} x {device.device_kind} ({device.platform}), "
        f"jax {jax.__version__}"
    )
    rows = []
    for dtype in options.dtype:
        peak_rate = peak(dtype) if options.repeats else 0.0
        print(f"{dtype}: matrix products at {peak_rate / 1e12:.3g} TFLOP/s")
        for batch in options.batch:
            for remat in options.remat:
                rows.append(measure(options, batch, dtype, remat == "on", peak_rate))
                print(
                    "  ".join(
                        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in rows[-1].items()
                    ),
                    flush=True,
                )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
