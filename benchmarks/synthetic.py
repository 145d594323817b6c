"""Measures the time to render streets on the first device, as a whole and by parts.

    python benchmarks/synthetic.py --batch 1 --json times.json

The frames are windows of KITTI's image of 352x1216 and 96x320 pixels. With a batch size above 1
they are rendered together by `jax.vmap`. The rate of whole frames is measured over different
streets. On a CPU they are rendered by one thread per core, as in the rendering command, because a
frame uses little more than one core. The parts are timed one at a time. Prints a line for each
size, and optionally writes the figures as JSON. Needs only jax and numpy.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.geometry import Size, crop_box
from fcfrnet_jax.sensors.camera import KITTI, window_matrix
from fcfrnet_jax.sensors.lidar import HDL64
from fcfrnet_jax.streets.frame import RenderedFrame, render_scene
from fcfrnet_jax.streets.picture.shading import shade
from fcfrnet_jax.streets.rays.raycast import camera_rays, trace
from fcfrnet_jax.streets.scan.echoes import scan, sparse_map
from fcfrnet_jax.streets.scan.ground_truth import keep_ground_truth
from fcfrnet_jax.streets.scene.street import Street, make_street

SIZES = ((352, 1216), (96, 320))


def corner_of(window: Size) -> Size:
    return crop_box((KITTI.height, KITTI.width), window)


def frame(window: Size, key: jax.Array) -> RenderedFrame:
    return render_scene(key, window=window, corner=corner_of(window))


def street_part(window: Size, key: jax.Array) -> Street:
    return make_street(key)


def rays(window: Size, street: Street) -> jax.Array:
    return camera_rays(*window, window_matrix(KITTI, corner_of(window)), street.rotation)


def trace_part(window: Size, street: Street) -> tuple[jax.Array, jax.Array]:
    return trace(street, street.camera[:, None], rays(window, street), window[1])


def shade_part(window: Size, street: Street, hits: tuple[jax.Array, jax.Array]) -> jax.Array:
    return shade(street, rays(window, street), *hits, jnp.float32(KITTI.fx), window[1])


def lidar_part(window: Size, key: jax.Array, street: Street) -> jax.Array:
    corner = corner_of(window)
    return sparse_map(scan(key, street, HDL64, KITTI, window, corner), KITTI, window, corner)


def truth_part(
    window: Size, key: jax.Array, hits: tuple[jax.Array, jax.Array], sparse_depth: jax.Array
) -> jax.Array:
    depth = jnp.where(jnp.isfinite(hits[0]), hits[0], 0.0).reshape(window)
    echo, leaves = jnp.full(window, 0.95), jnp.zeros(window, bool)
    corner = corner_of(window)
    return keep_ground_truth(key, depth, echo, leaves, sparse_depth, HDL64, KITTI, corner)


def seconds_of(function: Callable, arguments: tuple, repeats: int) -> tuple[float, Any]:
    """Returns the median time of a call in seconds, after two warm-up calls, and the result."""
    for _ in range(2):
        result = jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), result


def frames_per_second(window: Size, batch: int, repeats: int) -> float:
    """Measures the rate of whole frames."""
    return frame_rate(window, batch, repeats)()


def frame_rate(window: Size, batch: int, repeats: int) -> Callable[[], float]:
    """Compiles the renderer; returns what measures its rate. Each call has different keys."""
    render = jax.jit(mapped(frame, window, batch))
    keys = jax.random.split(jax.random.key(0), (repeats, batch))
    calls = list(keys[:, 0] if batch == 1 else keys)

    def wait(key: jax.Array) -> None:
        jax.block_until_ready(render(key))

    wait(calls[0])
    threads = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1

    def rate() -> float:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(wait, calls[:threads]))
            start = time.perf_counter()
            list(pool.map(wait, calls))
            return repeats * batch / (time.perf_counter() - start)

    return rate


def mapped(part: Callable, window: Size, batch: int) -> Callable:
    one = partial(part, window)
    return one if batch == 1 else jax.vmap(one)


def measure(window: Size, batch: int, repeats: int) -> dict[str, Any]:
    """Measures frames per second, and the milliseconds per frame of each part on its own."""
    whole = frames_per_second(window, batch, repeats)
    keys = jax.random.split(jax.random.key(0), batch)
    keys = keys[0] if batch == 1 else keys

    def timed(part: Callable, *arguments: object) -> tuple[float, Any]:
        return seconds_of(jax.jit(mapped(part, window, batch)), arguments, repeats)

    parts: dict[str, float] = {}
    parts["street"], streets = timed(street_part, keys)
    parts["trace"], hits = timed(trace_part, streets)
    parts["shade"], _ = timed(shade_part, streets, hits)
    parts["lidar"], sparse_depth = timed(lidar_part, keys, streets)
    parts["ground_truth"], _ = timed(truth_part, keys, hits, sparse_depth)
    together = sum(parts.values())
    return {
        "device": jax.devices()[0].device_kind,
        "platform": jax.devices()[0].platform,
        "height": window[0],
        "width": window[1],
        "batch": batch,
        "frames_per_second": round(whole, 2),
        "parts_ms": {name: round(1e3 * value / batch, 3) for name, value in parts.items()},
        "parts_share": {name: round(value / together, 3) for name, value in parts.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()

    figures = [measure(window, options.batch, options.repeats) for window in SIZES]
    for found in figures:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in found["parts_share"].items())
        print(
            f"{found['device']} ({found['platform']}), {found['height']}x{found['width']}, "
            f"batch {options.batch}: {found['frames_per_second']} frames/s; {shares}"
        )
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
