"""A pool of rendered frames on disk, from which training cuts its examples.

Rendering a frame takes longer than a training step of a small network. A pool is rendered once and
read many times. It also holds what a dataset in KITTI's layout does not: the exact depth, the beam
of every measured point, and a second scan by another scanner.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.files import atomic_path, write_json
from fcfrnet_jax.sensors.beams import lidar_beam
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar, evenly_spaced
from fcfrnet_jax.streets.data_set import VERSION, Show
from fcfrnet_jax.streets.frame import render_scene, scan_scene

MARKER = "pool.json"
SHARD = 32  # frames in a file
UNIT = 256.0  # stored depths are integers in 1 / UNIT metres, as in KITTI's depth maps
SCANS = 2
# A scan has at most this many points in an image; the rest is left out.
POINTS = 28 * 1024


@dataclass(frozen=True)
class View:
    """What a frame is seen with: a camera, its scanner, and others of which one scans it too."""

    camera: Camera
    lidar: Lidar
    others: tuple[Lidar, ...]


def _camera(focal: float, horizon: float) -> Camera:
    """A camera with images of KITTI's size, so that the frames of all views form batches."""
    return Camera(fx=focal, fy=focal, cx=0.5 * KITTI.width, cy=horizon)


_LEVEL = {"tilt": (0.0, 0.0, 0.0)}
_TALL64 = replace(HDL64, position=(0.0, -0.45, -0.8), tilt=(0.0, 0.0, -0.5))
_WIDE64 = evenly_spaced(64, 22.5, -22.5, azimuth_step=0.35, position=(0.0, 0.0, 0.05), **_LEVEL)
_ROOF32 = evenly_spaced(32, 10.67, -30.67, azimuth_step=0.2, position=(0.0, -0.13, -0.76), **_LEVEL)
_LOW24 = evenly_spaced(24, 6.0, -20.0, azimuth_step=0.25, position=(-0.1, 0.0, -0.3))
_LOW16 = evenly_spaced(16, 15.0, -15.0, azimuth_step=0.2, position=(0.1, -0.05, -0.1), **_LEVEL)

# KITTI's sensors, and others around them: cameras with shorter and longer focal lengths, scanners
# with other beams in other places.
VIEWS = (
    View(KITTI, HDL64, (_ROOF32, _TALL64, _WIDE64, _LOW24)),
    View(_camera(460.0, 190.0), HDL64, (_ROOF32, _LOW16, _WIDE64)),
    View(_camera(600.0, 160.0), HDL64, (_ROOF32, _LOW16, _TALL64)),
    View(_camera(900.0, 200.0), HDL64, (_ROOF32, _TALL64, _LOW24)),
)
# Every other frame has KITTI's sensors.
SHARES = (3, 1, 1, 1)


