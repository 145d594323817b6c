"""Times the classical fill on the first device and, if it is installed, with OpenCV.

    python benchmarks/fill.py --height 352 --width 1216 --batch 1

Needs only jax and NumPy. The input is on the device before timing starts.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import jax
import numpy as np

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.networks.fill import classical_fill


def opencv_fill(
    sparse_depth: np.ndarray, max_depth: float = 100.0, dense: bool = True, blur: bool = True
) -> np.ndarray:
    """The algorithm of arXiv 1802.00036 in OpenCV, as a reference for `classical_fill`.

    Args:
      sparse_depth: float32 `[H, W]` metres, 0 = missing, at most `max_depth - 0.1`.
      max_depth: metres, the origin of the inverted depth.
      dense: repeat the last dilation until no pixel is empty. The published algorithm (False)
        dilates once, and pixels beyond its reach stay 0.
      blur: apply the two blurs at the end.

    Returns:
      Depth, float32 `[H, W]` metres.
    """
    import cv2

    def fill_empty(inverted: np.ndarray, size: int) -> np.ndarray:
        return np.where(inverted > 0.1, inverted, cv2.dilate(inverted, np.ones((size, size))))

    rows, columns = np.mgrid[-2:3, -2:3]
    diamond = (np.abs(rows) + np.abs(columns) <= 2).astype(np.uint8)
    inverted = np.where(sparse_depth > 0.1, np.float32(max_depth) - sparse_depth, np.float32(0))
    inverted = cv2.dilate(inverted, diamond)
    inverted = cv2.morphologyEx(inverted, cv2.MORPH_CLOSE, np.ones((5, 5)))
    inverted = fill_empty(inverted, 7)

    top = np.argmax(inverted > 0.1, axis=0)
    top_value = np.take_along_axis(inverted, top[None], axis=0)
    inverted = np.where(np.arange(len(inverted))[:, None] < top, top_value, inverted)

    inverted = fill_empty(inverted, 31)
    while dense and 0 < np.count_nonzero(inverted > 0.1) < inverted.size:
        inverted = fill_empty(inverted, 31)

    if blur:
        inverted = cv2.medianBlur(inverted, 5)
        blurred = cv2.GaussianBlur(inverted, (5, 5), 0)
        inverted = np.where(inverted > 0.1, blurred, inverted)
    return np.where(inverted > 0.1, np.float32(max_depth) - inverted, inverted)


def road_scan(batch: int, height: int, width: int) -> np.ndarray:
    """Sparse depth of a flat road up to 80 m, float32 `[B, H, W, 1]` metres; 5% of the pixels."""
    horizon = 0.35 * height
    rows = np.arange(height)[:, None]
    depth = np.minimum(1.7 * 2 * height / np.maximum(rows - horizon, 0.5), 80)
    measured = np.random.default_rng(0).random((batch, height, width)) < 0.05
    return np.where(measured & (rows > horizon), depth, 0).astype(np.float32)[..., None]


def in_turns(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each function. They are called in turns, under the same load."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=352)
    parser.add_argument("--width", type=int, default=1216)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()

    frames = road_scan(options.batch, options.height, options.width)
    device = jax.devices()[0]
    on_device = jax.device_put(frames, device)
    functions: dict[str, Callable[[], object]] = {
        "jax": lambda: classical_fill(on_device).block_until_ready()
    }
    if find_spec("cv2"):
        functions["opencv"] = lambda: [opencv_fill(frame[..., 0]) for frame in frames]
    in_turns(functions, 2)
    seconds = in_turns(functions, options.repeats)

    print(f"{device.device_kind} ({device.platform}), {frames.shape}, {options.repeats} repeats")
    for name, value in seconds.items():
        print(f"{name}: {1e3 * value / options.batch:.2f} ms per frame")
    if "opencv" in seconds:
        print(f"jax / opencv: {seconds['jax'] / seconds['opencv']:.2f}")


if __name__ == "__main__":
    main()
