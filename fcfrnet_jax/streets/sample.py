"""A small synthetic dataset in KITTI's layout, for running the commands without a download."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcfrnet_jax.files import atomic_path, cache_dir
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.calibration.calibration import rigid
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets import verified
from fcfrnet_jax.streets.data_set import (
    VERSION,
    Plan,
    files_of,
    frame_key,
    places,
    repair,
    write_data_set,
)
from fcfrnet_jax.streets.frame import scan_points
from fcfrnet_jax.streets.frame_files import frame_paths

SAMPLE_NAME = f"sample-v{VERSION}"
# The scanner's axes, x forward, y to the left and z up, in those of a camera.
_AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


class SampleScan(NamedTuple):
    """The files of a rendered image and its raw scan.

    Attributes:
      image: PNG.
      scan: `.bin` with x, y, z in metres and the intensity, which is 0.
      calibration: JSON.
    """

    image: Path
    scan: Path
    calibration: Path


def sample_dir(cache: str | os.PathLike | None = None) -> Path:
    """Returns the folder of the sample dataset, which is written on the first call.

    Every call verifies the files and writes those again that are damaged or missing.

    Args:
      cache: the folder to keep it in, by default `files.cache_dir()`.

    Raises:
      OSError: the cache folder cannot be written.
      ValueError: the dataset's folder is a file.
    """
    with _named():
        root = (cache_dir() if cache is None else Path(cache)) / SAMPLE_NAME
        plan = _plan()
        files = files_of(root, plan)
        intact = root.is_dir() and any(root.iterdir()) and verified.remove_damaged(root, files)
        if not intact and root.is_dir() and not all(path.is_file() for path in files):
            repair(root, plan)
        write_sample(root)
        if not intact:
            verified.record(root, files)
    return root


@contextmanager
def _named() -> Iterator[None]:
    """Says what to do if the cache folder cannot be written."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # RuntimeError: the user has no home folder
        raise OSError(
            f"cannot keep the sample dataset in a cache folder ({error}); "
            "set XDG_CACHE_HOME to a writable folder"
        ) from error


def write_sample(
    root: str | os.PathLike,
    frames: int = 6,
    seed: int = 0,
    height: int = KITTI.height,
    width: int = KITTI.width,
) -> None:
    """Writes a dataset of rendered frames in the layout of KITTI's depth benchmark.

    `val` and `depth_selection` contain `frames` frames, each of a different street. `train` has one
    drive with half as many, one metre apart. `raw` has the colour images and the calibration. The
    folder is complete as soon as it exists, see `data_set.write_data_set`.

    Args:
      root: the folder to create.
      frames: the number of frames, 1 to 20.
      seed: the random seed of the streets.
      height, width: the size of the uncropped images; the field of view is always KITTI's.

    Raises:
      ValueError: `frames` is out of range, or `root` exists and is not this dataset.
      OSError: `root` cannot be written.
    """
    if frames < 1:
        raise ValueError(f"a sample dataset needs at least 1 frame, got {frames}")
    write_data_set(root, _plan(frames, seed, (height, width)))


def sample_scan(cache: str | os.PathLike | None = None) -> SampleScan:
    """Returns the first frame of `val` of the sample dataset with its raw scan.

    Args:
      cache: as for `sample_dir`.

    Raises:
      OSError, ValueError: as `sample_dir`.
    """
    root = sample_dir(cache)
    with _named():
        folder = root.with_name(f"{SAMPLE_NAME}-scan")
        files = scan_files(folder)
        intact = verified.remove_damaged(folder, files) if folder.is_dir() else False
        found = write_scan(root, folder)
        if not intact:
            verified.record(folder, files)
        return found


def write_scan(
    root: Path,
    folder: Path,
    frames: int = 6,
    seed: int = 0,
    size: Size = (KITTI.height, KITTI.width),
) -> SampleScan:
    """Writes the raw scan of the first frame of `val` of a dataset of `write_sample`.

    Args:
      root: the dataset.
      folder: for the scan and its calibration. Files that exist are not written again.
      frames, seed, size: those of the dataset.
    """
    plan = _plan(frames, seed, size)
    place = next(place for place in places(plan) if place.split == "val")
    files = SampleScan(frame_paths(root, place)[2], *scan_files(folder))
    if not (files.scan.is_file() and files.calibration.is_file()):
        motion = _camera_from_lidar(plan.lidar)
        points = np.asarray(scan_points(frame_key(plan, place), plan.camera, plan.lidar)).T
        points = points[np.isfinite(points).all(axis=1)] - motion[:3, 3]
        rows = np.pad(points @ motion[:3, :3], ((0, 0), (0, 1))).astype("<f4")
        with atomic_path(files.scan) as temporary:
            temporary.write_bytes(rows.tobytes())
        with atomic_path(files.calibration) as temporary:
            temporary.write_text(json.dumps(_describe(plan.camera, motion)))
    return files


def scan_files(folder: Path) -> tuple[Path, Path]:
    """The scan and its calibration in the folder of `write_scan`."""
    return folder / "scan.bin", folder / "calibration.json"


def _plan(frames: int = 6, seed: int = 0, size: Size = (KITTI.height, KITTI.width)) -> Plan:
    drive = (frames + 1) // 2
    camera, lidar = scaled_rig(size)
    return Plan(drive, frames, frames, drive_length=drive, seed=seed, camera=camera, lidar=lidar)


def _camera_from_lidar(lidar: Lidar) -> np.ndarray:
    # The beams start above the scanner's position.
    up = lidar.rotation()[:, 1] * np.mean(lidar.heights)
    return rigid(lidar.rotation() @ _AXES, np.array(lidar.position) - up)


def _describe(camera: Camera, motion: np.ndarray) -> dict[str, object]:
    return {
        "K": camera.matrix().tolist(),
        "T_cam_lidar": motion.tolist(),
        "width": camera.width,
        "height": camera.height,
    }
