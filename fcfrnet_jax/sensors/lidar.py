"""Spinning laser scanners mounted next to a camera."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Lidar:
    """The beams of a laser scanner, its mount and its measurement errors.

    Attributes:
      elevations: the elevation of each beam in degrees, in descending order.
      heights: the origin of each beam, in metres above `position`.
      azimuth_step: the mean angle between two shots of a beam, in degrees.
      encoder_step: the resolution of the reported azimuth in degrees; 0 = exact.
      position: metres in the camera's frame: x right, y down, z forward.
      tilt: pitch (positive = down), yaw (positive = right) and roll (positive = right side up), in
        degrees.
      reach: the maximum range in metres.
      range_noise: the standard deviation of a range, in metres.
      elevation_error: the standard deviation of a beam's elevation between frames, in degrees.
      sensitivity: the distance in metres at which the echo of a white surface, hit head-on, is lost
        with probability 1/e.

    Raises:
      ValueError: no beams, not one height per beam, elevations that do not descend, or a negative
        number where none is possible.
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
                f"elevations must descend between 90 and -90 degrees, got {self.elevations}"
            )
        for name in ("azimuth_step", "reach", "sensitivity"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("encoder_step", "range_noise", "elevation_error"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    def rotation(self) -> np.ndarray:
        """Returns the rotation `[3, 3]` from the scanner's axes to the camera's.

        Both frames have x to the right, y down and z forward.
        """
        pitch, yaw, roll = np.radians(self.tilt)
        (cp, cy, cr), (sp, sy, sr) = np.cos([pitch, yaw, roll]), np.sin([pitch, yaw, roll])
        about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return about_x @ about_y @ about_z


def _between(high: float, low: float, beams: int) -> tuple[float, ...]:
    return tuple(float(value) for value in np.linspace(high, low, beams))


# The HDL-64E of KITTI's car, which has two blocks of lasers, one above the other. The angles and
# heights come from straight lines fitted to the rings of one scan, the mount from the calibration.
HDL64 = Lidar(
    elevations=_between(1.95, -8.71, 32) + _between(-9.1, -25.0, 32),
    heights=_between(0.209, 0.198, 32) + _between(0.126, 0.116, 32),
)


def evenly_spaced(
    beams: int,
    top: float,
    bottom: float,
    *,
    azimuth_step: float,
    position: tuple[float, float, float],
    tilt: tuple[float, float, float] = (0.5, 0.0, 0.4),
) -> Lidar:
    """Returns a scanner whose beams have equal angles between them and one origin.

    Args:
      beams: their number.
      top, bottom: elevations of the highest and the lowest beam in degrees.
      azimuth_step, position, tilt: as for `Lidar`.
    """
    return Lidar(
        _between(top, bottom, beams),
        (0.2,) * beams,
        azimuth_step=azimuth_step,
        encoder_step=0.0,
        position=position,
        tilt=tilt,
        reach=100.0,
    )


def spinning(beams: int) -> Lidar:
    """Returns a scanner with 16 beams (VLP-16) or 32 beams (HDL-32E), mounted as KITTI's.

    Raises:
      ValueError: another number of beams; `thinned` supports any number.
    """
    fields = {16: (15.0, -15.0), 32: (10.67, -30.67)}
    if beams not in fields:
        raise ValueError(f"scanners with 16 or 32 beams are available, got {beams}")
    return replace(
        HDL64,
        elevations=_between(*fields[beams], beams),
        heights=(0.2,) * beams,
        azimuth_step=0.2,
        encoder_step=0.0,
        reach=100.0,
    )


def thinned(lidar: Lidar, share: float) -> Lidar:
    """Returns a scanner with a share of the beams, and of the shots of each beam.

    For images of `share` times the height and the width. The points then cover the same share of
    the pixels.

    Raises:
      ValueError: `share` is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    beams = len(lidar.elevations)
    # Each beam of the thinned scanner replaces 1 / share beams and lies in their middle.
    kept = max(1, round(share * beams))
    place = (np.arange(kept) + 0.5) * beams / kept

    def pick(values: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(np.interp(place - 0.5, range(beams), values).tolist())

    return replace(
        lidar,
        elevations=pick(lidar.elevations),
        heights=pick(lidar.heights),
        azimuth_step=lidar.azimuth_step / share,
        encoder_step=lidar.encoder_step / share,
    )
