"""Compares projected scans with KITTI's own sparse depth, and measures the filter of hidden points.

    python benchmarks/projection.py --data_dir KITTI

KITTI is the folder of the benchmark and of the raw data. For each frame of `train` with a raw scan,
the scan is projected and compared with the frame's `velodyne_raw`: as it is, and with the motion of
the scanner fitted to `velodyne_raw`. For each frame with ground truth, the filter of hidden points
is applied to `velodyne_raw`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fill import opencv_fill
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.geometry import crop_offsets
from fcfrnet_jax.sensors.calibration import Calibration, read_calibration
from fcfrnet_jax.sensors.motion import Motion, azimuth_times, compensate
from fcfrnet_jax.sensors.projection import (
    nearest_depth,
    pixel_indices,
    project_points,
    without_hidden,
)
from fcfrnet_jax.sensors.scans import read_scan

# The benchmark stores floor(256 * depth).
STEP = 1 / 256
CROP = (352, 1216)


class Camera(NamedTuple):
    """A camera of a frame, and its `velodyne_raw`, `[H, W]` metres."""

    calibration: Calibration
    official: np.ndarray


def move(points: np.ndarray, turns: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Moves points by a motion that is a polynomial of the time.

    Args:
      points: `[N, 3]` metres in the scanner's frame.
      turns: `[N]` revolutions of the scanner since the image was taken.
      q: `[3, 6]`, the coefficients of the powers 0, 1 and 2 of the time: of the rotation vector and
        the translation.

    Returns:
      `[N, 3]` metres.
    """
    # Rotations of a thousandth of a radian commute, up to 0.1 mm here.
    for power, (rotation, velocity) in enumerate(q.reshape(3, 2, 3)):
        points = compensate(points, turns**power, Motion(velocity, rotation))
    return points


def agreement(cameras: Sequence[Camera], points: np.ndarray) -> list[float]:
    """The share of the pixels of `velodyne_raw` that the projection has within 1/256 m."""
    shares = []
    for calibration, official in cameras:
        depth = projected(calibration, points, official.shape)
        measured = official > 0
        close = (depth > 0) & (np.abs(depth - official) <= STEP)
        shares.append(float(close[measured].mean()))
    return shares


