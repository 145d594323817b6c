"""What is made of each drive: its frames, cameras, poses and files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from fcfrnet_jax.commands.recordings.frames import Job, Shot, View
from fcfrnet_jax.commands.settings import named
from fcfrnet_jax.data.kitti.layout import IMAGE_SUFFIXES
from fcfrnet_jax.data.own.inputs import read_image
from fcfrnet_jax.files import atomic_path
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors import drives
from fcfrnet_jax.sensors.calibration import Calibration, read_calibration
from fcfrnet_jax.sensors.calibration.kitti import CAMERA_FILE
from fcfrnet_jax.sensors.drives import Drive
from fcfrnet_jax.sensors.motion import Motion

CAMERAS = ("02", "03")


@dataclass(frozen=True, eq=False)
class DrivePlan:
    """A drive and what is written of it.

    Attributes:
      config: the config.
      drive: its scans.
      calibrations: by camera, "02" and "03".
      size: (height, width) of the images in pixels.
      workdir: where the maps are written.
      images: for a folder of scans, the image of each scan by its name.
    """

    config: ConfigDict
    drive: Drive
    calibrations: Mapping[str, Calibration]
    size: Size
    workdir: Path
    images: Mapping[str, Path]

    @property
    def name(self) -> str:
        """The name of the drive."""
        return self.drive.name

    @property
    def margin(self) -> int:
        """The number of scans that a frame needs before and after its own."""
        return self.config.ground_truth_scans // 2

    @property
    def frames(self) -> range:
        """The indices of the scans that have a frame."""
        return range(self.margin, len(self.drive.scans) - self.margin)

    @cached_property
    def poses(self) -> list[np.ndarray] | None:
        """The poses of the scanner, if they are needed."""
        config = self.config
        if not (config.ground_truth_scans or config.compensate == "poses"):
            return None
        path = Path(config.poses) if config.poses else None
        if path is not None and path.is_dir():
            path /= f"{self.name}.txt"
        with named("poses"):
            poses = drives.drive_poses(self.drive, path)
        if path is None or config.poses_of == "scanner":
            return poses
        # Those of KITTI's raw data and odometry are of camera 0, whose frame all cameras share.
        camera_from_lidar = next(iter(self.calibrations.values())).camera_from_lidar
        return [pose @ camera_from_lidar for pose in poses]

    @cached_property
    def motions(self) -> list[Motion | None]:
        """The motion during each scan.

        Raises:
          ValueError: a file is damaged, or oxts is required and missing.
        """
        kind, count = self.config.compensate, len(self.drive.scans)
        if kind == "poses":
            assert self.poses is not None
            return drives.pose_motions(self.poses, self.config.period)
        if kind == "none":
            return [None] * count
        missing = sum(unit is None for unit in self.drive.units)
        if kind == "oxts" and missing:
            raise ValueError(
                f"--config.compensate=oxts: {missing} of {count} scans of {self.name} have no file "
                "oxts/data/<frame>.txt; --config.compensate=auto leaves these as they are"
            )
        return drives.unit_motions(self.drive)

    def read_motion(self) -> None:
        """Reads the poses and the motion of the scanner, before anything is written.

        Raises:
          ValueError: as `poses` and `motions`.
        """
        _ = self.poses, self.motions

    def job(self, index: int) -> Job:
        """What is needed to make a frame."""
        near = range(index - self.margin, index + self.margin + 1)
        scans, motions, poses = self.drive.scans, self.motions, self.poses
        shots = tuple(Shot(scans[i], motions[i], poses[i] if poses else None) for i in near)
        return Job(f"{self.name}/{self.drive.scans[index].stem}", shots, self.views(index))

    def views(self, index: int) -> tuple[View, ...]:
        """What is written of a frame."""
        root = self.workdir / self.config.split / self.name
        stem = self.drive.scans[index].stem
        views = []
        for camera, calibration in self.calibrations.items():
            place = Path(f"image_{camera}")
            maps = root / "proj_depth"
            truth = maps / "groundtruth" / place / f"{stem}.png"
            image, image_out = self.images.get(stem), None
            if image is not None:
                suffix = ".png" if calibration.distortion else image.suffix.lower()
                image_out = root / place / "data" / f"{stem}{suffix}"
            views.append(
                View(
                    calibration,
                    self.size if calibration.size is None else calibration.size,
                    maps / "velodyne_raw" / place / f"{stem}.png",
                    truth if self.config.ground_truth_scans else None,
                    image,
                    image_out,
                )
            )
        return tuple(views)

    def missing(self) -> list[int]:
        """The frames of which a file is missing."""
        return [
            index
            for index in self.frames
            if not all(path.is_file() for view in self.views(index) for path in view.outputs())
        ]

    def write_shared(self) -> None:
        """Links KITTI's images and calibration of the date, or writes the calibration.

        Raises:
          ValueError: the workdir has something else in its place.
        """
        if self.drive.date is None:
            self._write_calibration()
            return
        source, raw = self.drive.date, self.workdir / "raw" / self.drive.date.name
        # The workdir may be the folder of KITTI itself.
        places = (raw, self.workdir / self.drive.date.name)
        if any(place.exists() and place.samefile(source) for place in places):
            return
        if raw.exists():
            raise ValueError(f"{raw} is not {source}; choose another --workdir")
        raw.parent.mkdir(parents=True, exist_ok=True)
        raw.unlink(missing_ok=True)
        raw.symlink_to(source, target_is_directory=True)

    def _write_calibration(self) -> None:
        """Writes `calib_cam_to_cam.txt` where the frames of the drive find it."""
        path = self.workdir / "raw" / self.name[:10] / CAMERA_FILE
        lines = []
        for camera, calibration in self.calibrations.items():
            values = " ".join(f"{value:.9e}" for value in calibration.projection.ravel())
            height, width = self.size if calibration.size is None else calibration.size
            lines += [f"S_rect_{camera}: {width} {height}", f"P_rect_{camera}: {values}"]
        text = "\n".join(lines) + "\n"
        if path.is_file():
            if path.read_bytes() != text.encode():
                raise ValueError(
                    f"{path} is another calibration; choose another --workdir, or rename the drive"
                )
            return
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def find_drives(config: ConfigDict, workdir: Path) -> list[DrivePlan]:
    """Finds the drives of the config.

    Raises:
      ValueError: an unknown drive or camera, no scans, or a calibration that cannot be used.
    """
    names = [name.strip() for name in config.drives.split(",") if name.strip()]
    cameras = [name.strip() for name in config.cameras.split(",") if name.strip()]
    if not cameras or not {*cameras} <= {*CAMERAS}:
        raise ValueError(f"--config.cameras must be 02, 03 or 02,03, got {config.cameras!r}")
    if config.data_dir:
        with named("data_dir"):
            found = drives.find_raw_drives(config.data_dir)
    else:
        with named("scans"):
            found = drives.find_scan_folders(config.scans)
    with named("drives"):
        found = drives.choose(found, names)
    plan = raw_plan if config.data_dir else folder_plan
    planned = [plan(config, drive, cameras, workdir) for drive in found]
    if not any(drive.frames for drive in planned):
        most = max(len(drive.scans) for drive in found)
        raise ValueError(
            f"--config.ground_truth_scans={config.ground_truth_scans}, but no drive has more than "
            f"{most} scans"
        )
    return planned


def raw_plan(config: ConfigDict, drive: Drive, cameras: list[str], workdir: Path) -> DrivePlan:
    """The plan of a drive of KITTI's raw data."""
    assert drive.date is not None
    found = {camera: read_calibration(drive.date, camera=camera) for camera in cameras}
    return DrivePlan(config, drive, found, known_size(config, found, {}), workdir, {})


