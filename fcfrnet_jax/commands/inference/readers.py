"""Reads the files of a frame to predict."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from absl import logging

from fcfrnet_jax.commands.cli.flags import name_flags
from fcfrnet_jax.data.frame import BadFile, Frame
from fcfrnet_jax.data.own import inputs
from fcfrnet_jax.evaluation.frames import Arrays
from fcfrnet_jax.files import describe
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.prediction import recordings
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.motion import azimuth_times, compensate, read_oxts
from fcfrnet_jax.sensors.projection import looks_inverted
from fcfrnet_jax.sensors.scans import Scan, read_scan
from fcfrnet_jax.sensors.scans.scan import Columns, column_names


class BadFileError(ValueError):
    """A file that cannot be used.

    Attributes:
      path: the file.
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(reason)
        self.path = path


@dataclass(frozen=True)
class DepthReader:
    """Reads an image and its sparse depth.

    Attributes:
      form: how depth is stored.
    """

    form: inputs.DepthFormat

    def __call__(self, frame: Frame, crop: Size) -> tuple[Arrays, list[BadFile]]:
        """Reads whole frames; see `evaluation.batches.Read`."""
        assert not any(crop)
        arrays: Arrays = {}
        path = frame.sparse
        try:
            arrays["sparse_depth"] = inputs.read_depth(path, self.form)
            if frame.image is not None:
                path = frame.image
                arrays["image"] = inputs.read_image(path)
                inputs.check_pair(arrays["image"], arrays["sparse_depth"])
        except (OSError, ValueError) as error:
            return {}, [BadFile(frame, path, _reason(error, path))]
        return arrays, []


@dataclass(frozen=True)
class Rig:
    """The camera and the scanner of a frame.

    Attributes:
      calibration: of both.
      path: the file of the calibration.
      oxts: the file with the motion of KITTI's scanner, or None.
    """

    calibration: Calibration
    path: Path
    oxts: Path | None = None


@dataclass(frozen=True)
class ScanReader:
    """Reads an image and a raw scan, which it projects into the undistorted image.

    Attributes:
      rigs: by the name of the frame.
      form: the coordinates per metre, the largest depth and whether the depth is checked.
      columns: see `sensors.scans.read_scan`.
      remove_hidden: leave out points that the camera does not see.
      imu_to_lidar: the calibration of KITTI's GPS/IMU unit, or None for that of the drive's date.
      dropped: the number of points that were dropped, by the name of the frame; filled by reading.
    """

    rigs: Mapping[str, Rig]
    form: inputs.DepthFormat
    columns: Columns | None = None
    remove_hidden: bool = True
    imu_to_lidar: Path | None = None
    dropped: Counter[str] = field(default_factory=Counter)

    def __call__(self, frame: Frame, crop: Size) -> tuple[Arrays, list[BadFile]]:
        """Reads whole frames; see `evaluation.batches.Read`."""
        assert not any(crop)
        path = frame.image or frame.sparse
        try:
            image = None if frame.image is None else inputs.read_image(frame.image)
            path = frame.sparse
            scan = read_scan(path, columns=self.columns)
            self.dropped[frame.name] = scan.dropped
            return self._arrays(image, scan, frame), []
        except BadFileError as error:
            return {}, [BadFile(frame, error.path, str(error))]
        except (OSError, ValueError) as error:
            return {}, [BadFile(frame, path, _reason(error, path))]

    def warn(self, frame: Frame) -> None:
        """Logs a warning if the calibration of a frame is likely to be wrong."""
        rig = self.rigs[frame.name]
        size = rig.calibration.size
        if size is None and frame.image is not None:
            try:
                height, width = inputs.read_image(frame.image).shape[:2]
            except (OSError, ValueError):
                return  # reported where the image is used
            size = height, width
        warn_of_rig(frame.sparse, self.columns, rig, size)

    def _arrays(self, image: np.ndarray | None, scan: Scan, frame: Frame) -> Arrays:
        rig = self.rigs[frame.name]
        _check_size(image, rig)
        scale = self.form.scale or 1.0
        scan = self._compensated(replace(scan, points=scan.points / np.float32(scale)), rig)
        try:
            image, depth = recordings.prepare(
                image, scan, rig.calibration, remove_hidden=self.remove_hidden
            )
        except ValueError as error:
            raise ValueError(f"{error} (the calibration is {rig.path})") from error
        if self.form.check:
            values, limits = depth * np.float32(scale), self.form.limits
            inputs.check_plausible(frame.sparse, values, depth, scale, limits)
        if self.form.max_depth:
            depth[depth > self.form.max_depth] = 0.0
            if not depth.any():
                raise ValueError(f"no point in the image is nearer than {self.form.max_depth:g} m")
        return {"sparse_depth": depth} | ({} if image is None else {"image": image})

    def _compensated(self, scan: Scan, rig: Rig) -> Scan:
        """The scan as seen from where the scanner was when the image was taken."""
        if rig.oxts is None:
            return scan
        try:
            motion = read_oxts(rig.oxts, self.imu_to_lidar)
        except ValueError as error:
            raise BadFileError(rig.oxts, str(error).removeprefix(f"{rig.oxts}: ")) from error
        points = compensate(scan.points, azimuth_times(scan.points), motion)
        return replace(scan, points=points.astype(np.float32))


