"""The frames that models are measured on: real ones, rendered ones and an indoor one.

Each frame has several scans: those of scanners with fewer beams, or a number of random points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.data.frame import Intrinsics
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.geometry import Size, crop_box
from fcfrnet_jax.sensors.beams import lidar_beam
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets.frame import render_scene

# The names of the scans of which every n-th beam is kept.
BEAMS = {"64 beams": 1, "32 beams": 2, "16 beams": 4, "8 beams": 8}
POINTS = 1000
RANDOM = f"{POINTS} points"
# Degrees: the highest and the lowest elevation of a scanner of 64 beams, for `evenly_divided`.
TOP, BOTTOM = 2.0, -24.9
# Metres: the range of depths that random points have.
NEAREST, FARTHEST = 0.5, 85.0


@dataclass(frozen=True)
class Scene:
    """A frame with ground truth. Depth maps are float32 `[H, W]` metres, 0 = missing.

    Attributes:
      name: unique in its group.
      image: uint8 `[H, W, 3]` RGB.
      scans: sparse depth by the name of the scan pattern.
      ground_truth: semi-dense depth.
      exact: the exact depth of a rendered frame, 0 = sky; else None.
    """

    name: str
    image: np.ndarray
    scans: dict[str, np.ndarray]
    ground_truth: np.ndarray
    exact: np.ndarray | None = None

    def cropped(self, crop: Size) -> "Scene":
        """The part at the bottom centre; 0 keeps all rows or columns."""
        height, width = self.ground_truth.shape
        size = crop[0] or height, crop[1] or width
        top, left = crop_box((height, width), size)
        window = np.s_[top : top + size[0], left : left + size[1]]
        return Scene(
            self.name,
            self.image[window],
            {name: sparse[window] for name, sparse in self.scans.items()},
            self.ground_truth[window],
            None if self.exact is None else self.exact[window],
        )


def real_scenes(
    data_dir: Path, split: str, count: int = 0, evenly: bool = False
) -> Iterator[Scene]:
    """Reads frames of a dataset in KITTI's layout, with the scans of `BEAMS`.

    Args:
      data_dir, split: as for `find_frames`.
      count: how many frames, evenly spread over the split; 0 for all.
      evenly: find the beams by `evenly_divided` instead of `lidar_beam`.
    """
    frames = find_frames(data_dir, split, require=("image", "ground_truth", "intrinsics"))
    if count:
        chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
        frames = [frames[i] for i in chosen]
    for frame in frames:
        assert frame.image is not None
        assert frame.ground_truth is not None
        assert frame.intrinsics is not None
        sparse = read_depth(frame.sparse)
        find = evenly_divided if evenly else beams_of
        scans = thinned_scans(sparse, find(sparse, frame.intrinsics))
        truth = read_depth(frame.ground_truth)
        yield Scene(frame.name, read_image(frame.image), scans, truth)


def rendered_scenes(
    count: int, seed: int, dense: float, camera: Camera = KITTI, lidar: Lidar = HDL64
) -> Iterator[Scene]:
    """Renders streets, with the scans of `BEAMS` and `RANDOM`.

    Args:
      count, seed: the number of the streets and their seed.
      dense: the probability of dense traffic.
      camera, lidar: the sensors; the lidar has 64 beams.
    """
    for index in range(count):
        key = jax.random.fold_in(jax.random.key(seed), index)
        frame = jax.tree.map(np.asarray, render_scene(key, camera, lidar, dense=dense))
        beams = beams_of(frame.sparse_depth, camera.intrinsics, lidar)
        scans = thinned_scans(frame.sparse_depth, beams)
        scans[RANDOM] = random_scan(frame.depth, index)
        yield Scene(f"{index}", frame.image, scans, frame.ground_truth, frame.depth)


def indoor_scene(folder: Path) -> Scene:
    """Reads `image.png`, `gt.npy` and each `sparse_<number of points>.npy` of a folder.

    The arrays are `[H, W]` metres, 0 = missing.
    """
    scans = {
        f"{path.stem.removeprefix('sparse_')} points": np.load(path).astype(np.float32)
        for path in sorted(folder.glob("sparse_*.npy"))
    }
    truth = np.load(folder / "gt.npy").astype(np.float32)
    return Scene(folder.name, read_image(folder / "image.png"), scans, truth)


def beams_of(sparse: np.ndarray, intrinsics: Intrinsics, lidar: Lidar = HDL64) -> np.ndarray:
    """Returns the beam of each point of `sparse` `[H, W]`; see `lidar_beam`."""
    beams = lidar_beam(jnp.asarray(sparse)[..., None], jnp.array(intrinsics), lidar)
    return np.asarray(beams)[..., 0]


def evenly_divided(sparse: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Divides the points into 64 bands of equal angles, seen from the camera.

    This needs no model of the scanner, and a band often holds points of two beams.
    """
    fx, fy, cx, cy = intrinsics
    row, column = np.indices(sparse.shape)
    elevation = np.degrees(np.arctan2((cy - row) / fy, np.hypot((column - cx) / fx, 1.0)))
    return np.clip(np.floor(64 * (TOP - elevation) / (TOP - BOTTOM)), 0, 63).astype(np.int32)


def thinned_scans(sparse: np.ndarray, beams: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the scans of `BEAMS`: parts of `sparse` `[H, W]` by the beam of each point."""
    return {
        name: np.where(beams % every == 0, sparse, np.float32(0)) for name, every in BEAMS.items()
    }


def random_scan(exact: np.ndarray, seed: int, points: int = POINTS) -> np.ndarray:
    """Measures random pixels of the exact depth `[H, W]`, without errors."""
    known = np.flatnonzero((exact > NEAREST) & (exact < FARTHEST))
    chosen = np.random.default_rng(seed).choice(known, min(points, len(known)), replace=False)
    sparse = np.zeros(exact.size, np.float32)
    sparse[chosen] = exact.ravel()[chosen]
    return sparse.reshape(exact.shape)
