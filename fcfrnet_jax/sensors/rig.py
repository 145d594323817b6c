"""A camera and a laser scanner that fit each other."""

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.camera import KITTI, Camera
from fcfrnet_jax.sensors.lidar import HDL64, Lidar, thinned


def scaled_rig(size: Size, lidar: Lidar = HDL64) -> tuple[Camera, Lidar]:
    """Returns KITTI's camera for images of another size, and a scanner of matching density.

    The field of view stays the same. For images smaller than KITTI's the scanner is thinned, so
    that its points cover the same share of the pixels.

    Args:
      size: (height, width) of the images in pixels.
      lidar: the scanner for images of KITTI's size.

    Raises:
      ValueError: the height or the width is below 1.
    """
    share = size[0] / KITTI.height
    return KITTI.scaled(*size), thinned(lidar, share) if share < 1.0 else lidar
