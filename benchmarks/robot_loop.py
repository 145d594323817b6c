"""Times a robot's loop: the start, single calls, raw scans and a stream of frames.

    python benchmarks/robot_loop.py --frames 100

Two processes run one after the other with the same compile cache, which is empty at first. Each
loads the model and makes its first prediction; the times are from the start of the process. The
second one then measures the latency of

- `predictor(image, depth)` for arrays,
- `predictor.from_scan(image, points, calibration)`, with and without the removal of hidden points,
- `predictor.stream(frames)` where the frames are decoded from PNG files in memory: as fast as
  possible, and at the rate of a camera. A frame's latency begins before it is decoded.

The frames are made up: smooth colours and a scan of 64 beams of the ground and of a wall.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fcfrnet_jax
from fcfrnet_jax.data.encodings.png_encoder import encode
from fcfrnet_jax.data.images import decode_depth, decode_image
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.calibration.calibration import pinhole, rigid

WARM_UP = 3
Times = dict[str, float]
Pair = tuple[np.ndarray, np.ndarray]


def make_scan() -> np.ndarray:
    """The points `[N, 3]` of a scanner with 64 beams, 1.7 m above the ground before a wall."""
    azimuth, elevation = np.meshgrid(
        np.radians(np.arange(-180, 180, 0.2)), np.radians(np.linspace(-24.8, 2, 64))
    )
    down = np.where(elevation < 0, -np.sin(elevation), 1e-9)
    distance = np.minimum(1.7 / down, 30 + 8 * np.sin(9 * azimuth))
    x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    points = distance[..., None] * np.stack([x, y, np.sin(elevation)], axis=-1)
    return points.reshape(-1, 3).astype(np.float32)


def make_calibration(height: int, width: int) -> Calibration:
    """A camera with the field of view of KITTI's, 0.1 m below the scanner."""
    focal = 721.5 * width / 1242
    matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    axes = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    return Calibration(pinhole(matrix), rigid(axes, np.array([0, -0.1, -0.3])), (height, width))


def make_image(height: int, width: int) -> np.ndarray:
    """Smooth colours, uint8 `[H, W, 3]`."""
    row, column = np.mgrid[:height, :width]
    waves = [np.sin(row / 23 + shift) + np.cos(column / 31 - shift) for shift in range(3)]
    return (128 + 60 * np.stack(waves, axis=-1)).astype(np.uint8)


def quantiles(seconds: list[float]) -> Times:
    """The median and the 99th percentile in milliseconds."""
    return {f"p{q}_ms": float(np.percentile(seconds, q)) * 1e3 for q in (50, 99)}


def time_calls(call: Callable[[], object], frames: int) -> Times:
    """The latency of a call."""
    seconds = []
    for _ in range(WARM_UP + frames):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return quantiles(seconds[WARM_UP:])


def time_stream(
    predictor: fcfrnet_jax.Predictor, files: tuple[bytes, bytes], frames: int, rate: float
) -> Times:
    """The latency and the rate of a stream.

    Args:
      predictor: the model.
      files: the PNG files of the image and of the sparse depth.
      frames: their number.
      rate: frames per second of the camera; 0 for as many as possible.
    """
    taken: list[float] = []

    def source() -> Iterator[Pair]:
        begin = time.perf_counter()
        for number in range(WARM_UP + frames):
            if rate:
                time.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            taken.append(time.perf_counter())
            yield decode_image(files[0]), decode_depth(files[1])

    returned = []
    for _ in predictor.stream(source()):
        returned.append(time.perf_counter())
    seconds = [end - start for start, end in zip(taken, returned, strict=True)]
    found = quantiles(seconds[WARM_UP:])
    return found | {"frames_per_s": frames / (returned[-1] - returned[WARM_UP - 1])}


def child(options: argparse.Namespace) -> dict[str, Times]:
    """Loads the model, predicts once, and if asked for measures the rest."""
    fcfrnet_jax.enable_compile_cache(options.cache)
    calibration = make_calibration(options.height, options.width)
    image, points = make_image(options.height, options.width), make_scan()
    depth = fcfrnet_jax.project(points, calibration)
    predictor = fcfrnet_jax.load(options.model, options.dtype)
    loaded = time.time() - options.started
    predictor(image, depth)
    found = {"start": {"loaded_s": loaded, "first_depth_s": time.time() - options.started}}
    if not options.measure:
        return found
    files = encode(image), encode(np.floor(256 * depth).astype(np.uint16))
    frames = options.frames
    found["call"] = time_calls(lambda: predictor(image, depth), frames)
    for name, hidden in (("from_scan", True), ("from_scan, hidden points kept", False)):
        found[name] = time_calls(
            lambda hidden=hidden: predictor.from_scan(  # type: ignore[misc]
                image, points, calibration, remove_hidden=hidden
            ),
            frames,
        )
    found["stream"] = time_stream(predictor, files, frames, 0.0)
    found[f"stream at {options.rate:g} Hz"] = time_stream(predictor, files, frames, options.rate)
    return found


def run_child(arguments: list[str], cache: str, measure: bool) -> dict[str, Times]:
    """Runs this file in a new process.

    Raises:
      RuntimeError: it failed.
    """
    line = [sys.executable, __file__, *arguments, "--cache", cache, "--started", str(time.time())]
    # A cache that is set for jax would not be empty.
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    done = subprocess.run(
        line + ["--measure"] * measure, env=kept, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the process failed: {' '.join(line)}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--model", default="compact", help="folder of a model")
    parser.add_argument("--dtype", default="float32", help="float32 or bfloat16")
    parser.add_argument("--height", type=int, default=352, help="of the image")
    parser.add_argument("--width", type=int, default=1216, help="of the image")
    parser.add_argument("--frames", type=int, default=100, help="number of frames that are timed")
    parser.add_argument("--rate", type=float, default=2.0, help="frames per second of the camera")
    parser.add_argument("--json", type=Path, help="write the times to this file")
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache:
        print(json.dumps(child(options)))
        return
    with tempfile.TemporaryDirectory() as cache:
        first = run_child(sys.argv[1:], cache, measure=False)
        found = run_child(sys.argv[1:], cache, measure=True)
    rows = {"first start": first["start"], "warm start": found.pop("start"), **found}
    for name, times in rows.items():
        print(f"{name:30} " + "  ".join(f"{key} {value:.1f}" for key, value in times.items()))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
