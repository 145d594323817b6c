"""A frame: the files that belong together, and the camera's calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fcfrnet_jax.files import list_some

Intrinsics = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """The files of one frame.

    Attributes:
      name: unique in its split: `<drive>/image_0x/<number>`, or in the selections the image's stem.
      image: 8-bit PNG or JPEG.
      sparse: LiDAR depth, KITTI's 16-bit depth PNG.
      coarse: dense coarse depth, the same format.
      ground_truth: semi-dense depth, the same format.
      intrinsics: (fx, fy, cx, cy) in pixels of the image as it is stored.
    """

    name: str
    image: Path | None
    sparse: Path
    coarse: Path | None
    ground_truth: Path | None
    intrinsics: Intrinsics | None


def neighbours(frames: Sequence[Frame], reach: int = 3) -> list[list[int]]:
    """Finds the frames of the same drive and camera that were taken shortly before or after.

    Args:
      frames: as of `find_frames`. Only those with an image are neighbours; names that are not
        numbered in a drive, as in the selections, have none.
      reach: how many numbers apart two frames may be.

    Returns:
      For each frame the positions in `frames` of its neighbours, in the order of their numbers.
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
    """Raises ValueError if a frame has no calibration, which `purpose` needs."""
    without = [frame.name for frame in frames if frame.intrinsics is None]
    if without:
        raise ValueError(
            f"{purpose} needs calibration: {len(without)} of {len(frames)} frames have none: "
            f"{list_some(without)}; unpack calib_cam_to_cam.txt of their dates under raw/<date>"
        )
