"""What a worker of `accelerator.py` measures in jax. Results are JSON types."""

import argparse
import gzip
import platform
import statistics
import time
from collections.abc import Callable, Generator
from functools import partial
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fcfrnet_jax
from benchmarks import model, peer_worker, synthetic
from benchmarks.accelerators.golden import golden
from benchmarks.accelerators.pairs import Cases
from benchmarks.accelerators.plan import PLAIN
from benchmarks.accelerators.profile import busiest
from fcfrnet_jax.networks.cpu.conv import CompilerOptions
from fcfrnet_jax.networks.fill import classical_fill

__all__ = ["call", "case", "compact", "copy", "describe", "drop", "fill", "golden", "latencies"]
__all__ += ["prepare", "product", "profile", "profile_renderer", "render", "settle"]

_cases = Cases(
    dict.fromkeys(("jax", PLAIN), peer_worker.with_jax),
    lambda result: np.asarray(result, np.float32),
)
prepare, settle, call = _cases.prepare, _cases.settle, _cases.call
latencies, drop = _cases.latencies, _cases.drop

Row = dict[str, Any]
# A measurement that prepares, waits for its turn and measures.
Turns = Generator[None, None, Row]
# A profile does not name what runs in a command buffer.
NO_COMMAND_BUFFERS: CompilerOptions = {"xla_gpu_enable_command_buffer": ""}


def describe() -> Row:
    """The devices and the versions."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "flax", "numpy")
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "devices": jax.local_device_count(),
        "memory_gib": (device.memory_stats() or {}).get("bytes_limit", 0) / model.GIB,
        "python": platform.python_version(),
        "fcfrnet_jax": fcfrnet_jax.__version__,
        **{name: metadata.version(name) for name in packages},
    }


def product(dtype: str, precision: str, size: int) -> Row:
    """The rate of a product of two random matrices of `size` rows and columns, in TFLOP/s."""
    left, right = (
        jax.random.normal(jax.random.key(seed), (size, size), dtype) for seed in range(2)
    )
    multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision=precision))
    return {"tflop_per_s": 2 * size**3 / _seconds(lambda: multiply(left, right)) / 1e12}


def copy(mebibytes: int) -> Row:
    """The rate of a copy on the device, in GB/s, counting the bytes read and written."""
    values = jax.random.normal(jax.random.key(0), (mebibytes * 2**18,), jnp.float32)
    # An addition, because a compiler may remove a plain copy.
    duplicate = jax.jit(lambda a: a + 1)
    return {"gb_per_s": 2 * values.nbytes / _seconds(lambda: duplicate(values)) / 1e9}


def _seconds(call: Any, repeats: int = 20, rounds: int = 5) -> float:
    """The median of the seconds per call."""
    for _ in range(3):
        jax.block_until_ready(call())
    measured = []
    for _ in range(rounds):
        start = time.perf_counter()
        # Only the latest result is kept, to save memory.
        for _ in range(repeats):
            result = call()
        jax.block_until_ready(result)
        measured.append((time.perf_counter() - start) / repeats)
    return statistics.median(measured)


def fill(size: tuple[int, int]) -> Row:
    """The largest difference in mm between the fill here and on the CPU, on random scans."""
    random = np.random.default_rng(0)
    depth = random.uniform(1, 80, (2, *size, 1)).astype(np.float32)
    sparse = np.where(random.random(depth.shape) < 0.05, depth, np.float32(0))
    here = np.asarray(jax.jit(classical_fill)(sparse))
    with jax.default_device(jax.devices("cpu")[0]):
        there = np.asarray(jax.jit(classical_fill)(sparse))
    return {"max_mm": float(1e3 * np.abs(here - there).max())}


def case(
    mode: str, peak_tflop_per_s: float, batch: int, dtype: str, remat: bool, **settings: Any
) -> Turns:
    """A row of `benchmarks/model.py`."""
    options = argparse.Namespace(mode=mode, **settings)
    program = model.CASES[mode](options, batch, dtype, remat)
    yield
    return model.row_of(program, options, batch, dtype, remat, 1e12 * peak_tflop_per_s)


def compact(batch: int, dtype: str, size: tuple[int, int], repeats: int) -> Turns:
    """Prediction with the compact model, from arrays on the host to arrays on the host."""
    predictor = fcfrnet_jax.load(fcfrnet_jax.COMPACT, dtype)
    inputs = model.random_batch(batch, *size)
    arrays = inputs["image"], inputs["sparse_depth"][..., 0]
    predictor(*arrays)
    yield
    seconds, _ = model.timed(lambda: predictor(*arrays), repeats)
    return {
        "p50_ms": 1e3 * statistics.median(seconds),
        "p99_ms": 1e3 * float(np.percentile(seconds, 99)),
        "frames_per_s": batch / statistics.median(seconds),
    }


def render(window: tuple[int, int], batch: int, repeats: int) -> Turns:
    """The frames per second of the renderer."""
    height, width = window
    measure = synthetic.frame_rate((height, width), batch, repeats)
    yield
    return {"frames_per_s": measure()}


def profile(
    mode: str,
    peak_tflop_per_s: float,
    batch: int,
    dtype: str,
    count: int,
    text: str,
    **settings: Any,
) -> Turns:
    """The operations that take most of the time of a case, with their share of it.

    Args:
      text: file for the optimised program, compressed.
      count: how many operations.
      mode, peak_tflop_per_s, batch, dtype, **settings: as for `case`.
    """
    options = argparse.Namespace(mode=mode, **settings)
    program = model.CASES[mode](options, batch, dtype, False, NO_COMMAND_BUFFERS)
    optimised = _saved(program.compiled, text)
    yield
    row = model.row_of(program, options, batch, dtype, False, 1e12 * peak_tflop_per_s)
    kept = ("frames_per_s", "tflop_a_frame", "share_of_peak", "temporary_gib", "compile_s")
    found = {name: row[name] for name in kept}
    return found | _operations(program.call, optimised, count)


def profile_renderer(window: tuple[int, int], batch: int, count: int, text: str) -> Turns:
    """The operations that take most of the time of the renderer; arguments as for `profile`."""
    height, width = window
    keys = jax.random.split(jax.random.key(0), batch)
    render = jax.jit(jax.vmap(partial(synthetic.frame, (height, width))))
    compiled = render.lower(keys).compile(NO_COMMAND_BUFFERS)
    optimised = _saved(compiled, text)
    jax.block_until_ready(compiled(keys))
    yield
    return _operations(lambda: compiled(keys), optimised, count)


def _saved(compiled: Any, path: str) -> str:
    """The text of an optimised program, which is also written to a file."""
    text = compiled.as_text() or ""
    with gzip.open(path, "wt") as stream:
        stream.write(text)
    return text


def _operations(call: Callable[[], Any], optimised: str, count: int) -> Row:
    try:
        return {"operations": busiest(call, optimised, count)}
    except RuntimeError as error:
        # Keep what is known: other tables use it.
        return {"operations": [], "without_profile": str(error)[:1000]}
