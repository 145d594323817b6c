"""Finds the scans of whole drives, in the layout of KITTI's raw data or in folders of scans."""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcfrnet_jax.files import list_some
from fcfrnet_jax.sensors.calibration.kitti import UNIT_FILE
from fcfrnet_jax.sensors.motion import Motion, motion_between, read_oxts
from fcfrnet_jax.sensors.poses import read_poses, read_unit_poses
from fcfrnet_jax.sensors.scans import READERS

# Where the drives are, relative to the folder of KITTI's raw data; the first that fits is used.
_RAW_LAYOUTS = ("raw/*/*", "*/*", "*", ".")
_SCANS = Path("velodyne_points", "data")


@dataclass(frozen=True)
class Drive:
    """The scans of a drive.

    Attributes:
      name: of the drive.
      scans: their files, in the order in which they were taken.
      units: for each scan the file of KITTI's GPS/IMU unit, None where there is none.
      date: the folder of the drive's date with KITTI's calibrations; None for a folder of scans.
    """

    name: str
    scans: tuple[Path, ...]
    units: tuple[Path | None, ...]
    date: Path | None = None


def find_raw_drives(root: str | os.PathLike) -> list[Drive]:
    """Finds the drives of KITTI's raw data, sorted by name.

    Args:
      root: the folder with the dates, or one that contains it as `raw`, or the folder of one date
        or of one drive.

    Raises:
      ValueError: there is no such folder, or no drive with scans.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder")
    for layout in _RAW_LAYOUTS:
        folders = [root] if layout == "." else sorted(root.glob(layout))
        drives = [_raw_drive(folder) for folder in folders if (folder / _SCANS).is_dir()]
        if drives:
            return drives
    raise ValueError(
        f"{root}: holds no drive, expected <date>/<drive>/{_SCANS.as_posix()} as in KITTI's raw "
        "data"
    )


def _raw_drive(folder: Path) -> Drive:
    scans = _list_scans(folder / _SCANS)
    units = (folder / "oxts" / "data" / f"{scan.stem}.txt" for scan in scans)
    found = tuple(unit if unit.is_file() else None for unit in units)
    return Drive(folder.name, scans, found, folder.parent)


def find_scan_folders(root: str | os.PathLike) -> list[Drive]:
    """Finds the scans of a folder, or of each of its subfolders, as drives of these names.

    Raises:
      ValueError: there is no such folder, or no scans.
    """
    root = Path(root).absolute()
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder")
    folders = [root] if _has_scans(root) else sorted(filter(_has_scans, root.iterdir()))
    if not folders:
        raise ValueError(
            f"{root}: holds no scans, expected files ending in {', '.join(READERS)} there or in "
            "its subfolders"
        )
    drives = []
    for folder in folders:
        scans = _list_scans(folder)
        drives.append(Drive(folder.name, scans, (None,) * len(scans)))
    return drives


def choose(drives: Sequence[Drive], names: Collection[str]) -> list[Drive]:
    """Returns the drives of these names, or all of them if there are no names.

    Raises:
      ValueError: a name is unknown.
    """
    known = [drive.name for drive in drives]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]} is not among the drives {list_some(known, 5)}")
    return [drive for drive in drives if not names or drive.name in names]


def _has_scans(folder: Path) -> bool:
    return folder.is_dir() and any(_is_scan(path) for path in folder.iterdir())


def _list_scans(folder: Path) -> tuple[Path, ...]:
    """The scans of a folder, by number if all of their names are numbers, otherwise by name.

    Raises:
      ValueError: there are none, or two of them have the same name.
    """
    scans = sorted(path for path in folder.iterdir() if _is_scan(path))
    if not scans:
        raise ValueError(f"{folder}: holds no scans")
    stems = [path.stem for path in scans]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise ValueError(f"{folder}: has two scans named {twice}; keep one of them")
    if all(stem.isdecimal() for stem in stems):
        scans.sort(key=lambda path: int(path.stem))
    return tuple(scans)


def _is_scan(path: Path) -> bool:
    return path.suffix.lower() in READERS and not path.name.startswith(".")


def unit_motions(drive: Drive) -> list[Motion | None]:
    """The motion during each scan that KITTI's GPS/IMU unit measured; None where it did not.

    Raises:
      ValueError: a file is damaged.
    """
    return [None if unit is None else read_oxts(unit) for unit in drive.units]


def pose_motions(poses: Sequence[np.ndarray], period: float) -> list[Motion | None]:
    """The mean motion between the scans before and after each scan, taken every `period` seconds.

    Args:
      poses: of the scanner, `[4, 4]` from its frame to a fixed frame.
      period: from one scan to the next.

    Returns:
      For each scan the motion in the scanner's frame at that scan.

    Raises:
      ValueError: there is only one scan.
    """
    if len(poses) < 2:
        raise ValueError("the motion of the scanner needs the poses of at least two scans")
    last = len(poses) - 1
    motions: list[Motion | None] = []
    for i in range(len(poses)):
        before, after = max(i - 1, 0), min(i + 1, last)
        motion = motion_between(poses[before], poses[after], (after - before) * period)
        # In a curve, the frame of the scan before has another direction.
        turn = poses[i][:3, :3].T @ poses[before][:3, :3]
        motions.append(Motion(turn @ motion.velocity, turn @ motion.rotation_rate))
    return motions


def drive_poses(drive: Drive, path: str | os.PathLike | None = None) -> list[np.ndarray]:
    """The pose of each scan.

    Args:
      drive: the drive.
      path: a file for `read_poses`. Scans with the names 0, 1, ... have the line of this number,
        the first of which is 0; others need as many lines as there are scans. None for the
        measurements of KITTI's GPS/IMU unit, which lead from the scanner's frame.

    Raises:
      ValueError: a scan has no pose, or a file is missing or damaged.
    """
    if path is None:
        units = [unit for unit in drive.units if unit is not None]
        if len(units) < len(drive.scans):
            raise ValueError(
                f"{drive.name}: {len(drive.scans) - len(units)} of {len(drive.scans)} scans have "
                "no oxts/data/<frame>.txt, from which their poses are read; give a file of poses"
            )
        assert drive.date is not None
        return read_unit_poses(units, drive.date / UNIT_FILE)
    poses = read_poses(path)
    stems = [scan.stem for scan in drive.scans]
    if all(stem.isdecimal() and int(stem) < len(poses) for stem in stems):
        return [poses[int(stem)] for stem in stems]
    if len(poses) != len(stems):
        raise ValueError(
            f"{path}: has {len(poses)} poses for the {len(stems)} scans of {drive.name}, expected "
            "one for each scan, or for each number from 0 to that of the last scan"
        )
    return poses
