"""Writes what is wanted of each predicted frame, and tells which frames are complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcfrnet_jax.data.images import DEPTH_SCALE, write_depth, write_image
from fcfrnet_jax.files import atomic_path
from fcfrnet_jax.pictures import point_clouds
from fcfrnet_jax.pictures.colours import MAX_DEPTH, colour_depth
from fcfrnet_jax.pictures.panels import panel
from fcfrnet_jax.pictures.viewer import Recording

# The folder and the suffix of every kind of output.
PLACES = {
    "png": ("depth", ".png"),
    "npy": ("npy", ".npy"),
    "colour": ("colour", ".png"),
    "panel": ("panels", ".png"),
    "ply": ("ply", ".ply"),
    "pcd": ("pcd", ".pcd"),
    "rrd": ("rrd", ".rrd"),
    "confidence": ("confidence", ".png"),
    "confidence_npy": ("confidence_npy", ".npy"),
    "image": ("images", ".png"),
}
# These need the intrinsics of the camera.
CLOUDS = ("ply", "pcd", "rrd")
CONFIDENCES = ("confidence", "confidence_npy")
# The largest value of an 8-bit PNG, which stands for the confidence 1.
_CERTAIN = 255
_AXES = "x right, y down, z forward"


class Prediction(NamedTuple):
    """A predicted frame.

    Attributes:
      maps: depth maps `[H, W]` in metres by name; the last one is the result.
      sparse_depth: `[H, W]` metres, 0 = missing.
      image: uint8 `[H, W, 3]` RGB, or None.
      intrinsics: the camera matrix `[3, 3]` in pixels, for point clouds, or None.
      confidence: `[H, W]` in [0, 1], or None.
      lidar_from_camera: the rigid motion `[4, 4]` that takes point clouds to the scanner's frame;
        None leaves them in the camera's.
      undistorted: whether `image` is not the one of the camera but has been undistorted.
    """

    maps: Mapping[str, np.ndarray]
    sparse_depth: np.ndarray
    image: np.ndarray | None
    intrinsics: np.ndarray | None
    confidence: np.ndarray | None = None
    lidar_from_camera: np.ndarray | None = None
    undistorted: bool = False


@dataclass(frozen=True)
class CloudLimits:
    """Which pixels give no point; see `pictures.point_clouds.point_cloud`.

    Attributes:
      max_depth, max_jump: as there.
      above_scan: keep the pixels above the scan.
    """

    max_depth: float = point_clouds.MAX_DEPTH
    max_jump: float = point_clouds.MAX_JUMP
    above_scan: bool = False


@dataclass(frozen=True)
class Outputs:
    """The files that are written for every frame, each in one step.

    Attributes:
      folder: the folder with a subfolder for each kind.
      kinds: which of `PLACES`.
      png_scale: values per metre in the 16-bit PNG files. Depths that do not fit are 0.
      limits: which pixels give no point.
      min_confidence: pixels with a lower confidence are missing, except in arrays.
      colour_max_depth: the far end of the colours, in metres.
    """

    folder: Path
    kinds: tuple[str, ...]
    png_scale: float = DEPTH_SCALE
    limits: CloudLimits = field(default_factory=CloudLimits)
    min_confidence: float = 0.0
    colour_max_depth: float = MAX_DEPTH

    @property
    def needs_confidence(self) -> bool:
        """Whether the confidence of the depth is needed."""
        return self.min_confidence > 0 or not {*CONFIDENCES}.isdisjoint(self.kinds)

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in PLACES]
        if unknown or not self.kinds:
            found = f"unknown {', '.join(map(repr, unknown))}" if unknown else "none is given"
            raise ValueError(f"outputs must be some of {', '.join(PLACES)}: {found}")

    def paths(self, name: str) -> dict[str, Path]:
        """The files of a frame by kind."""
        places = {kind: PLACES[kind] for kind in self.kinds}
        return {
            kind: self.folder / folder / f"{name}{suffix}"
            for kind, (folder, suffix) in places.items()
        }

    def complete(self, name: str) -> bool:
        """Whether all files of a frame exist. A file that exists is complete."""
        return all(path.is_file() for path in self.paths(name).values())

    def write(self, name: str, prediction: Prediction) -> None:
        """Writes the files of a frame.

        Raises:
          ValueError: a point cloud or a recording is wanted without intrinsics.
          ImportError: a recording is wanted, and rerun-sdk is not installed.
          OSError: a file cannot be written.
        """
        name_of_depth, depth = list(prediction.maps.items())[-1]
        shown = self._confident(depth, prediction.confidence)
        paths = self.paths(name)
        if "png" in paths:
            _write_png(paths["png"], shown, self.png_scale)
        if "npy" in paths:
            _write_array(paths["npy"], depth)
        if "colour" in paths:
            write_image(paths["colour"], colour_depth(shown, self.colour_max_depth))
        if "panel" in paths:
            maps = {**prediction.maps, name_of_depth: shown}
            write_image(paths["panel"], self._panel(prediction, maps))
        if "image" in paths and prediction.image is not None:
            write_image(paths["image"], prediction.image)
        if prediction.confidence is not None:
            if "confidence" in paths:
                levels = np.rint(_CERTAIN * np.clip(prediction.confidence, 0, 1))
                write_image(paths["confidence"], levels.astype(np.uint8))
            if "confidence_npy" in paths:
                _write_array(paths["confidence_npy"], prediction.confidence)
        if {"ply", "pcd"} & paths.keys():
            cloud, comments = self._cloud(name, depth, prediction), _comments(prediction)
            if "ply" in paths:
                point_clouds.write_ply(paths["ply"], cloud, comments)
            if "pcd" in paths:
                point_clouds.write_pcd(paths["pcd"], cloud, comments)
        if "rrd" in paths:
            in_camera = prediction._replace(lidar_from_camera=None)
            with Recording(paths["rrd"]) as recording:
                recording.add(
                    image=prediction.image,
                    sparse_depth=prediction.sparse_depth,
                    depth=shown,
                    cloud=self._cloud(name, depth, in_camera),
                    intrinsics=prediction.intrinsics,
                )

    def _panel(self, prediction: Prediction, maps: Mapping[str, np.ndarray]) -> np.ndarray:
        return panel(
            prediction.image,
            prediction.sparse_depth,
            maps,
            max_depth=self.colour_max_depth,
            confidence=prediction.confidence,
            image_caption="image, undistorted" if prediction.undistorted else "image",
        )

    def _confident(self, depth: np.ndarray, confidence: np.ndarray | None) -> np.ndarray:
        """The depth map without pixels whose confidence is too low."""
        if confidence is None or not self.min_confidence:
            return depth
        return np.where(confidence >= self.min_confidence, depth, np.float32(0))

    def _cloud(
        self, name: str, depth: np.ndarray, prediction: Prediction
    ) -> point_clouds.PointCloud:
        if prediction.intrinsics is None:
            raise ValueError(f"{name}: a point cloud needs the intrinsics of the camera")
        cloud = point_clouds.point_cloud(
            depth,
            prediction.image,
            prediction.intrinsics,
            max_depth=self.limits.max_depth,
            max_jump=self.limits.max_jump,
            sparse_depth=None if self.limits.above_scan else prediction.sparse_depth,
            confidence=prediction.confidence,
            min_confidence=self.min_confidence,
        )
        motion = prediction.lidar_from_camera
        return cloud if motion is None else point_clouds.moved(cloud, motion)


def _comments(prediction: Prediction) -> list[str]:
    """What a point cloud says about its frame."""
    camera = prediction.lidar_from_camera is None
    frame = f"of the camera: {_AXES}" if camera else "of the scanner"
    lines = [f"metres in the frame {frame}"]
    if prediction.undistorted:
        lines.append("pixels of the undistorted image")
    return lines


def _write_array(path: Path, values: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        np.save(temporary, values.astype(np.float32, copy=False))


def _write_png(path: Path, depth: np.ndarray, scale: float) -> None:
    # `write_depth` multiplies by 256.
    stored = np.rint(depth.astype(np.float64) * scale)
    write_depth(path, np.where(stored <= np.iinfo(np.uint16).max, stored, 0.0) / DEPTH_SCALE)
