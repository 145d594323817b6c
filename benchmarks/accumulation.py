"""Compares accumulated scans of rendered drives with the exact depth.

    python benchmarks/accumulation.py --frames 8 --height 188 --width 621

Each street is scanned at eleven places, one metre apart. The scans are accumulated in the image of
the middle one, with and without the filters. Nothing moves in the streets except the car.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np

if not __package__:
    # Run as a command, possibly without installing the package.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcfrnet_jax.sensors.accumulate import Accumulated, accumulate
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.calibration.calibration import pinhole, rigid
from fcfrnet_jax.sensors.camera import Camera
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.streets.scan.echoes import scan
from fcfrnet_jax.streets.scene.street import make_street

# Metres along the street from the image to each scan.
PLACES = np.arange(-5.0, 6.0)
# A depth is wrong if it differs by more than this share and these metres.
SHARE, METRES = 0.05, 0.3
FILTERS = {
    "no filter": (False, False),
    "moved points removed": (True, False),
    "hidden points removed": (False, True),
    "both removed": (True, True),
}


def calibrate(camera: Camera, lidar: Lidar) -> Calibration:
    """The calibration of a scanner's frame with the axes of the camera."""
    size = camera.height, camera.width
    # The beams start above the scanner's position.
    offset = np.array(lidar.position) - (0.0, np.mean(lidar.heights), 0.0)
    return Calibration(pinhole(camera.matrix()), rigid(np.eye(3), offset), size)


@partial(jax.jit, static_argnames=("camera", "lidar"))
def visit(
    key: jax.Array, place: jax.Array, camera: Camera, lidar: Lidar
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The points of a scan in the camera's frame, and the camera's position and rotation."""
    street = make_street(key, place)
    scan_key = jax.random.fold_in(key, (place * 1000).astype(int))
    points = scan(scan_key, street, lidar, camera, (camera.height, camera.width), (0, 0))
    return points, street.camera, street.rotation


def drive(
    key: jax.Array, camera: Camera, lidar: Lidar, calibration: Calibration
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The scans of a street and the poses of the scanner."""
    scans, poses = [], []
    for place in PLACES:
        points, position, rotation = map(np.asarray, visit(key, place, camera, lidar))
        found = points.T[np.isfinite(points).all(axis=0)]
        scans.append(found - calibration.camera_from_lidar[:3, 3])
        camera_pose = rigid(np.asarray(rotation, np.float64), position)
        poses.append(camera_pose @ calibration.camera_from_lidar)
    return scans, poses


def describe(label: str, results: list[tuple[Accumulated, np.ndarray]]) -> None:
    """Prints the share of the pixels with depth, the error, and what was removed."""
    shares, wrong, errors = [], [], []
    for found, exact in results:
        both = (found.depth > 0) & (exact > 0)
        error = np.abs(found.depth - exact)[both]
        shares.append((found.depth > 0).mean())
        wrong.append((error > SHARE * exact[both] + METRES).mean())
        errors.append(error)
    points, moved, hidden = (
        sum(getattr(r, name) for r, _ in results) for name in ("points", "moved", "hidden")
    )
    error = np.concatenate(errors)
    print(
        f"{label:22} {np.mean(shares):.1%} of the pixels, {np.mean(wrong):.2%} wrong, "
        f"RMSE {np.sqrt(np.mean(error**2)):.2f} m, median {100 * np.median(error):.1f} cm; removed "
        f"{moved / points:.1%} as moved, {hidden / points:.1%} as hidden"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=8, help="number of streets")
    parser.add_argument("--height", type=int, default=188, help="of the images")
    parser.add_argument("--width", type=int, default=621, help="of the images")
    options = parser.parse_args()
    camera, lidar = scaled_rig((options.height, options.width))
    calibration = calibrate(camera, lidar)
    results: dict[str, list[tuple[Accumulated, np.ndarray]]] = {}
    for seed in range(options.frames):
        key = jax.random.key(seed)
        scans, poses = drive(key, camera, lidar, calibration)
        exact = np.asarray(render_scene(key, camera, lidar).depth)
        middle = len(PLACES) // 2
        one = accumulate([scans[middle]], [poses[middle]], calibration, remove_hidden=False)
        results.setdefault("one scan", []).append((one, exact))
        for label, (moved, hidden) in FILTERS.items():
            found = accumulate(scans, poses, calibration, remove_moved=moved, remove_hidden=hidden)
            results.setdefault(label, []).append((found, exact))
    for label, some in results.items():
        describe(label, some)


if __name__ == "__main__":
    main()
