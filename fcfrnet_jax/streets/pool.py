"""A pool of rendered frames on disk, from which training cuts its examples.

Rendering a frame takes longer than a training step of a small network, so a pool is rendered once
and read many times. It also stores what a dataset in KITTI's layout lacks: the exact depth, the
beam of every measured point, and a second scan by another scanner.
"""

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.files import atomic_path, differing, is_temporary, read_json, remove, write_json
from fcfrnet_jax.geometry import Size
from fcfrnet_jax.locks import lock
from fcfrnet_jax.sensors.beams import lidar_beam
from fcfrnet_jax.sensors.camera import Camera
from fcfrnet_jax.sensors.lidar import Lidar
from fcfrnet_jax.sensors.views import SHARES, VIEWS, View
from fcfrnet_jax.streets.data_set import VERSION, Show
from fcfrnet_jax.streets.frame import render_scene, scan_scene

MARKER = "pool.json"
SHARD = 16  # frames in a file
UNIT = 256.0  # stored depths are integers in 1 / UNIT metres, as in KITTI's depth maps
SCANS = 2
_REMEDY = "delete this file, and the next run renders it again"
# The largest number of points of a scan in an image. The densest scan of `VIEWS` has about 30,000.
POINTS = 40 * 1024


@dataclass(frozen=True)
class PoolPlan:
    """The content of a pool.

    The same plan always gives the same frames. A plan of more frames starts with the same ones.

    Attributes:
      frames: the number of frames, a multiple of `SHARD`.
      seed: the random seed of the streets.
      views: the sensors; all images have the same size.
      shares: how many of `sum(shares)` successive frames each view has.
      dense: the probability of dense traffic, in [0, 1].

    Raises:
      ValueError: the number of frames is not a positive multiple of `SHARD`.
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

    def sensors(self, index: int) -> tuple[Camera, Lidar, Lidar]:
        """The camera and both scanners of the frame at `index`."""
        turn, place = divmod(index, sum(self.shares))
        view = self.views[int(np.searchsorted(np.cumsum(self.shares), place, side="right"))]
        return view.camera, view.lidar, view.others[turn % len(view.others)]

    @property
    def size(self) -> Size:
        """(height, width) of all images."""
        return self.views[0].camera.height, self.views[0].camera.width


class Pool:
    """The frames of a pool, mapped into memory.

    Args:
      root: a folder that `write_pool` has written.
      plan: the content of the folder, or its first frames.

    Raises:
      ValueError: a file is damaged.
      OSError: a file cannot be read.
    """

    def __init__(self, root: str | os.PathLike, plan: PoolPlan) -> None:
        self.plan = plan
        self._shards = [_map_shard(path, record_type(plan)) for path in _paths(Path(root), plan)]

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
    """Renders a pool, or the files that are missing after an interruption or in a smaller pool.

    Several processes may write the same pool. What killed processes have left is removed when no
    other process writes.

    Args:
      root: the folder to create or to complete. A larger pool is used as it is.
      plan: the content.
      show: opens a progress display.

    Raises:
      ValueError: `root` holds something else, or the disk has too little space.
      OSError: `root` cannot be written.
    """
    root = Path(root)
    paths = _paths(root, plan)
    _check_folder(root, plan)
    missing = [i for i, path in enumerate(paths) if not path.is_file()]
    if missing:
        with (
            lock(root / ".pool.lock", root, shared=True, clean=partial(_clean, root)),
            show(plan.frames, plan.frames - SHARD * len(missing)) as advance,
        ):
            _check_space(root, plan, SHARD * len(missing))
            write_json(root / MARKER, settings(plan))
            compiled: set[tuple[Camera, Lidar, Lidar]] = set()
            for i in missing:
                indices = range(SHARD * i, SHARD * (i + 1))
                _write_shard(paths[i], plan, indices, compiled, advance)
    return Pool(root, plan)


def _check_space(root: Path, plan: PoolPlan, frames: int) -> None:
    """Raises ValueError if the disk has too little space for a number of frames."""
    needed, free = frames * record_type(plan).itemsize, shutil.disk_usage(root).free
    if needed > free:
        raise ValueError(
            f"{frames} rendered frames take {needed / 1e9:.1f} GB, but {root} has "
            f"{free / 1e9:.1f} GB left; use another folder, or render fewer frames"
        )


def _clean(root: Path) -> None:
    for path in root.iterdir():
        if is_temporary(path):
            remove(path)


def _check_folder(root: Path, plan: PoolPlan) -> None:
    """Raises ValueError if the folder holds something else than this pool, or a part of it."""
    marker, wanted = root / MARKER, settings(plan)
    if marker.is_file():
        different = differing(read_json(marker, "delete the folder, or use another one"), wanted)
        if different:
            raise ValueError(
                f"{root} holds a pool of other rendered frames (different {', '.join(different)}); "
                "delete it, or use another folder"
            )
    elif root.is_file() or (root.is_dir() and any(path.name[0] != "." for path in root.iterdir())):
        raise ValueError(f"{root} exists and is not a pool of rendered frames (it has no {MARKER})")


def settings(plan: PoolPlan) -> dict[str, Any]:
    """Returns the content of the marker file, as it is read back from JSON."""
    described = {"version": VERSION} | asdict(plan)
    # Pools that differ in their number of frames only have their first frames in common.
    del described["frames"]
    return json.loads(json.dumps(described))


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


def _map_shard(path: Path, kind: np.dtype) -> np.ndarray:
    try:
        found = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: is damaged ({error}); {_REMEDY}") from error
    if (found.dtype, found.shape) != (kind, (SHARD,)):
        raise ValueError(f"{path}: is damaged, it does not have {SHARD} frames; {_REMEDY}")
    return found


def _paths(root: Path, plan: PoolPlan) -> list[Path]:
    return [root / f"{i:05d}.npy" for i in range(plan.frames // SHARD)]


def _write_shard(
    path: Path,
    plan: PoolPlan,
    indices: range,
    compiled: set[tuple[Camera, Lidar, Lidar]],
    advance: Callable[[int], None],
) -> None:
    """Renders the frames of a file; `compiled` are the sensors that were rendered before."""
    frames = np.zeros(len(indices), record_type(plan))
    # On CPUs most of a frame is rendered by one core.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        rendering = []
        for i in indices:
            rendering.append(pool.submit(_record, plan, i))
            if plan.sensors(i) not in compiled:
                # Threads that call a new program at the same time would each compile it.
                rendering[-1].result()
                compiled.add(plan.sensors(i))
        for slot, record in enumerate(rendering):
            for name, value in record.result().items():
                frames[slot][name] = value
            advance(1)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.save(file, frames)


def _record(plan: PoolPlan, index: int) -> dict[str, Any]:
    camera, *lidars = plan.sensors(index)
    key = jax.random.fold_in(jax.random.key(plan.seed), index)
    frame = render_scene(key, camera, lidars[0], dense=plan.dense)
    maps = (frame.sparse_depth, scan_scene(key, camera, lidars[1], plan.dense))
    scans = [_points(depth, camera, lidar) for depth, lidar in zip(maps, lidars, strict=True)]
    return {
        "image": np.asarray(frame.image),
        "depth": _stored(np.asarray(frame.depth)),
        "known": np.packbits(np.asarray(frame.ground_truth) > 0),
        **{name: np.stack([scan[name] for scan in scans]) for name in scans[0]},
        "beams": [len(lidar.elevations) for lidar in lidars],
    }


def _points(depth: jax.Array, camera: Camera, lidar: Lidar) -> dict[str, np.ndarray]:
    """The measured points of a sparse depth map `[h, w]`, with the names of `Pool.read`."""
    beam = np.asarray(_beam(depth, camera, lidar)).ravel()
    flat = np.asarray(depth).ravel()
    found = np.flatnonzero(flat > 0)
    if len(found) > POINTS:
        raise ValueError(f"a scan has {len(found)} points in the image, more than {POINTS}")
    pixel = np.full(POINTS, -1, np.int32)
    ranges, beams = np.zeros(POINTS, np.uint16), np.zeros(POINTS, np.uint8)
    count = len(found)
    pixel[:count], ranges[:count], beams[:count] = found, _stored(flat[found]), beam[found]
    return {"pixel": pixel, "range": ranges, "beam": beams}


@partial(jax.jit, static_argnames=("camera", "lidar"))
def _beam(depth: jax.Array, camera: Camera, lidar: Lidar) -> jax.Array:
    return lidar_beam(depth[..., None], jnp.array(camera.intrinsics, jnp.float32), lidar)


def _stored(depth: np.ndarray) -> np.ndarray:
    """Converts metres to integers; depths that are too large for them become 0, the sky."""
    units = np.rint(UNIT * depth)
    return np.where(units < 2**16, units, 0).astype(np.uint16)
