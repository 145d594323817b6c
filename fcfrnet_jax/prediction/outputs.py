"""Writes what is wanted of each predicted frame, and tells which frames are complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fcfrnet_jax.data.images import DEPTH_SCALE, write_depth, write_image
from fcfrnet_jax.files import atomic_path
from fcfrnet_jax.pictures import point_clouds
from fcfrnet_jax.pictures.colours import colour_depth
from fcfrnet_jax.pictures.panels import panel

# The folder and the suffix of every kind of output.
PLACES = {
    "png": ("depth", ".png"),
    "npy": ("npy", ".npy"),
    "colour": ("colour", ".png"),
    "panel": ("panels", ".png"),
    "ply": ("ply", ".ply"),
    "pcd": ("pcd", ".pcd"),
}
CLOUDS = ("ply", "pcd")


class Prediction(NamedTuple):
    """A predicted frame.

    Attributes:
      maps: depth maps `[H, W]` in metres by name; the last one is the result.
      sparse_depth: `[H, W]` metres, 0 = missing.
      image: uint8 `[H, W, 3]` RGB, or None.
      intrinsics: the camera matrix `[3, 3]` in pixels, for point clouds, or None.
    """

    maps: Mapping[str, np.ndarray]
    sparse_depth: np.ndarray
    image: np.ndarray | None
    intrinsics: np.ndarray | None


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
    """

    folder: Path
    kinds: tuple[str, ...]
    png_scale: float = DEPTH_SCALE
    limits: CloudLimits = field(default_factory=CloudLimits)

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
          ValueError: a point cloud is wanted without intrinsics.
          OSError: a file cannot be written.
        """
        depth = list(prediction.maps.values())[-1]
        paths = self.paths(name)
        if "png" in paths:
            _write_png(paths["png"], depth, self.png_scale)
        if "npy" in paths:
            with atomic_path(paths["npy"]) as temporary:
                np.save(temporary, depth.astype(np.float32, copy=False))
        if "colour" in paths:
            write_image(paths["colour"], colour_depth(depth))
        if "panel" in paths:
            image, sparse_depth = prediction.image, prediction.sparse_depth
            write_image(paths["panel"], panel(image, sparse_depth, prediction.maps))
        if {*CLOUDS} & paths.keys():
            cloud = self._cloud(name, depth, prediction)
            if "ply" in paths:
                point_clouds.write_ply(paths["ply"], cloud)
            if "pcd" in paths:
                point_clouds.write_pcd(paths["pcd"], cloud)

    def _cloud(
        self, name: str, depth: np.ndarray, prediction: Prediction
    ) -> point_clouds.PointCloud:
        if prediction.intrinsics is None:
            raise ValueError(f"{name}: a point cloud needs the intrinsics of the camera")
        return point_clouds.point_cloud(
            depth,
            prediction.image,
            prediction.intrinsics,
            max_depth=self.limits.max_depth,
            max_jump=self.limits.max_jump,
            sparse_depth=None if self.limits.above_scan else prediction.sparse_depth,
        )


def _write_png(path: Path, depth: np.ndarray, scale: float) -> None:
    # `write_depth` multiplies by 256.
    stored = np.rint(depth.astype(np.float64) * scale)
    write_depth(path, np.where(stored <= np.iinfo(np.uint16).max, stored, 0.0) / DEPTH_SCALE)