def projected(calibration: Calibration, points: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Sparse depth `[H, W]` metres with the hidden points, as the benchmark has it."""
    pixels = project_points(points, calibration, (size[0], size[1]))
    return nearest_depth(*pixel_indices(pixels), pixels.depth[pixels.seen], (size[0], size[1]))


def residuals(camera: Camera, points: np.ndarray, far: float) -> tuple[np.ndarray, np.ndarray]:
    """Matches projected points with the measured pixels around them.

    Args:
      camera: of the frame.
      points: `[N, 3]` metres in the scanner's frame, moved.
      far: the largest difference of depth of a match, in metres.

    Returns:
      Which points have a match, bool `[N]`. And of these the differences in u, v and depth, `[M,
      3]`, each in units of its rounding error.
    """
    height, width = camera.official.shape
    u, v, depth, _ = project_points(points, camera.calibration, (height, width))
    column, row = np.rint(u), np.rint(v)
    inside = (column > 0) & (column < width - 1) & (row > 0) & (row < height - 1) & (depth > 0)
    best = np.full((len(points), 3), np.inf)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            near = (row[inside] + down).astype(int), (column[inside] + right).astype(int)
            # The middle of the interval of depths that are stored as this number.
            measured = camera.official[near] + STEP / 2
            found = np.stack(
                [
                    column[inside] + right - u[inside],
                    row[inside] + down - v[inside],
                    (measured - depth[inside]) / STEP,
                ],
                axis=1,
            )
            found[camera.official[near] == 0] = np.inf
            better = np.abs(found[:, 2]) < np.abs(best[inside, 2])
            best[np.flatnonzero(inside)[better]] = found[better]
    matched = (np.abs(best[:, 2]) <= far / STEP) & (np.abs(best[:, :2]) < 0.65).all(axis=1)
    return matched, best[matched]


def fit_motion(
    cameras: Sequence[Camera], points: np.ndarray, turns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fits the motion, `q` of `move`, to `velodyne_raw`: with constant velocities, and in full."""
    q = np.zeros((3, 6))
    # Some of the points are enough for a start.
    some, when = points[::4], turns[::4]
    speeds = np.arange(0.0, 3.5, 0.1)

    def matches(speed: float) -> int:
        q[1, 3] = speed
        return sum(int(residuals(camera, move(some, when, q), 0.03)[0].sum()) for camera in cameras)

    q[1, 3] = max(speeds, key=matches)
    forward, linear = [(1, 3), (1, 1), (1, 2)], [(1, i) for i in range(6)]
    everything = [(power, i) for power in range(3) for i in range(6)]
    for free, far in ((forward, 0.1), (forward, 0.03), (linear, 0.01)):
        for _ in range(4):
            q = q + gauss_newton(cameras, some, when, q, free, far)
    for _ in range(3):
        q = q + gauss_newton(cameras, points, turns, q, linear, STEP)
    constant = q
    for _ in range(6):
        q = q + gauss_newton(cameras, points, turns, q, everything, STEP)
    return constant, q


def observe(camera: Camera, points: np.ndarray, turns: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Where moved points fall: u, v in pixels and the depth in steps of its storage, `[N, 3]`."""
    height, width = camera.official.shape
    pixels = project_points(move(points, turns, q), camera.calibration, (height, width))
    return np.stack([pixels.u, pixels.v, pixels.depth / STEP], axis=1)


def gauss_newton(
    cameras: Sequence[Camera],
    points: np.ndarray,
    turns: np.ndarray,
    q: np.ndarray,
    free: list[tuple[int, int]],
    far: float,
) -> np.ndarray:
    """One step of Gauss-Newton on the free numbers of `q`, the others 0."""
    # Of the forward motion alone, the depths are the precise observation.
    kinds = slice(2, 3) if len(free) == 3 else slice(0, 3)
    normal, right = 1e-6 * np.eye(len(free)), np.zeros(len(free))
    for camera in cameras:
        matched, difference = residuals(camera, move(points, turns, q), far)
        some, when = points[matched], turns[matched]
        start, columns = observe(camera, some, when, q), []
        for index in free:
            changed = q.copy()
            changed[index] += 1e-4
            columns.append((observe(camera, some, when, changed) - start)[:, kinds] / 1e-4)
        jacobian = np.stack(columns, axis=-1).reshape(-1, len(free))
        normal += jacobian.T @ jacobian
        right += jacobian.T @ difference[:, kinds].ravel()
    step = np.zeros_like(q)
    step[tuple(np.transpose(free))] = np.linalg.solve(normal, right)
    return step


def in_front(points: np.ndarray) -> np.ndarray:
    """The points that may fall into the images of KITTI's cameras."""
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    return points[(np.abs(azimuth) < 0.9) & (points[:, 0] > 2)].astype(np.float64)


def compare_scan(cameras: Sequence[Camera], path: Path) -> None:
    """Prints how the projection of a scan agrees with `velodyne_raw`."""
    points = in_front(read_scan(path).points)
    turns = azimuth_times(points, period=1.0)
    constant, q = fit_motion(cameras, points, turns)
    print(path)
    for label, scan in (
        ("as it is", points),
        ("constant velocity fitted", move(points, turns, constant)),
        ("motion fitted", move(points, turns, q)),
    ):
        shares = "  ".join(f"{share:.2%}" for share in agreement(cameras, scan))
        print(f"  within 1/256 m, {label}: {shares}")
    velocity = ", ".join(f"{value:.3f}" for value in q[1, 3:])
    degrees = ", ".join(f"{value:.3f}" for value in np.degrees(q[1, :3]))
    print(f"  per revolution: {velocity} m and {degrees} degrees about x, y, z")


def fill_errors(sparse: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """RMSE and MAE in mm of the classical fill on the benchmark's crop."""
    top, left = crop_offsets(sparse.shape, CROP)
    box = slice(top, None), slice(left, left + CROP[1])
    filled, truth = opencv_fill(sparse[box]), truth[box]
    error = 1000 * (filled - truth)[truth > 0]
    return np.array([np.sqrt(np.mean(error**2)), np.mean(np.abs(error))])


def compare_filter(frames: Sequence[Frame], calibrations: Sequence[Calibration]) -> None:
    """Prints what the filter removes, and the classical fill and the points' RMSE without it."""
    counts, errors, squares = np.zeros(4, int), [], np.zeros((2, 2))
    for frame, calibration in zip(frames, calibrations, strict=True):
        assert frame.ground_truth is not None
        sparse, truth = read_depth(frame.sparse), read_depth(frame.ground_truth)
        kept = without_hidden(sparse, calibration)
        removed = (sparse > 0) & (kept == 0)
        known = removed & (truth > 0)
        behind = sparse - truth
        counts += [(sparse > 0).sum(), removed.sum(), known.sum(), (known & (behind > 1)).sum()]
        errors.append([fill_errors(sparse, truth), fill_errors(kept, truth)])
        for row, depth in zip(squares, (sparse, kept), strict=True):
            both = (depth > 0) & (truth > 0)
            row += [(behind[both] ** 2).sum(), both.sum()]
    points, removed, known, confirmed = counts
    print(f"{len(frames)} frames: {removed} of {points} points removed; {known} have ground truth,")
    print(f"  {confirmed} of them ({confirmed / max(known, 1):.1%}) are over 1 m behind it")
    before, after = np.sqrt(squares[:, 0] / squares[:, 1])
    print(f"  RMSE of the points {before:.3f} m, without the removed ones {after:.3f} m")
    (rmse, mae), (rmse_after, mae_after) = np.mean(errors, axis=0)
    print(f"  classical fill {rmse:.1f} / {mae:.1f} mm, then {rmse_after:.1f} / {mae_after:.1f} mm")
    worse = sum(after[0] > before[0] + 0.05 for before, after in errors)
    print(f"  frames in which the RMSE of the fill increases by over 0.05 mm: {worse}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of KITTI")
    data_dir = parser.parse_args().data_dir
    frames = find_frames(data_dir, "train", require=["ground_truth"])
    calibrations, scans = [], dict[Path, list[Camera]]()
    for frame in frames:
        drive, camera, number = frame.name.split("/")
        date = data_dir / "raw" / drive[:10]
        calibrations.append(read_calibration(date, camera=camera[-2:]))
        scan = date / drive / "velodyne_points" / "data" / f"{number}.bin"
        if scan.is_file():
            cameras = scans.setdefault(scan, [])
            cameras.append(Camera(calibrations[-1], read_depth(frame.sparse)))
    for path, cameras in scans.items():
        compare_scan(cameras, path)
    compare_filter(frames, calibrations)


if __name__ == "__main__":
    main()
