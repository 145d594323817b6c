"""The frames that a prediction reads: one image, two folders, or a rendered sample."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax.commands.inference.readers import Rig
from fcfrnet_jax.commands.inference.rigs import find_rigs
from fcfrnet_jax.data.frame import Frame, Intrinsics
from fcfrnet_jax.data.kitti.calibration import read_intrinsics
from fcfrnet_jax.data.own import folders
from fcfrnet_jax.sensors.calibration import read_calibration
from fcfrnet_jax.sensors.calibration.calibration import check_camera_matrix
from fcfrnet_jax.sensors.scans import READERS
from fcfrnet_jax.streets import sample

SAMPLE = "sample"


@dataclass(frozen=True)
class Source:
    """Frames to predict.

    Attributes:
      frames: the frames; all or none have an image.
      matrices: the camera matrix `[3, 3]` by the name of the frame, as far as it is known.
      is_folder: whether they are the files of folders, of which an interrupted run is continued.
      unpaired: what has no partner.
      rigs: the camera and the scanner by the name of the frame, if the frames have scans.
    """

    frames: list[Frame]
    matrices: dict[str, np.ndarray]
    is_folder: bool
    unpaired: folders.Pairs
    rigs: dict[str, Rig] = field(default_factory=dict)


def find_source(config: ConfigDict) -> Source:
    """Finds the frames that the config describes.

    Raises:
      ValueError: a path does not exist, or there are no frames; see `folders.find_pairs`.
    """
    if config.scan:
        return _scans(config)
    for name in ("calibration", "extrinsics", "oxts"):
        if config[name]:
            raise ValueError(
                f"--config.{name}={config[name]} is for raw scans: give them by --config.scan"
            )
    if not config.depth:
        if config.image:
            raise ValueError(
                f"--config.image={config.image} has neither depth nor a scan: give its sparse "
                "depth by --config.depth, or its scan by --config.scan and --config.calibration"
            )
        return _sample()
    with _flags():
        found = folders.find_pairs(
            config.image or None,
            config.depth,
            image_pattern=config.image_pattern,
            depth_pattern=config.depth_pattern,
        )
    frames = _frames(found)
    matrices = _matrices(config.intrinsics, frames)
    return Source(frames, matrices, Path(config.depth).is_dir(), found)


def check_outside(config: ConfigDict, workdir: Path) -> None:
    """Raises ValueError if the workdir is in a folder that is read, with its subfolders."""
    for name in ("image", "depth", "scan"):
        folder = Path(config[name]).resolve()
        if config[name] and folder.is_dir() and workdir.resolve().is_relative_to(folder):
            raise ValueError(
                f"--workdir={workdir} is in --config.{name}={config[name]}, so that the results "
                "would be read by the next run; choose another --workdir"
            )


def _scans(config: ConfigDict) -> Source:
    for name in ("depth", "intrinsics"):
        if config[name]:
            raise ValueError(
                f"--config.{name}={config[name]} and --config.scan={config.scan} exclude each "
                "other: leave one of them empty"
            )
    with _flags():
        found = folders.find_pairs(
            config.image or None,
            config.scan,
            image_pattern=config.image_pattern,
            depth_pattern=config.scan_pattern,
            depth_suffixes=tuple(READERS),
            kind="scan",
        )
    frames = _frames(found)
    rigs = find_rigs(config, frames)
    return Source(frames, _camera_matrices(rigs), Path(config.scan).is_dir(), found, rigs)


def _sample() -> Source:
    files = sample.sample_scan()
    frames = [Frame(SAMPLE, files.image, files.scan, None, None, None)]
    rigs = {SAMPLE: Rig(read_calibration(files.calibration), files.calibration)}
    return Source(frames, _camera_matrices(rigs), False, folders.Pairs([], [], []), rigs)


def _frames(found: folders.Pairs) -> list[Frame]:
    return [Frame(p.name, p.image, p.depth, None, None, None) for p in found.pairs]


def _camera_matrices(rigs: dict[str, Rig]) -> dict[str, np.ndarray]:
    return {name: rig.calibration.projection[:, :3] for name, rig in rigs.items()}


def _matrices(intrinsics: str, frames: list[Frame]) -> dict[str, np.ndarray]:
    """The camera matrix of every frame; empty if no intrinsics are given."""
    if not intrinsics:
        return {}
    if Path(intrinsics).is_dir():
        names = [frame.name for frame in frames]
        paths = folders.find_beside(Path(intrinsics), names, ".txt")
        missing = [name for name in names if name not in paths]
        if missing:
            raise ValueError(
                f"--config.intrinsics={intrinsics} has no file for {len(missing)} of {len(names)} "
                f"frames; the first one would be {Path(intrinsics) / missing[0]}.txt"
            )
        return {name: _matrix(read_intrinsics(path), path) for name, path in paths.items()}
    if Path(intrinsics).is_file():
        matrix = _matrix(read_intrinsics(intrinsics), intrinsics)
    else:
        matrix = _matrix(_numbers(intrinsics), intrinsics)
    return dict.fromkeys((frame.name for frame in frames), matrix)


def _numbers(text: str) -> Intrinsics:
    try:
        fx, fy, cx, cy = map(float, text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--config.intrinsics={text} is neither a file, nor a folder, nor four numbers "
            "fx,fy,cx,cy"
        ) from error
    return fx, fy, cx, cy


def _matrix(intrinsics: Intrinsics, given: str | Path) -> np.ndarray:
    fx, fy, cx, cy = intrinsics
    matrix = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
    check_camera_matrix(matrix, f"--config.intrinsics={given}")
    return matrix


@contextmanager
def _flags() -> Iterator[None]:
    """Writes the arguments that an error of `find_pairs` names as flags."""
    arguments = r"(?:image|depth|scan)(?:=| is )|(?:image|depth|scan)_pattern\b"
    try:
        yield
    except ValueError as error:
        text = re.sub(rf"(?<![\w./-])(?={arguments})", "--config.", str(error))
        raise ValueError(text) from error
