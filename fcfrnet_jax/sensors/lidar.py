"""Spinning laser scanners beside a camera."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Lidar:
    """A scanner's beams, its mount and its faults.

    elevations: of the beams in degrees above the level, from the highest to the lowest.
    heights: metres from `position` up to where each beam starts.
    azimuth_step: degrees between the shots of a beam, on average.
    encoder_step: degrees, whole numbers of which the scanner tells its azimuth in; 0 = any.
    position: metres in the camera's frame, x right, y down, z forward.
    tilt: degrees of pitch (positive looks down), yaw (right) and roll (right side up).
    reach: metres; there is no echo from further away.
    range_noise: the standard deviation of a range in metres.
    elevation_error: degrees, the standard deviation of each beam's elevation from frame to frame.
    sensitivity: metres at which a white surface seen head-on is lost once in e times.

    A ValueError tells of no beams, beams that do not descend, or lengths that are not positive.
    """

    elevations: tuple[float, ...]
    heights: tuple[float, ...]
    azimuth_step: float = 0.167
    encoder_step: float = 0.09
    position: tuple[float, float, float] = (0.06, -0.08, -0.27)
    tilt: tuple[float, float, float] = (0.6, 0.0, 0.6)
    reach: float = 80.0
    range_noise: float = 0.02
    elevation_error: float = 0.04
    sensitivity: float = 250.0

    def __post_init__(self) -> None:
        if not self.elevations or len(self.elevations) != len(self.heights):
            raise ValueError(
                "a lidar needs at least one beam and a height for each, "
                f"got {len(self.elevations)} elevations and {len(self.heights)} heights"
            )
        if any(np.diff(self.elevations) >= 0) or max(map(abs, self.elevations)) >= 90:
            raise ValueError(
                f"elevations should descend between 90 and -90 degrees, got {self.elevations}"
            )
        for name in ("azimuth_step", "reach", "sensitivity"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} should be positive, got {getattr(self, name)}")
        for name in ("encoder_step", "range_noise", "elevation_error"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} should be at least 0, got {getattr(self, name)}")

    def rotation(self) -> np.ndarray:
        """`[3, 3]`, from the scanner's frame (x right, y down, z forward) to the camera's."""
        pitch, yaw, roll = np.radians(self.tilt)
        (cp, cy, cr), (sp, sy, sr) = np.cos([pitch, yaw, roll]), np.sin([pitch, yaw, roll])
        about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return about_x @ about_y @ about_z


def _between(high: float, low: float, beams: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(high, low, beams))


# The HDL-64E of KITTI's car, its two blocks of lasers one above the other. Straight lines fitted to
# the rings of one of its scans give these angles and heights; the mount is that of its calibration.
HDL64 = Lidar(
    elevations=_between(1.95, -8.71, 32) + _between(-9.1, -25.0, 32),
    heights=_between(0.209, 0.198, 32) + _between(0.126, 0.116, 32),
)


def spinning(beams: int) -> Lidar:
    """Returns a scanner of 16 (VLP-16) or 32 beams (HDL-32E), where KITTI's stands.

    Raises:
      ValueError: another number of beams; `thinned` makes one of any other.
    """
    fields = {16: (15.0, -15.0), 32: (10.67, -30.67)}
    if beams not in fields:
        raise ValueError(f"there is a scanner of 16 or of 32 beams, got {beams}")
    return replace(
        HDL64,
        elevations=_between(*fields[beams], beams),
        heights=(0.2,) * beams,
        azimuth_step=0.2,
        encoder_step=0.0,
        reach=100.0,
    )


def thinned(lidar: Lidar, share: float) -> Lidar:
    """Returns the scanner with `share` of its beams and of the shots of each.

    For pictures of `share` times the height and the width, of which echoes then cover as much.

    Raises:
      ValueError: `share` is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a scanner keeps a share above 0 and at most 1, got {share}")
    beams = len(lidar.elevations)
    # Each beam of the thinned scanner stands for as many of the whole one and lies in their middle.
    place = (np.arange(max(1, round(share * beams))) + 0.5) * beams / max(1, round(share * beams))

    def pick(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(np.interp(place - 0.5, range(beams), values).tolist())

    return replace(
        lidar,
        elevations=pick(lidar.elevations),
        heights=pick(lidar.heights),
        azimuth_step=lidar.azimuth_step / share,
        encoder_step=lidar.encoder_step / share,
    )
