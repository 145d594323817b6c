"""The frames that a prediction reads: one image, two folders, or a rendered sample frame."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.frame import Frame, Intrinsics
from fcfrnet_jax.data.kitti.calibration import read_intrinsics
from fcfrnet_jax.prediction import folders
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
    """

    frames: list[Frame]
    matrices: dict[str, np.ndarray]
    is_folder: bool
    unpaired: folders.Pairs


def find_source(config: ConfigDict) -> Source:
    """Finds the frames that the config describes.

    Raises:
      ValueError: a path does not exist, or there are no frames; see `folders.find_pairs`.
    """
    if not config.depth:
        if config.image:
            raise ValueError(
                f"--config.image={config.image} has no depth: give its sparse depth by "
                "--config.depth"
            )
        return _sample()
    with _flags():
        found = folders.find_pairs(
            config.image or None,
            config.depth,
            image_pattern=config.image_pattern,
            depth_pattern=config.depth_pattern,
        )
    frames = [Frame(p.name, p.image, p.depth, None, None, None) for p in found.pairs]
    matrices = _matrices(config.intrinsics, frames)
    return Source(frames, matrices, Path(config.depth).is_dir(), found)


def _sample() -> Source:
    frames = kitti.find_frames(sample.sample_dir(), "val", require={"image", "intrinsics"})
    frame = replace(frames[0], name=SAMPLE)
    assert frame.intrinsics is not None
    matrices = {SAMPLE: _matrix(frame.intrinsics)}
    return Source([frame], matrices, False, folders.Pairs([], [], []))


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
        return {name: _matrix(read_intrinsics(path)) for name, path in paths.items()}
    if Path(intrinsics).is_file():
        matrix = _matrix(read_intrinsics(intrinsics))
    else:
        matrix = _matrix(_numbers(intrinsics))
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


def _matrix(intrinsics: Intrinsics) -> np.ndarray:
    fx, fy, cx, cy = intrinsics
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


@contextmanager
def _flags() -> Iterator[None]:
    """Writes the arguments that an error of `find_pairs` names as flags."""
    names = "image|depth|image_pattern|depth_pattern"
    try:
        yield
    except ValueError as error:
        text = re.sub(rf"(?<![\w./-])(?=(?:{names})\b(?:=| is | and ))", "--config.", str(error))
        raise ValueError(text) from error
