"""A frame: its files and the calibration of its camera; and files that cannot be used."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from fcfrnet_jax.files import list_some
from fcfrnet_jax.geometry import Size

Intrinsics = tuple[float, float, float, float]


class NoFramesError(ValueError):
    """A data set has no frames of a split."""


class RecordError(ValueError):
    """Nothing of a record can be used. The message is that of an error of `Stored`."""


class Stored(Protocol):
    """The arrays of a frame that has no files of its own, such as a record of a shard."""

    def read(self, names: Collection[str]) -> dict[str, np.ndarray]:
        """Reads the arrays `names` of the frame.

        Args:
          names: of `image`, uint8 `[H, W, 3]` RGB; and `sparse_depth` and `ground_truth`, float32
            `[H, W]` metres, 0 = missing.

        Raises:
          ValueError: it cannot be read. The message continues a sentence that begins with the name
            of the record, such as "is damaged: its checksum is wrong".
        """
        ...


@runtime_checkable
class Scannable(Protocol):
    """A `Stored` frame that can be checked without decoding its arrays."""

    def scan(self) -> Size:
        """Verifies the checksum and returns (height, width) in pixels; errors as for `read`."""
        ...


@dataclass(frozen=True)
class Frame:
    """The files of one frame.

    Attributes:
      name: unique in its split: `<drive>/image_0x/<number>`, or the stem of the image in the
        selections.
      image: an 8-bit PNG or JPEG file, or None.
      sparse: the LiDAR depth, a 16-bit depth PNG of KITTI.
      coarse: the dense coarse depth in the same format, or None.
      ground_truth: the semi-dense depth in the same format, or None.
      intrinsics: (fx, fy, cx, cy) in pixels of the stored image; None without calibration.
      stored: reads the image, the sparse depth and the ground truth. Their paths then name them in
        messages, and those of records are no files. None if each has a file of KITTI's kinds.
    """

    name: str
    image: Path | None
    sparse: Path
    coarse: Path | None
    ground_truth: Path | None
    intrinsics: Intrinsics | None
    stored: Stored | None = None

    def stored_names(self) -> dict[Path, str]:
        """The names of the arrays that `stored` reads, by the paths that name them."""
        if self.stored is None:
            return {}
        paths = {
            "image": self.image,
            "sparse_depth": self.sparse,
            "ground_truth": self.ground_truth,
        }
        return {path: name for name, path in paths.items() if path is not None}


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used.

    Attributes:
      frame: the frame that the file belongs to; it may have several bad files.
      path: the file.
      reason: continues a sentence that begins with the path.
      too_small: (height, width) of the frame if its only fault is that the crop does not fit.
    """

    frame: Frame
    path: Path
    reason: str
    too_small: Size | None = None


def neighbours(frames: Sequence[Frame], reach: int = 3) -> list[list[int]]:
    """Finds the neighbouring frames of the same drive and camera.

    Args:
      frames: as returned by `find_frames`. Only frames with an image are neighbours. Frames without
        a number in a drive, as in the selections, have no neighbours.
      reach: the largest difference between the numbers of neighbours.

    Returns:
      For each frame, the positions of its neighbours in `frames`, in the order of their numbers.
    """
    numbered = [frame.name.rpartition("/") for frame in frames]
    position = {
        (folder, int(number)): i
        for i, (folder, _, number) in enumerate(numbered)
        if folder and number.isdecimal() and frames[i].image is not None
    }
    steps = [step for step in range(-reach, reach + 1) if step]
    found = []
    for folder, _, number in numbered:
        start = int(number) if number.isdecimal() else -1 - reach
        keys = ((folder, start + step) for step in steps)
        found.append([position[key] for key in keys if key in position])
    return found


def check_calibrated(frames: Sequence[Frame], purpose: str) -> None:
    """Raises ValueError if a frame has no calibration, which `purpose`, a noun, needs."""
    without = [frame.name for frame in frames if frame.intrinsics is None]
    if without:
        raise ValueError(
            f"{purpose} needs calibration: {len(without)} of {len(frames)} frames have none: "
            f"{list_some(without)}; unpack calib_cam_to_cam.txt of their dates under raw/<date>, "
            "or set intrinsics in dataset.json"
        )
