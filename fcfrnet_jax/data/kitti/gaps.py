"""Frames of KITTI's drives that have no depth, and which of them KITTI itself lacks."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

# The ground truth accumulates eleven scans (Uhrig et al. 2017), so the benchmark has no depth for
# the first and the last five frames of a drive.
ENDS = 5
# The raw drive 2011_09_26_drive_0009_sync has images, but no scans with these numbers.
_WITHOUT_SCANS = {"2011_09_26_drive_0009_sync": (177, 180)}


@dataclass(frozen=True)
class Gap:
    """Consecutive frames of a drive without sparse depth.

    Attributes:
      drive: the drive and the camera.
      first, last: the numbers of the frames.
      reason: why KITTI has no depth there; empty if it is not known, so that files may be missing.
    """

    drive: str
    first: int
    last: int
    reason: str


def find_gaps(names: Iterable[str], image_names: Iterable[str]) -> list[Gap]:
    """Finds the frames without sparse depth in drives that have some.

    Args:
      names: of the frames with sparse depth, `<drive>/image_0x/<number>`; other names are ignored.
      image_names: of the images, in the same form; see `layout.image_files`.

    Returns:
      The gaps between frames with depth, and those before and after them where there are images.
    """
    images = _numbers(image_names)
    gaps = []
    for drive, found in sorted(_numbers(names).items()):
        numbers = sorted(found)
        inner = [(one + 1, other - 1) for one, other in pairwise(numbers) if other > one + 1]
        gaps += [Gap(drive, *gap, _reason(drive, *gap)) for gap in inner]
        gaps += _ends(drive, numbers, images.get(drive, ()))
    return gaps


def _ends(drive: str, numbers: Sequence[int], images: Collection[int]) -> list[Gap]:
    outside = (
        [number for number in images if number < numbers[0]],
        [number for number in images if number > numbers[-1]],
    )
    gaps = []
    for beyond in filter(None, outside):
        ours = len(beyond) <= ENDS
        reason = f"the benchmark has no depth for {ENDS} frames at each end of a drive"
        gaps.append(Gap(drive, min(beyond), max(beyond), reason if ours else ""))
    return gaps


def _reason(drive: str, first: int, last: int) -> str:
    lacking = _WITHOUT_SCANS.get(drive.partition("/")[0])
    # Ground truth needs five scans before and after.
    if lacking is None or first < lacking[0] - ENDS or last > lacking[1] + ENDS:
        return ""
    return f"the raw drive has no scans {lacking[0]} to {lacking[1]}"


def _numbers(names: Iterable[str]) -> dict[str, set[int]]:
    """The numbers of frames by drive and camera."""
    found: dict[str, set[int]] = {}
    for name in names:
        drive, _, number = name.rpartition("/")
        if drive and number.isdecimal():
            found.setdefault(drive, set()).add(int(number))
    return found
