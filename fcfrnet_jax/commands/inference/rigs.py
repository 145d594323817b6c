"""Finds the calibration of each frame, and its measurement of motion."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from fcfrnet_jax.commands.inference.readers import Rig
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.own import folders
from fcfrnet_jax.sensors.calibration import read_calibration
from fcfrnet_jax.sensors.calibration.kitti import CAMERA_FILE, CAMERAS, UNIT_FILE

# Of the files in a folder of calibrations.
_SUFFIXES = (".txt", ".json", ".yaml", ".yml")


def find_rigs(config: ConfigDict, frames: Sequence[Frame]) -> dict[str, Rig]:
    """Reads the calibration of each frame.

    Returns:
      By the name of the frame.

    Raises:
      ValueError: a calibration is missing or invalid.
    """
    if not config.calibration:
        raise ValueError(
            f"--config.calibration is empty, but --config.scan={config.scan} needs the calibration "
            "of the camera and the scanner: give a file or a folder"
        )
    if config.camera not in CAMERAS:
        raise ValueError(
            f"--config.camera must be one of {', '.join(CAMERAS)}, got {config.camera!r}"
        )
    given, names = Path(config.calibration), [frame.name for frame in frames]
    if given.is_dir() and not (given / CAMERA_FILE).is_file():
        paths = _beside(given, names, _SUFFIXES, "calibration")
    else:
        paths = dict.fromkeys(names, given)
    with named("calibration"):
        read = {
            path: read_calibration(path, camera=config.camera, extrinsics=config.extrinsics or None)
            for path in dict.fromkeys(paths.values())
        }
    motions = _motions(config.oxts, names)
    return {
        name: Rig(read[path], path / CAMERA_FILE if path.is_dir() else path, motions.get(name))
        for name, path in paths.items()
    }


def find_imu(config: ConfigDict) -> Path | None:
    """The calibration of the GPS/IMU unit beside the other calibrations, if there is one."""
    given = Path(config.calibration)
    path = (given if given.is_dir() else given.parent) / UNIT_FILE
    return path if path.is_file() else None


def _motions(oxts: str, names: Sequence[str]) -> dict[str, Path]:
    if not oxts:
        return {}
    if Path(oxts).is_dir():
        return _beside(Path(oxts), names, (".txt",), "oxts")
    if len(names) > 1:
        raise ValueError(
            f"--config.oxts={oxts} is not a folder, but there are {len(names)} scans; give the "
            "folder with a file for each of them"
        )
    return dict.fromkeys(names, Path(oxts))


def _beside(
    folder: Path, names: Sequence[str], suffixes: Sequence[str], setting: str
) -> dict[str, Path]:
    """The file of each name in a folder, with the first suffix for which there is one."""
    found: dict[str, Path] = {}
    for suffix in reversed(suffixes):
        found |= folders.find_beside(folder, names, suffix)
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(
            f"--config.{setting}={folder} has no file for {len(missing)} of {len(names)} frames; "
            f"the first one would be {folder / missing[0]}{suffixes[0]}"
        )
    return found
