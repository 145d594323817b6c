"""Finds points that the scanner sees and the camera does not.

The two are mounted apart, so that the scanner sees past the edges of objects. Such points fall onto
the object in the image, but lie behind it. The filter uses the scan alone: neighbouring points at
similar depths span a surface, and a point is hidden if a surface lies before it in the image.
"""

import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.calibration import Calibration

# Points belong to one surface if the farthest is at most this share farther than the nearest.
_SURFACE = 0.1
# They are neighbours if they are at most this far apart as seen from the scanner, in degrees. The
# beams of scanners with 16 beams are 2 degrees apart.
_APART = 3.0
# A point is hidden if it is farther behind the surface than this share of its depth, plus metres.
_SHARE, _METRES = 0.05, 0.3
# Pairs of a triangle and a pixel that are tested together; each takes about 100 bytes.
_TOGETHER = 1 << 20


def hidden_points(
    points: np.ndarray,
    calibration: Calibration,
    rows: np.ndarray,
    columns: np.ndarray,
    depth: np.ndarray,
    size: Size,
) -> np.ndarray:
    """Finds the points that a surface of the same scan hides from the camera.

    The surfaces are the triangles of the Delaunay triangulation of the points' directions from the
    scanner, without those whose corners are far apart or have different depths. The scan needs
    neither rings nor an order.

    Args:
      points: float64 `[N, 3]` metres in the scanner's frame, all in the image.
      calibration: of the camera and the scanner.
      rows, columns: int64 `[N]`, the pixels of the points.
      depth: float64 `[N]`, their depths in metres.
      size: (height, width) of the image.

    Returns:
      bool `[N]`, True = hidden.
    """
    triangles = surface_triangles(points, calibration)
    farthest = np.zeros(size)
    np.maximum.at(farthest, (rows, columns), depth)
    surface = rasterize(columns[triangles], rows[triangles], depth[triangles], farthest)
    return depth > hiding_limit(surface[rows, columns])


def hiding_limit(surface: np.ndarray) -> np.ndarray:
    """Returns the depth beyond which a surface at this depth hides a point, in metres."""
    return surface * (1 + _SHARE) + _METRES


def surface_triangles(points: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Finds the surfaces of a scan.

    Args:
      points: float64 `[N, 3]` metres in the scanner's frame.
      calibration: of a camera that looks at the points, so that their directions from the scanner
        do not wrap around.

    Returns:
      int `[T, 3]`, the points that are corners of each triangle.
    """
    from scipy.spatial import Delaunay, QhullError

    none = np.zeros((0, 3), np.int64)
    if len(points) < 4:
        return none
    x, y, z = calibration.camera_from_lidar[:3, :3] @ points.T
    level = np.hypot(x, z)
    angles = np.degrees(np.stack([np.arctan2(x, z), np.arctan2(y, level)], axis=1))
    try:
        triangles = Delaunay(angles).simplices
    except QhullError:
        # All points lie on a line.
        return none
    corners = np.hypot(level, y)[triangles]
    near = (np.ptp(angles[triangles], axis=1) <= _APART).all(axis=1)
    return triangles[near & (corners.max(axis=1) <= corners.min(axis=1) * (1 + _SURFACE))]


def rasterize(
    columns: np.ndarray, rows: np.ndarray, depth: np.ndarray, farthest: np.ndarray
) -> np.ndarray:
    """Finds the nearest triangle at pixels where it may hide a point.

    Args:
      columns, rows: int64 `[T, 3]`, the pixels of the corners, all in the image.
      depth: float64 `[T, 3]`, the depths of the corners in metres.
      farthest: `[H, W]`, the depth of the farthest point in each pixel, 0 = none.

    Returns:
      `[H, W]` metres, infinite where there is no triangle, or none that may hide a point.
    """
    boxes = np.ptp(columns, axis=1) + 1, np.ptp(rows, axis=1) + 1
    ends = np.flatnonzero(np.diff(np.cumsum(boxes[0] * boxes[1]) // _TOGETHER)) + 1
    inverse = np.zeros(farthest.shape)
    for part in np.split(np.arange(len(depth)), ends):
        _add_triangles(inverse, columns[part], rows[part], depth[part], farthest)
    with np.errstate(divide="ignore"):
        return 1 / inverse


def _add_triangles(
    nearest: np.ndarray,
    columns: np.ndarray,
    rows: np.ndarray,
    depth: np.ndarray,
    farthest: np.ndarray,
) -> None:
    """Raises the inverse depths `nearest` to those of triangles; see `rasterize`."""
    left, top = columns.min(axis=1), rows.min(axis=1)
    width = columns.max(axis=1) - left + 1
    count = width * (rows.max(axis=1) - top + 1)
    # All pairs of a triangle and a pixel of its bounding box.
    triangle = np.repeat(np.arange(len(count)), count)
    index = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    column, row = left[triangle] + index % width[triangle], top[triangle] + index // width[triangle]
    # Few pixels have a point far enough behind, so that this test saves most of the work.
    behind = farthest[row, column] > hiding_limit(depth.min(axis=1))[triangle]
    triangle, column, row = triangle[behind], column[behind], row[behind]
    weights = _barycentric(columns[triangle], rows[triangle], column, row)
    # The weights of a degenerate triangle are NaN and fail the comparison.
    inside = (weights >= 0).all(axis=1)
    inverse = (weights[inside] / depth[triangle[inside]]).sum(axis=1)
    np.maximum.at(nearest, (row[inside], column[inside]), inverse)


def _barycentric(
    columns: np.ndarray, rows: np.ndarray, column: np.ndarray, row: np.ndarray
) -> np.ndarray:
    """The barycentric coordinates `[K, 3]` of pixels `[K]` in triangles `[K, 3]`."""
    right, down = columns - column[:, None], rows - row[:, None]
    # Twice the signed areas of the triangles of the pixel and two corners.
    following, last = (1, 2, 0), (2, 0, 1)
    areas = right[:, following] * down[:, last] - right[:, last] * down[:, following]
    with np.errstate(invalid="ignore", divide="ignore"):
        return areas / areas.sum(axis=1, keepdims=True)
