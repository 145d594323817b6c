"""Makes the depth maps of frames from scans, and writes them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.images import DEPTH_SCALE, write_depth, write_image
from fcfrnet_jax.data.own.inputs import check_plausible, read_image
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.accumulate import Survey, accumulate, survey
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.motion import Motion, azimuth_times, compensate
from fcfrnet_jax.sensors.projection import project
from fcfrnet_jax.sensors.scans import NAMELESS, read_scan
from fcfrnet_jax.sensors.scans.scan import Columns
from fcfrnet_jax.sensors.undistortion import undistort

# The largest number of a 16-bit PNG.
_MOST = 65535


@dataclass(frozen=True)
class Rules:
    """How scans become depth maps.

    Attributes:
      columns: of the scans, see `read_scan`.
      period, clockwise: of the scanner, see `azimuth_times`.
      remove_hidden: see `project`.
      scale: coordinates per metre.
      check: whether depth that cannot be right is refused.
    """

    columns: Columns | None
    period: float
    clockwise: bool
    remove_hidden: bool
    scale: float = 1.0
    check: bool = True


@dataclass(frozen=True, eq=False)
class View:
    """What is written of a frame for one camera.

    Attributes:
      calibration: of the camera and the scanner.
      size: (height, width) of the image in pixels.
      sparse: the file of the sparse depth.
      ground_truth: the file of the accumulated depth, or None.
      image: the image to link or to undistort, or None.
      image_out: the file of the image, if there is one.
    """

    calibration: Calibration
    size: Size
    sparse: Path
    ground_truth: Path | None
    image: Path | None = None
    image_out: Path | None = None

    def outputs(self) -> list[Path]:
        """The files that are written, in this order: a frame with sparse depth is complete."""
        files = (self.image_out, self.ground_truth, self.sparse)
        return [path for path in files if path is not None]


@dataclass(frozen=True, eq=False)
class Shot:
    """A scan with its motion and its pose, if they are known."""

    path: Path
    motion: Motion | None
    pose: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Job:
    """A frame to write.

    Attributes:
      name: `<drive>/<number>`.
      shots: an odd number of scans, the middle one of which belongs to the image.
      views: of the cameras.
    """

    name: str
    shots: tuple[Shot, ...]
    views: tuple[View, ...]

    @property
    def middle(self) -> Shot:
        """The scan of the image."""
        return self.shots[len(self.shots) // 2]


@dataclass(frozen=True)
class Skipped:
    """A frame that could not be made, with the file and the reason."""

    name: str
    path: str
    reason: str


def write_frames(rules: Rules, jobs: Sequence[Job]) -> list[Skipped]:
    """Writes frames, whose scans are read once; consecutive frames share most of them.

    Returns:
      The frames with a scan or an image that cannot be used.

    Raises:
      OSError: a file cannot be written.
    """
    scans, skipped = Scans(rules), []
    for job in jobs:
        scans.forget_others(job)
        try:
            _write_frame(rules, job, scans)
        except BadFileError as error:
            skipped.append(Skipped(job.name, str(error.path), error.reason))
    return skipped


def find_faults(rules: Rules, jobs: Sequence[Job]) -> list[Skipped]:
    """Returns those of some frames that have no sparse depth, and writes nothing."""
    rules, faults = replace(rules, remove_hidden=False), []
    for job in jobs:
        scans = Scans(rules)
        try:
            for view in job.views:
                _sparse_depth(rules, job, scans, view)
        except BadFileError as error:
            faults.append(Skipped(job.name, str(error.path), error.reason))
    return faults


class BadFileError(Exception):
    """A scan or an image that cannot be used."""

    def __init__(self, path: Path, error: ValueError) -> None:
        super().__init__(path, error)
        reason = str(error).removeprefix(f"{path}: ")
        self.path, self.reason = path, reason.replace("set columns", "set --config.columns")


class Scans:
    """The scans of a few frames, each of which is read and surveyed once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._points: dict[Path, np.ndarray] = {}
        self._surveys: dict[tuple[Path, int], Survey] = {}

    def forget_others(self, job: Job) -> None:
        """Frees the scans that a frame does not need."""
        paths = {shot.path for shot in job.shots}
        self._points = {path: item for path, item in self._points.items() if path in paths}
        self._surveys = {key: item for key, item in self._surveys.items() if key[0] in paths}

    def points(self, shot: Shot) -> np.ndarray:
        """The points of a scan."""
        if shot.path not in self._points:
            try:
                self._points[shot.path] = _read(self._rules, shot)
            except ValueError as error:
                raise BadFileError(shot.path, error) from error
        return self._points[shot.path]

    def survey(self, shot: Shot, camera: int, view: View) -> Survey:
        """The survey of a scan for one of the cameras, which are numbered."""
        key = shot.path, camera
        if key not in self._surveys:
            points = self.points(shot)
            try:
                self._surveys[key] = survey(points, view.calibration, view.size)
            except ValueError as error:
                raise BadFileError(shot.path, error) from error
        return self._surveys[key]


