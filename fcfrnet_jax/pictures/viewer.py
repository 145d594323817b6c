"""Recordings for the viewer of rerun (https://rerun.io), which shows frames in 2D, 3D and time.

Needs the extra `viewer`, which installs rerun-sdk.
"""

import importlib.util
import os
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from fcfrnet_jax.files import atomic_path
from fcfrnet_jax.pictures.point_clouds import PointCloud

MISSING = "recordings need rerun-sdk; install it with pip install 'fcfrnet_jax[viewer]'"
# Radius of a point in metres.
_RADIUS = 0.02


class Recording:
    """Writes an .rrd file; a context. The file appears when the context ends without an error.

    Args:
      path: the file, such as `drive.rrd`. Show it with `rerun drive.rrd`.
      name: of the application, under which the viewer keeps its layout.

    Raises:
      ImportError: rerun-sdk is not installed.
    """

    def __init__(self, path: str | os.PathLike, name: str = "fcfrnet_jax") -> None:
        self._rerun = _import_rerun()
        self._path = Path(path)
        self._name = name
        self._frames = 0

    def __enter__(self) -> "Recording":
        with ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            self._stream: Any = self._rerun.RecordingStream(self._name)
            self._stream.save(str(temporary))
            # The file is complete when the stream has disconnected.
            stack.callback(self._stream.disconnect)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(
        self,
        *,
        image: np.ndarray | None = None,
        sparse_depth: np.ndarray | None = None,
        depth: np.ndarray | None = None,
        cloud: PointCloud | None = None,
        intrinsics: np.ndarray | None = None,
    ) -> None:
        """Adds a frame.

        Args:
          image: uint8 `[H, W, 3]` RGB.
          sparse_depth: `[H, W]` metres, 0 = missing.
          depth: `[H, W]` metres, such as the prediction.
          cloud: the result of `fcfrnet_jax.point_cloud`, in the camera's frame.
          intrinsics: the camera matrix `[3, 3]`, by which the viewer places the image before the
            cloud.

        Raises:
          ValueError: the sizes of the image and the depth maps differ, or nothing is given.
        """
        maps = {"image": image, "sparse_depth": sparse_depth, "depth": depth}
        given = {name: np.asarray(value) for name, value in maps.items() if value is not None}
        sizes = {name: value.shape[:2] for name, value in given.items()}
        if len(set(sizes.values())) > 1:
            listed = ", ".join(f"{name} {h}x{w}" for name, (h, w) in sizes.items())
            raise ValueError(f"the maps of a frame must have the same size, got {listed}")
        if not given and cloud is None:
            raise ValueError("a frame needs an image, a depth map or a cloud")
        rerun, log = self._rerun, self._stream.log
        self._stream.set_time("frame", sequence=self._frames)
        self._frames += 1
        if intrinsics is not None and sizes:
            height, width = next(iter(sizes.values()))
            camera = rerun.Pinhole(
                image_from_camera=np.asarray(intrinsics, np.float64),
                resolution=[width, height],
                camera_xyz=rerun.ViewCoordinates.RDF,
            )
            log("camera", camera)
        for name, value in given.items():
            if name == "image":
                log("camera/image", rerun.Image(value))
            else:
                log(f"camera/{name}", rerun.DepthImage(value.astype(np.float32), meter=1.0))
        if cloud is not None:
            log("cloud", rerun.Points3D(cloud.points, colors=cloud.colours, radii=_RADIUS))


def check_rerun() -> None:
    """Raises ValueError if rerun-sdk is not installed."""
    if importlib.util.find_spec("rerun") is None:
        raise ValueError(MISSING)


def _import_rerun() -> ModuleType:
    try:
        import rerun
    except ImportError as error:
        raise ImportError(MISSING) from error
    return rerun
