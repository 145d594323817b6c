"""Times the training step and tells its memory, on random frames, for several batch sizes.

    python benchmarks/training.py --batch 4 8 16 --dtype bfloat16 --remat both

Needs jax, flax and optax only; `--steps 0` compiles, tells the memory and runs nothing. Batch sizes
are those of all local devices together. What is timed is the step of the training command: forward,
backward, synchronised BatchNorm, Adam, the batch lying on the devices and the state donated.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

if not __package__:
    # Run as a command, perhaps in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax import models, steps
from fcfrnet_jax.initialise import initial_variables
from fcfrnet_jax.optimizers import make_optimizer, make_schedule
from fcfrnet_jax.specs import COARSE_TO_FINE, SPARSE_TO_COARSE, ModelSpec, TwoStageSpec
from fcfrnet_jax.training import Objective, initial_state

GIB = 2**30


def describe(network: str, layers: int, width: int) -> ModelSpec | TwoStageSpec:
    """The model to train: `coarse`, `fine` (on stored coarse maps) or `joint`."""
    coarse = ModelSpec(SPARSE_TO_COARSE, layers, width=width)
    fine = ModelSpec(COARSE_TO_FINE, layers, width=width)
    return {"coarse": coarse, "fine": fine, "joint": TwoStageSpec(coarse, fine)}[network]


def random_batch(batch: int, height: int, width: int) -> dict[str, np.ndarray]:
    """Frames of noise with a twentieth of the pixels measured and a fifth known."""
    random = np.random.default_rng(0)
    depth = random.uniform(1, 80, (batch, height, width, 1)).astype(np.float32)
    chance = random.random(depth.shape)
    return {
        "image": random.integers(0, 256, (batch, height, width, 3), np.uint8),
        "sparse_depth": np.where(chance < 0.05, depth, np.float32(0)),
        "coarse_depth": depth,
        "ground_truth": np.where(chance < 0.2, depth, np.float32(0)),
    }


def measure(
    options: argparse.Namespace, batch_size: int, dtype: str, remat: bool
) -> dict[str, Any]:
    """One row of the table: compiles the step, and times it unless `options.steps` is 0."""
    spec = describe(options.network, options.layers, options.width)
    schedule = make_schedule("constant", 1e-5)
    optimizer = make_optimizer("adam", schedule)
    network = models.build(spec, dtype=jnp.dtype(dtype), remat=remat)
    step = steps.make_train_step(network, None, optimizer, schedule, Objective())
    state = steps.replicate(initial_state(initial_variables(spec, 0, "resnet"), optimizer))
    batch = steps.shard(random_batch(batch_size, *options.size))
    compiled = step.lower(state, {}, batch).compile()
    memory = compiled.memory_analysis()
    row = {
        "network": options.network,
        "batch": batch_size,
        "dtype": dtype,
        "remat": remat,
        "temporary_gib": memory.temp_size_in_bytes / GIB,
        "arguments_gib": memory.argument_size_in_bytes / GIB,
    }
    if options.steps:
        row["frames_per_s"] = batch_size / seconds_a_step(compiled, state, batch, options.steps)
    return row


def seconds_a_step(step: Any, state: Any, batch: Any, repeats: int) -> float:
    """The median of three runs of `repeats` steps, after a first one that is not counted."""
    batch = jax.block_until_ready(jax.pmap(lambda leaf: leaf, steps.AXIS)(batch))
    state, metrics = jax.block_until_ready(step(state, {}, batch))
    runs = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(repeats):
            state, metrics = step(state, {}, batch)
        jax.block_until_ready(metrics)
        runs.append((time.perf_counter() - start) / repeats)
    return statistics.median(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("coarse", "fine", "joint"), default="fine")
    parser.add_argument("--layers", type=int, default=34)
    parser.add_argument("--width", type=int, default=64, help="channels at full resolution")
    parser.add_argument("--size", type=int, nargs=2, default=(352, 1216), help="rows, columns")
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--dtype", nargs="+", default=["bfloat16"])
    parser.add_argument("--remat", choices=("off", "on", "both"), default="both")
    parser.add_argument("--steps", type=int, default=10, help="a timed run; 0 for memory alone")
    parser.add_argument("--json", type=Path, help="file for the rows")
    options = parser.parse_args()

    device = jax.devices()[0]
    print(
        f"{jax.local_device_count()} x {device.device_kind} ({device.platform}), {jax.__version__}"
    )
    rows = []
    remats = {"off": (False,), "on": (True,), "both": (False, True)}[options.remat]
    for batch in options.batch:
        for dtype in options.dtype:
            for remat in remats:
                rows.append(measure(options, batch, dtype, remat))
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
