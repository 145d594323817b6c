"""Cameras with scanners, which differ as those of different cars do."""

from dataclasses import dataclass, replace

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar, evenly_spaced, thinned


@dataclass(frozen=True)
class View:
    """The sensors of a frame.

    Attributes:
      camera: the camera.
      lidar: the scanner of the first scan and of the ground truth.
      others: scanners that take turns in making the second scan.
    """

    camera: Camera
    lidar: Lidar
    others: tuple[Lidar, ...]

    def scaled(self, size: Size) -> "View":
        """Returns the sensors for images of another (height, width); see `rig.scaled_rig`."""
        if size == (self.camera.height, self.camera.width):
            return self
        share = min(1.0, size[0] / self.camera.height)
        lidar, *others = (thinned(lidar, share) for lidar in (self.lidar, *self.others))
        return View(self.camera.scaled(*size), lidar, tuple(others))


def _camera(focal: float, horizon: float) -> Camera:
    """A camera with images of KITTI's size, so that the frames of all views form batches."""
    return Camera(fx=focal, fy=focal, cx=0.5 * KITTI.width, cy=horizon)


_LEVEL = {"tilt": (0.0, 0.0, 0.0)}
_TALL64 = replace(HDL64, position=(0.0, -0.45, -0.8), tilt=(0.0, 0.0, -0.5))
_WIDE64 = evenly_spaced(64, 22.5, -22.5, azimuth_step=0.35, position=(0.0, 0.0, 0.05), **_LEVEL)
_ROOF32 = evenly_spaced(32, 10.67, -30.67, azimuth_step=0.2, position=(0.0, -0.13, -0.76), **_LEVEL)
_LOW24 = evenly_spaced(24, 6.0, -20.0, azimuth_step=0.25, position=(-0.1, 0.0, -0.3))
_LOW16 = evenly_spaced(16, 15.0, -15.0, azimuth_step=0.2, position=(0.1, -0.05, -0.1), **_LEVEL)

# KITTI's sensors, then cameras with shorter and longer focal lengths. The other scanners differ in
# their beams and in where they are mounted.
VIEWS = (
    View(KITTI, HDL64, (_ROOF32, _TALL64, _WIDE64, _LOW24)),
    View(_camera(460.0, 190.0), HDL64, (_ROOF32, _LOW16, _WIDE64)),
    View(_camera(600.0, 160.0), HDL64, (_ROOF32, _LOW16, _TALL64)),
    View(_camera(900.0, 200.0), HDL64, (_ROOF32, _TALL64, _LOW24)),
)
# Half of the frames have KITTI's sensors.
SHARES = (3, 1, 1, 1)