def parse_columns(text: str) -> Columns | None:
    """Returns the columns of scans.

    Raises:
      ValueError: a number out of range, a name twice, or no x, y or z.
    """
    if not text:
        return None
    words = [word.strip() for word in text.split(",")]
    columns = int(words[0]) if len(words) == 1 and words[0].isdecimal() else words
    names = column_names(columns, "--config.columns")
    if not {"x", "y", "z"} <= {name.lower() for name in names}:
        raise ValueError(
            f"--config.columns={text} must have x, y and z among the names, or be a number from 3 "
            "to 6"
        )
    return names


def warn_of_rig(scan: Path, columns: Columns | None, rig: Rig, size: Size | None) -> None:
    """Logs a warning if a calibration is likely to be wrong.

    Args:
      scan: a scan; nothing happens if it cannot be read.
      columns: see `sensors.scans.read_scan`.
      rig: the calibration.
      size: (height, width) of the images in pixels, if it is known.
    """
    _, _, cx, cy = rig.calibration.intrinsics
    if size is not None and not (0.2 < cx / size[1] < 0.8 and 0.1 < cy / size[0] < 0.9):
        logging.warning(
            "%s: the principal point (%.5g, %.5g) is far from the middle of the images of %dx%d: K "
            "is likely to be for another resolution, unless the images are cropped. Compare the "
            "sparse depth with the image",
            *(rig.path, cx, cy, *size),
        )
    try:
        inverted = looks_inverted(read_scan(scan, columns=columns), rig.calibration)
    except ValueError:
        return  # reported where the scan is used
    if inverted:
        logging.warning(
            "%s: the scan is not level in the camera's frame, but with the inverse of T_cam_lidar "
            "it would be: T_cam_lidar must take points from the LiDAR's frame to the camera's. If "
            "the camera is level, invert it, and compare the sparse depth with the image",
            rig.path,
        )


def _reason(error: Exception, path: Path) -> str:
    """What is wrong with a file, with the flags of the settings that it names."""
    reason = name_flags(describe(error).removeprefix(f"{path}: "))
    return reason.replace("set columns", "set --config.columns")


def _check_size(image: np.ndarray | None, rig: Rig) -> None:
    expected = rig.calibration.size
    if image is None or expected is None or image.shape[:2] == expected:
        return
    height, width = image.shape[:2]
    raise BadFileError(
        rig.path,
        f"the calibration is for images of {expected[0]}x{expected[1]} (height x width), the image "
        f"is {height}x{width}; give the calibration of this camera and resolution",
    )