def _read(rules: Rules, shot: Shot) -> np.ndarray:
    """The points `[N, 3]` of a scan at the time of its image."""
    scan = read_scan(shot.path, columns=_columns(rules, shot.path))
    points = scan.points / np.float32(rules.scale)
    if shot.motion is None:
        return points
    times = azimuth_times(points, period=rules.period, clockwise=rules.clockwise)
    return compensate(points, times, shot.motion)


def _columns(rules: Rules, path: Path) -> Columns | None:
    """The columns, except for files whose columns have names."""
    return rules.columns if path.suffix.lower() in NAMELESS else None


def _write_frame(rules: Rules, job: Job, scans: Scans) -> None:
    """Writes the files of a frame; nothing if a scan or an image cannot be used.

    Raises:
      BadFileError: such a file.
    """
    maps = []
    for camera, view in enumerate(job.views):
        sparse = _sparse_depth(rules, job, scans, view)
        maps.append((sparse, _ground_truth(job, scans, camera, view)))
    for view in job.views:
        if view.image is not None:
            try:
                _write_image(view)
            except ValueError as error:
                raise BadFileError(view.image, error) from error
    for view, (sparse, truth) in zip(job.views, maps, strict=True):
        if view.ground_truth is not None and truth is not None:
            write_depth(view.ground_truth, as_stored(truth))
        write_depth(view.sparse, as_stored(sparse))


def _sparse_depth(rules: Rules, job: Job, scans: Scans, view: View) -> np.ndarray:
    points = scans.points(job.middle)
    try:
        sparse = project(points, view.calibration, view.size, remove_hidden=rules.remove_hidden)
        if rules.check:
            stored = sparse * np.float32(rules.scale)
            check_plausible(job.middle.path, stored, sparse, rules.scale)
    except ValueError as error:
        raise BadFileError(job.middle.path, error) from error
    return sparse


def _ground_truth(job: Job, scans: Scans, camera: int, view: View) -> np.ndarray | None:
    """The accumulated depth `[H, W]`, if it is wanted."""
    if view.ground_truth is None:
        return None
    surveys = [scans.survey(shot, camera, view) for shot in job.shots]
    poses = [shot.pose for shot in job.shots if shot.pose is not None]
    return accumulate(surveys, poses, view.calibration, view.size).depth


def as_stored(depth: np.ndarray) -> np.ndarray:
    """Rounds depth down to 1/256 m, as KITTI stores it; what a PNG cannot hold becomes missing."""
    steps = np.floor(depth * np.float32(DEPTH_SCALE))
    return np.where(steps <= _MOST, steps, 0) / np.float32(DEPTH_SCALE)


def _write_image(view: View) -> None:
    """Links the image, or writes it without distortion.

    Raises:
      ValueError: it cannot be read, or has another size than the calibration.
    """
    assert view.image is not None
    assert view.image_out is not None
    if view.image_out.exists():
        return
    try:
        image = read_image(view.image)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if image.shape[:2] != view.size:
        (height, width), (rows, columns) = image.shape[:2], view.size
        raise ValueError(
            f"is {height}x{width} (height x width), expected {rows}x{columns} as the depth; give "
            "images of this camera and resolution"
        )
    if view.calibration.distortion is None:
        view.image_out.parent.mkdir(parents=True, exist_ok=True)
        # A link to a file that has gone is replaced.
        view.image_out.unlink(missing_ok=True)
        view.image_out.symlink_to(view.image)
        return
    write_image(view.image_out, undistort(image, view.calibration))
