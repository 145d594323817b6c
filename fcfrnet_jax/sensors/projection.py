"""Projects scans to sparse depth, as in KITTI's depth completion benchmark."""

from typing import NamedTuple

import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.calibration import Calibration, check_calibration
from fcfrnet_jax.sensors.occlusion import hidden_points
from fcfrnet_jax.sensors.scans import Scan

# Scans spread less in height than this share of their spread in each horizontal direction.
_LEVEL = 0.5
# This share of a scan falls into an image with almost any calibration.
_FEW = 0.005
# Points nearer to the image plane are not projected, in metres.
MIN_DEPTH = 0.1


class Pixels(NamedTuple):
    """Where the points of a scan fall, each array `[N]`.

    Attributes:
      u, v: float64 coordinates in pixels; (0, 0) is the centre of the first pixel.
      depth: float64 metres along the optical axis.
      seen: bool, whether the point falls into the image.
    """

    u: np.ndarray
    v: np.ndarray
    depth: np.ndarray
    seen: np.ndarray


def project(
    points: np.ndarray | Scan,
    calibration: Calibration,
    size: Size | None = None,
    *,
    remove_hidden: bool = True,
) -> np.ndarray:
    """Projects a scan to sparse depth.

    A point falls into the pixel whose centre is nearest to it. If several points fall into a pixel,
    the nearest one is kept. These are the benchmark's rules: with the motion of the car
    compensated, they give its `velodyne_raw` (`docs/sensors.md`).

    Args:
      points: a scan, or `[N, 3]` or wider: x, y, z in metres in the scanner's frame. Points that
        are not finite are ignored.
      calibration: of the camera and the scanner. If it has distortion, the result belongs to the
        image that `undistort` returns.
      size: (height, width) of the image in pixels, by default that of the calibration.
      remove_hidden: leave out the points that the scanner sees past the edge of an object and the
        camera does not see (`hidden_points`). The benchmark keeps them.

    Returns:
      float32 `[H, W]` metres, 0 = missing.

    Raises:
      ValueError: the points have another shape, the size is unknown, or no point falls into the
        image. The message then says where the points fall.
    """
    size = image_size(calibration, size)
    points = coordinates(points)
    pixels = project_points(points, calibration, size)
    if not pixels.seen.any():
        raise ValueError(_explain(points, calibration, size))
    rows, columns = pixel_indices(pixels)
    depth, seen = pixels.depth[pixels.seen], points[pixels.seen]
    if remove_hidden:
        kept = ~hidden_points(seen, calibration, rows, columns, depth, size)
        rows, columns, depth = rows[kept], columns[kept], depth[kept]
    return nearest_depth(rows, columns, depth, size)


def image_size(calibration: Calibration, size: Size | None) -> Size:
    """Returns the size of the image, or else that of the calibration.

    Raises:
      ValueError: neither is known, they differ, or the size has another number of values.
      TypeError: the calibration is something else, such as a path.
    """
    check_calibration(calibration)
    if size is None:
        if calibration.size is None:
            raise ValueError(
                "the calibration does not contain the size of the image; set size to (height, "
                "width)"
            )
        return calibration.size
    if len(size) != 2:
        raise ValueError(f"size must be (height, width), got {tuple(size)}; give image.shape[:2]")
    if calibration.size is not None and tuple(size) != calibration.size:
        height, width = calibration.size
        raise ValueError(
            f"the calibration is for images of {height}x{width}, got size {size[0]}x{size[1]}; use "
            "the calibration of these images, or its method scaled if they were resized"
        )
    if min(size) < 1:
        raise ValueError(f"an image needs at least 1x1 pixels, got size {size}")
    return int(size[0]), int(size[1])


def coordinates(points: np.ndarray | Scan) -> np.ndarray:
    """Returns the coordinates of points, float64 `[N, 3]`.

    Raises:
      ValueError: another shape.
    """
    points = np.asarray(points.points if isinstance(points, Scan) else points)
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points must be [N, 3] or wider, got shape {list(points.shape)}")
    if points.dtype.kind not in "fiu":
        raise ValueError(f"points must be integers or floating-point numbers, got {points.dtype}")
    if not len(points):
        raise ValueError("the scan is empty, expected at least one point; leave it out")
    return points[:, :3].astype(np.float64)


def project_points(points: np.ndarray, calibration: Calibration, size: Size) -> Pixels:
    """Projects points `[N, 3]` in the scanner's frame; those that are not finite are not seen."""
    matrix = calibration.projection @ calibration.camera_from_lidar
    with np.errstate(all="ignore"):
        a, b, depth = (points @ matrix[:, :3].T + matrix[:, 3]).T
        u, v = a / depth, b / depth
        # NaN fails these comparisons.
        seen = (depth > MIN_DEPTH) & (depth < np.inf)
        seen &= (np.rint(u) >= 0) & (np.rint(u) < size[1])
        seen &= (np.rint(v) >= 0) & (np.rint(v) < size[0])
    return Pixels(u, v, depth, seen)