@dataclass(frozen=True)
class PoolPlan:
    """The content of a pool. The same plan always gives the same frames.

    Attributes:
      frames: their number, a multiple of `SHARD`.
      seed: of the streets.
      views: the sensors.
      shares: how many of `sum(shares)` successive frames each view has.
      dense: the probability of dense traffic.

    Raises:
      ValueError: a number of frames that is not a positive multiple of `SHARD`.
    """

    frames: int
    seed: int = 0
    views: tuple[View, ...] = VIEWS
    shares: tuple[int, ...] = SHARES
    dense: float = 0.25

    def __post_init__(self) -> None:
        if self.frames < SHARD or self.frames % SHARD:
            raise ValueError(
                f"the frames of a pool must be a positive multiple of {SHARD}, got {self.frames}"
            )

    def view(self, index: int) -> View:
        """The sensors of a frame."""
        place = index % sum(self.shares)
        return self.views[int(np.searchsorted(np.cumsum(self.shares), place, side="right"))]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of all images."""
        return self.views[0].camera.height, self.views[0].camera.width


class Pool:
    """The frames of a complete pool, mapped into memory.

    Args:
      root: the folder that `write_pool` has written.
      plan: its content.
    """

    def __init__(self, root: str | os.PathLike, plan: PoolPlan) -> None:
        self.plan = plan
        self._shards = [np.load(path, mmap_mode="r") for path in _paths(Path(root), plan)]

    def __len__(self) -> int:
        return self.plan.frames

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Reads frames.

        Args:
          indices: `[B]`.

        Returns:
          A dict of
            image: uint8 [B, H, W, 3] RGB;
            depth: uint16 [B, H, W], the exact depth in 1 / UNIT metres, 0 = sky;
            known: uint8 [B, ceil(H W / 8)], a bit for each pixel that has ground truth;
            pixel: int32 [B, SCANS, POINTS], v W + u of a measured point, -1 = none;
            range: uint16 [B, SCANS, POINTS], its depth in 1 / UNIT metres;
            beam: uint8 [B, SCANS, POINTS], its beam, 0 = the highest;
            beams: int32 [B, SCANS], the number of beams of the scanner.
        """
        frames = [self._shards[i // SHARD][i % SHARD] for i in indices]
        return {name: np.stack([frame[name] for frame in frames]) for name in frames[0].dtype.names}


def write_pool(
    root: str | os.PathLike, plan: PoolPlan, show: Show = lambda *_: nullcontext(lambda _: None)
) -> Pool:
    """Renders a pool, or the missing files of one whose rendering was interrupted.

    Args:
      root: the folder to create or to complete.
      plan: the content.
      show: opens a progress display.

    Raises:
      ValueError: `root` holds something else.
      OSError: it cannot be written.
    """
    root = Path(root)
    marker = root / MARKER
    wanted = settings(plan)
    if not marker.is_file():
        if root.exists() and any(root.iterdir()):
            raise ValueError(f"{root} exists and is not a pool of rendered frames")
        root.mkdir(parents=True, exist_ok=True)
        write_json(marker, wanted)
    elif json.loads(marker.read_text(encoding="utf-8")) != wanted:
        raise ValueError(
            f"{root} holds another pool of rendered frames; delete it, or use another folder"
        )
    paths = _paths(root, plan)
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    with show(plan.frames, plan.frames - SHARD * len(missing)) as advance:
        for i in missing:
            _write_shard(paths[i], plan, range(SHARD * i, SHARD * (i + 1)), advance)
    return Pool(root, plan)


def settings(plan: PoolPlan) -> dict[str, Any]:
    """Returns the content of the marker file, as it is read back from JSON."""
    return json.loads(json.dumps({"version": VERSION} | asdict(plan)))


def record_type(plan: PoolPlan) -> np.dtype:
    """The type of a stored frame, with the names of `Pool.read`."""
    height, width = plan.size
    return np.dtype(
        [
            ("image", "u1", (height, width, 3)),
            ("depth", "<u2", (height, width)),
            ("known", "u1", (-(-height * width // 8),)),
            ("pixel", "<i4", (SCANS, POINTS)),
            ("range", "<u2", (SCANS, POINTS)),
            ("beam", "u1", (SCANS, POINTS)),
            ("beams", "<i4", (SCANS,)),
        ]
    )


def _paths(root: Path, plan: PoolPlan) -> list[Path]:
    return [root / f"{i:05d}.npy" for i in range(plan.frames // SHARD)]


def _write_shard(path: Path, plan: PoolPlan, indices: range, advance: Any) -> None:
    frames = np.zeros(len(indices), record_type(plan))
    # On CPUs most of a frame is rendered by one core.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for slot, record in enumerate(pool.map(partial(_record, plan), indices)):
            for name, value in record.items():
                frames[slot][name] = value
            advance(1)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, frames)


def _record(plan: PoolPlan, index: int) -> dict[str, Any]:
    view = plan.view(index)
    key = jax.random.fold_in(jax.random.key(plan.seed), index)
    frame = render_scene(key, view.camera, view.lidar, dense=plan.dense)
    other = view.others[index // sum(plan.shares) % len(view.others)]
    lidars = (view.lidar, other)
    maps = (frame.sparse_depth, scan_scene(key, view.camera, other, plan.dense))
    scans = [_points(depth, view.camera, lidar) for depth, lidar in zip(maps, lidars, strict=True)]
    return {
        "image": np.asarray(frame.image),
        "depth": _stored(np.asarray(frame.depth)),
        "known": np.packbits(np.asarray(frame.ground_truth) > 0),
        **{name: np.stack([scan[name] for scan in scans]) for name in scans[0]},
        "beams": [len(lidar.elevations) for lidar in lidars],
    }


def _points(depth: jax.Array, camera: Camera, lidar: Lidar) -> dict[str, np.ndarray]:
    """The points of a sparse depth map `[h, w]`, from the top; names as in `Pool.read`."""
    beam = np.asarray(_beam(depth, camera, lidar)).ravel()
    flat = np.asarray(depth).ravel()
    found = np.flatnonzero(flat > 0)[:POINTS]
    pixel = np.full(POINTS, -1, np.int32)
    ranges, beams = np.zeros(POINTS, np.uint16), np.zeros(POINTS, np.uint8)
    count = len(found)
    pixel[:count], ranges[:count], beams[:count] = found, _stored(flat[found]), beam[found]
    return {"pixel": pixel, "range": ranges, "beam": beams}


@partial(jax.jit, static_argnames=("camera", "lidar"))
def _beam(depth: jax.Array, camera: Camera, lidar: Lidar) -> jax.Array:
    return lidar_beam(depth[..., None], jnp.array(camera.intrinsics, jnp.float32), lidar)


def _stored(depth: np.ndarray) -> np.ndarray:
    """Metres as integers; what is too far for them counts as sky."""
    units = np.rint(UNIT * depth)
    return np.where(units < 2**16, units, 0).astype(np.uint16)
