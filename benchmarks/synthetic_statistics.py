"""Compares statistics of rendered and real frames: the distribution of points, and fill errors.

    python benchmarks/synthetic_statistics.py ../shared/kitti_real --frames 16 --picture figure.png

The folder must have the layout of KITTI's depth benchmark (`train` and `val` with `proj_depth`).
All frames are cropped to 352x1216 at the bottom centre. The figure needs matplotlib.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

if not __package__:
    # Makes the package importable when run as a command in a checkout that is not installed.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.evaluation.metrics import depth_metrics
from fcfrnet_jax.geometry import crop_box
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.streets.frame_files import CROP

ROWS = 16  # pixel rows per band
DEPTHS = (0.0, 5.0, 7.5, 10.0, 12.5, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 70.0, 90.0)
GAPS = (0.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 100.0)  # pixels
REACH = 7  # pixels; the radius in which neighbouring points are searched

Maps = tuple[np.ndarray, np.ndarray]  # sparse depth and ground truth, `[352, 1216]` metres
Statistics = dict[str, np.ndarray]


def real_frames(folder: Path, every: int) -> Iterator[Maps]:
    """Yields the maps of each `every`th real frame."""
    paths = sorted(folder.glob("*/*/proj_depth/velodyne_raw/image_0?/*.png"))
    for path in paths[::every]:
        truth = path.parents[2] / "groundtruth" / path.parent.name / path.name
        yield crop(read_depth(path)), crop(read_depth(truth))


def rendered_frames(count: int, seed: int) -> Iterator[Maps]:
    """Yields the maps of `count` rendered streets."""
    for key in jax.random.split(jax.random.key(seed), count):
        frame = render_scene(key)
        yield crop(np.asarray(frame.sparse_depth)), crop(np.asarray(frame.ground_truth))


def crop(depth: np.ndarray) -> np.ndarray:
    top, left = crop_box(depth.shape, CROP)
    return depth[top : top + CROP[0], left : left + CROP[1]]


def shifted(depth: np.ndarray, down: int, right: int) -> np.ndarray:
    """Shifts a depth map by whole pixels and fills with 0."""
    result = np.zeros_like(depth)
    height, width = depth.shape
    result[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = depth[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return result


def gaps(sparse: np.ndarray) -> np.ndarray:
    """Returns each point's distance to the nearest other one in pixels, at most `REACH` + 1."""
    nearest = np.full(sparse.shape, REACH + 1.0)
    for down, right in np.ndindex(2 * REACH + 1, 2 * REACH + 1):
        distance = np.hypot(down - REACH, right - REACH)
        if distance > 0:
            there = shifted(sparse, down - REACH, right - REACH) > 0
            nearest = np.where(there, np.minimum(nearest, distance), nearest)
    return nearest[sparse > 0]


def seen_through(sparse: np.ndarray) -> float:
    """Returns the share of points over 1 m and 5% behind the nearest one within 7x7 pixels."""
    closest = np.where(sparse > 0, sparse, np.inf)
    for down, right in np.ndindex(7, 7):
        other = shifted(sparse, down - 3, right - 3)
        closest = np.where(other > 0, np.minimum(closest, other), closest)
    behind = (sparse - closest > 1.0) & (sparse > 1.05 * closest)
    return float(behind.sum() / (sparse > 0).sum())


def measure(sparse: np.ndarray, truth: np.ndarray) -> Statistics:
    """Computes the statistics of one frame."""
    both = (sparse > 0) & (truth > 0)
    behind = both & (sparse - truth > 1.0) & (sparse > 1.05 * truth)
    filled = classical_fill(sparse[None, ..., None])
    errors = depth_metrics(filled, jnp.asarray(truth[None, ..., None]))
    found = {
        "sparse_share": float((sparse > 0).mean()),
        "truth_share": float((truth > 0).mean()),
        "points_in_truth": float(both.sum() / (sparse > 0).sum()),
        "behind_truth": float(behind.sum() / both.sum()),
        "behind_neighbours": seen_through(sparse),
        "fill_rmse_mm": float(errors["rmse_mm"][0]),
        "fill_mae_mm": float(errors["mae_mm"][0]),
        "sparse_by_row": (sparse > 0).reshape(-1, ROWS * CROP[1]).mean(axis=1),
        "truth_by_row": (truth > 0).reshape(-1, ROWS * CROP[1]).mean(axis=1),
        "sparse_by_depth": np.histogram(sparse[sparse > 0], DEPTHS)[0] / (sparse > 0).sum(),
        "truth_by_depth": np.histogram(truth[truth > 0], DEPTHS)[0] / (truth > 0).sum(),
        "gap_to_next_point": np.histogram(gaps(sparse), GAPS)[0] / (sparse > 0).sum(),
    }
    return {name: np.asarray(value) for name, value in found.items()}


def summary(frames: Iterator[Maps]) -> Statistics:
    """Returns the mean of each statistic over the frames."""
    measured = [measure(*maps) for maps in frames]
    if not measured:
        raise ValueError("there are no frames to compare")
    return {name: np.mean([m[name] for m in measured], axis=0) for name in measured[0]}


def draw(path: Path, found: dict[str, Statistics]) -> None:
    """Writes a figure with one plot per statistic, each for both kinds of frames."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    rows = ROWS * np.arange(CROP[0] // ROWS)
    curves = (
        ("sparse_by_row", rows, "share of pixels with sparse depth, by image row"),
        ("truth_by_row", rows, "share of pixels with ground truth, by image row"),
        ("sparse_by_depth", DEPTHS[:-1], "sparse depth in metres, share of points"),
        ("truth_by_depth", DEPTHS[:-1], "ground truth in metres, share of pixels"),
        ("gap_to_next_point", GAPS[:-1], "pixels to the next point, share of points"),
    )
    figure, axes = plt.subplots(2, 3, figsize=(15, 7))
    for axis, (name, start, title) in zip(axes.flat, curves, strict=False):
        for kind, values in found.items():
            axis.step(start, values[name], where="post", label=kind)
        axis.set_title(title)
        axis.legend()
    shares = ("behind_truth", "behind_neighbours")
    for i, (kind, values) in enumerate(found.items()):
        heights = [float(values[name]) for name in shares]
        axes.flat[-1].bar(np.arange(2) + 0.35 * i, heights, 0.35, label=kind)
    axes.flat[-1].set_xticks(np.arange(2) + 0.175, ["against ground truth", "against neighbours"])
    axes.flat[-1].set_title("share of see-through points")
    axes.flat[-1].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "folder", type=Path, help="real frames in the layout of KITTI's depth benchmark"
    )
    parser.add_argument("--frames", type=int, default=16, help="the number of rendered frames")
    parser.add_argument("--every", type=int, default=3, help="use every n-th real frame")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path, help="write a figure to this file")
    options = parser.parse_args()

    found = {
        "real": summary(real_frames(options.folder, options.every)),
        "rendered": summary(rendered_frames(options.frames, options.seed)),
    }
    for name in found["real"]:
        for kind, values in found.items():
            numbers = " ".join(
                f"{value:7.4g}" for value in np.round(np.atleast_1d(values[name]), 4)
            )
            print(f"{name:18} {kind:9} {numbers}")
    if options.picture:
        draw(options.picture, found)


if __name__ == "__main__":
    main()