def pixel_indices(pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row and the column of each point that is seen, int64."""
    v, u = pixels.v[pixels.seen], pixels.u[pixels.seen]
    return np.rint(v).astype(np.int64), np.rint(u).astype(np.int64)


def nearest_depth(
    rows: np.ndarray, columns: np.ndarray, depth: np.ndarray, size: Size
) -> np.ndarray:
    """Returns the smallest depth in each pixel, float32 `[H, W]` metres, 0 = missing."""
    nearest = np.full(size, np.inf)
    np.minimum.at(nearest, (rows, columns), depth)
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)


def unproject(depth: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Returns the points of sparse depth `[H, W]`, 0 = missing, as seen at the pixels' centres.

    Returns:
      float64 `[N, 3]` metres in the scanner's frame, in the order of `numpy.nonzero(depth)`.
    """
    rows, columns = np.nonzero(depth)
    z = depth[rows, columns].astype(np.float64)
    rays = np.stack([columns * z, rows * z, z], axis=1) - calibration.projection[:, 3]
    camera = np.linalg.solve(calibration.projection[:, :3], rays.T)
    rotation, offset = calibration.camera_from_lidar[:3, :3], calibration.camera_from_lidar[:3, 3:]
    return (np.linalg.inv(rotation) @ (camera - offset)).T


def without_hidden(depth: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Removes the points that the camera does not see from sparse depth, as `project` does.

    For sparse depth that was projected elsewhere, such as the benchmark's `velodyne_raw`.

    Args:
      depth: `[H, W]` metres, 0 = missing.
      calibration: of the camera and the scanner.

    Returns:
      `[H, W]` of the same type.
    """
    rows, columns = np.nonzero(depth)
    values = depth[rows, columns].astype(np.float64)
    points = unproject(depth, calibration)
    hidden = hidden_points(points, calibration, rows, columns, values, depth.shape)
    result = depth.copy()
    result[rows[hidden], columns[hidden]] = 0
    return result


def looks_inverted(points: np.ndarray | Scan, calibration: Calibration) -> bool:
    """Whether the inverse of T_cam_lidar puts a scan into a more likely position.

    The points of a scanner spread less in height than horizontally, for most scanners see all
    around, and level cameras are the rule. Some points fall into the image in any case.

    Returns:
      True if the points do not spread in this way as the camera sees them, but would with the
      inverse.

    Raises:
      ValueError: as `coordinates`.
    """
    points = coordinates(points)
    points = points[np.isfinite(points).all(axis=1)]
    rotation = calibration.camera_from_lidar[:3, :3]
    return not _is_level(points @ rotation.T) and _is_level(points @ rotation)


def _is_level(points: np.ndarray) -> bool:
    """Whether points `[N, 3]`, x right, y down, z forward, spread much less along y."""
    if not len(points):
        return False
    across, down, forward = np.percentile(np.abs(points - np.median(points, axis=0)), 75, axis=0)
    return bool(down < _LEVEL * min(across, forward))


def count_sides(points: np.ndarray, calibration: Calibration, size: Size) -> dict[str, int]:
    """Counts where points `[N, 3]` fall.

    Returns:
      The number of points "inside" the image, "behind" the camera (or less than 0.1 m in front of
      it), to the "left" or "right" of the image, and of the others, "above" or "below" it.
    """
    u, v, depth, seen = project_points(points, calibration, size)
    finite = np.isfinite(points).all(axis=1)
    front = finite & (depth > MIN_DEPTH) & ~seen
    left, right = front & (np.rint(u) < 0), front & (np.rint(u) >= size[1])
    between = front & ~left & ~right
    groups = {
        "inside": seen,
        "behind": finite & ~(depth > MIN_DEPTH),
        "left": left,
        "right": right,
        "above": between & (np.rint(v) < 0),
        "below": between & (np.rint(v) >= size[0]),
    }
    return {side: int(group.sum()) for side, group in groups.items()}


def _explain(points: np.ndarray, calibration: Calibration, size: Size) -> str:
    """Why no point falls into the image."""
    if not np.isfinite(points).all(axis=1).any():
        return f"all {len(points)} points are NaN or infinite, expected at least one measured point"
    sides = count_sides(points, calibration, size)
    del sides["inside"]
    listed = ", ".join(f"{count} {side}" for side, count in sides.items())
    inverse = Calibration(
        calibration.projection, np.linalg.inv(calibration.camera_from_lidar), size
    )
    hit = int(project_points(points, inverse, size).seen.sum())
    _, _, cx, cy = calibration.intrinsics
    if not (0 <= cx < size[1] and 0 <= cy < size[0]):
        hint = (
            f"the principal point ({cx:g}, {cy:g}) is outside of the image, so K is likely to be "
            "for another resolution; give that of these images"
        )
    elif hit > _FEW * len(points):
        hint = (
            f"with the inverse of T_cam_lidar, {hit} would: it must take points from the LiDAR's "
            "frame to the camera's, so invert it"
        )
    else:
        hint = (
            f"with the inverse of T_cam_lidar, {hit} would; check the order of the numbers of "
            "T_cam_lidar, its unit (metres), and K"
        )
    return (
        f"none of the {len(points)} points falls into the image of {size[0]}x{size[1]} ({listed}); "
        f"{hint}"
    )