def folder_plan(config: ConfigDict, drive: Drive, cameras: list[str], workdir: Path) -> DrivePlan:
    """The plan of a folder of scans."""
    path = Path(config.calibration)
    # KITTI's files have several cameras.
    several = path.is_dir() or path.suffix.lower() == ".txt"
    extrinsics = config.extrinsics or None
    found = {
        camera: read_calibration(path, camera=camera, extrinsics=extrinsics)
        for camera in (cameras if several else CAMERAS[:1])
    }
    if config.image and len(found) > 1:
        raise ValueError("--config.image is for one camera; give --config.cameras=02 or 03")
    images = find_images(config, drive) if config.image else {}
    return DrivePlan(config, drive, found, known_size(config, found, images), workdir, images)


def find_images(config: ConfigDict, drive: Drive) -> dict[str, Path]:
    """The image of each scan.

    Raises:
      ValueError: a scan has none, or two.
    """
    folder = Path(config.image).absolute()
    if (folder / drive.name).is_dir():
        folder /= drive.name
    if not folder.is_dir():
        raise ValueError(f"--config.image={folder}: there is no such folder")
    known: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in known:
                raise ValueError(
                    f"--config.image={folder}: {known[path.stem].name} and {path.name} have the "
                    "same name, so it is unclear which one to use; remove one"
                )
            known[path.stem] = path
    stems = [scan.stem for scan in drive.scans]
    missing = [stem for stem in stems if stem not in known]
    if missing:
        raise ValueError(
            f"--config.image={folder}: {len(missing)} of {len(stems)} scans have no image; the "
            f"first one would be {missing[0]}{IMAGE_SUFFIXES[0]}"
        )
    return {stem: known[stem] for stem in stems}


def known_size(
    config: ConfigDict, calibrations: Mapping[str, Calibration], images: Mapping[str, Path]
) -> Size:
    """The size of the images: that of the calibration, of the setting or of the first image.

    Raises:
      ValueError: it is unknown, or they differ.
    """
    sizes: dict[str, Size] = {}
    for calibration in calibrations.values():
        if calibration.size is not None:
            sizes["the calibration"] = calibration.size
    if all(config.size):
        sizes["--config.size"] = (config.size[0], config.size[1])
    if images:
        path = next(iter(images.values()))
        height, width = read_image(path).shape[:2]
        sizes[str(path)] = (height, width)
    if not sizes:
        raise ValueError(
            "--config.size: the calibration does not contain the size of the images; give their "
            "rows and columns"
        )
    if len({*sizes.values()}) > 1:
        listed = ", ".join(f"{name} {height}x{width}" for name, (height, width) in sizes.items())
        raise ValueError(
            f"the sizes of the images differ: {listed}; use the calibration of these images"
        )
    return next(iter(sizes.values()))
