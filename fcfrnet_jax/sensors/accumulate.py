"""Accumulates scans of a drive to semi-dense depth, as ground truth for one's own data.

KITTI's ground truth accumulates eleven scans and removes what stereo contradicts (Uhrig et al.,
"Sparsity Invariant CNNs", 3DV 2017). Here the scans contradict each other: a point has moved if
another scan sees through it, and it is hidden if a surface lies before it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.calibration.calibration import check_rigid, pinhole, rigid
from fcfrnet_jax.sensors.occlusion import hiding_limit, rasterize, surface_triangles
from fcfrnet_jax.sensors.projection import (
    coordinates,
    image_size,
    nearest_depth,
    pixel_indices,
    project_points,
)
from fcfrnet_jax.sensors.scans import Scan


class Accumulated(NamedTuple):
    """Accumulated depth.

    Attributes:
      depth: float32 `[H, W]` metres, 0 = missing.
      points: the number of points in the image before filtering.
      moved: how many of them were removed because another scan sees through them.
      hidden: how many of the others were removed because a surface hides them from the camera.
    """

    depth: np.ndarray
    points: int
    moved: int
    hidden: int


class Survey(NamedTuple):
    """A scan and the surfaces that it measured; see `survey`.

    Attributes:
      points: float64 `[N, 3]`, the points in the direction of the camera, in the scanner's frame.
      triangles: int `[M, 3]`, the surfaces, by the indices of their corners.
      surface: float64 `[H, W]` metres, the surfaces as a camera in the place of the scanner sees
        them; infinite where there is none.
    """

    points: np.ndarray
    triangles: np.ndarray
    surface: np.ndarray


class _Seen(NamedTuple):
    """The points of a scan in a camera's image, each `[N]`, by their numbers in the scan."""

    number: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    depth: np.ndarray


def accumulate(
    scans: Sequence[np.ndarray | Scan | Survey],
    poses: Sequence[np.ndarray],
    calibration: Calibration,
    size: Size | None = None,
    *,
    reference: int | None = None,
    remove_moved: bool = True,
    remove_hidden: bool = True,
) -> Accumulated:
    """Accumulates scans in the image of one of them.

    A pixel gets the depth that the scan of the image measured, if it measured one, and otherwise
    the smallest depth of the other scans. A point of another scan has moved if the scan of the
    image sees through it, or more than half of the scans that have a surface in its direction.

    Args:
      scans: at least one, each a scan or `[N, 3]` or wider, in metres in the scanner's frame.
        Points that are not finite are ignored. The motion of the scanner during a scan should be
        compensated (`motion.compensate`). Where a scan is used for several images, `survey` saves
        most of the time.
      poses: of each scan, `[4, 4]`, from the scanner's frame to a fixed frame.
      calibration: of the camera and the scanner.
      size: (height, width) of the image, by default that of the calibration.
      reference: the index of the scan of the image, by default the middle one.
      remove_moved: whether points that have moved are removed.
      remove_hidden: whether hidden points are removed.

    Raises:
      ValueError: no scans, not one pose per scan, an invalid pose, or an unknown `reference`.
    """
    size = image_size(calibration, size)
    reference = len(scans) // 2 if reference is None else reference
    _check(scans, poses, reference)
    surveys = [
        scan if isinstance(scan, Survey) else survey(scan, calibration, size) for scan in scans
    ]
    points = [item.points for item in surveys]
    from_world = np.linalg.inv(poses[reference])
    seen = [
        _see(_move(points[i], from_world @ poses[i]), calibration, size) for i in range(len(points))
    ]
    total = sum(len(item.number) for item in seen)
    kept = [np.ones(len(item.number), bool) for item in seen]
    if remove_moved:
        surfaces = [item.surface for item in surveys]
        scanner = _scanner(calibration, size)
        kept = [~moved for moved in _moved(points, poses, seen, surfaces, scanner, reference)]
    moved = total - sum(int(some.sum()) for some in kept)
    if remove_hidden:
        kept = _visible(surveys, seen, kept, size)
    left = sum(int(some.sum()) for some in kept)
    depth = _merge(seen, kept, reference, size)
    return Accumulated(depth, total, moved, total - moved - left)


def survey(scan: np.ndarray | Scan, calibration: Calibration, size: Size | None = None) -> Survey:
    """Finds the surfaces of a scan, for `accumulate` with the same calibration and size."""
    size = image_size(calibration, size)
    points = _in_front(coordinates(scan), calibration)
    # Of the whole scan, so that a triangle with a corner that has moved can be left out.
    triangles = surface_triangles(points, calibration)
    seen = _see(points, _scanner(calibration, size), size)
    return Survey(points, triangles, _surface(seen, triangles, np.full(size, np.inf), len(points)))


def _check(
    scans: Sequence[np.ndarray | Scan | Survey], poses: Sequence[np.ndarray], reference: int
) -> None:
    if not scans or len(scans) != len(poses):
        raise ValueError(
            f"expected at least one scan and a pose for each, got {len(scans)} scans and "
            f"{len(poses)} poses"
        )
    for i, pose in enumerate(poses):
        check_rigid(pose, f"pose {i}")
    if not 0 <= reference < len(scans):
        raise ValueError(
            f"reference must be the index of one of the {len(scans)} scans, got {reference}"
        )


def _in_front(points: np.ndarray, calibration: Calibration) -> np.ndarray:
    """The points before the scanner in the direction of the camera, without those not finite."""
    points = points[np.isfinite(points).all(axis=1)]
    return points[points @ calibration.camera_from_lidar[2, :3] > 0]


def _move(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    return points @ transform[:3, :3].T + transform[:3, 3]


def _see(points: np.ndarray, calibration: Calibration, size: Size) -> _Seen:
    pixels = project_points(points, calibration, size)
    rows, columns = pixel_indices(pixels)
    return _Seen(np.flatnonzero(pixels.seen), rows, columns, pixels.depth[pixels.seen])


def _surface(seen: _Seen, triangles: np.ndarray, farthest: np.ndarray, total: int) -> np.ndarray:
    """The depth `[H, W]` of the nearest triangle with three corners in the image."""
    position = np.full(total, -1)
    position[seen.number] = np.arange(len(seen.number))
    corners = position[triangles]
    corners = corners[(corners >= 0).all(axis=1)]
    return rasterize(seen.columns[corners], seen.rows[corners], seen.depth[corners], farthest)


def _scanner(calibration: Calibration, size: Size) -> Calibration:
    """A camera in the place of the scanner, which sees no more and no less than the scanner."""
    rotation = rigid(calibration.camera_from_lidar[:3, :3])
    return Calibration(pinhole(calibration.projection[:, :3]), rotation, size)


def _moved(
    points: list[np.ndarray],
    poses: Sequence[np.ndarray],
    seen: list[_Seen],
    surfaces: list[np.ndarray],
    scanner: Calibration,
    reference: int,
) -> list[np.ndarray]:
    """Whether each point of `seen` has moved; the points of the reference have not."""
    moved = []
    for j, item in enumerate(seen):
        through, judged = np.zeros((2, len(item.number)), int)
        certain = np.zeros(len(item.number), bool)
        for i, surface in enumerate(surfaces):
            if j in (i, reference):
                continue
            to_other = np.linalg.inv(poses[i]) @ poses[j]
            place = _see(_move(points[j][item.number], to_other), scanner, surface.shape)
            behind = surface[place.rows, place.columns]
            empty = np.isfinite(behind) & (behind > hiding_limit(place.depth))
            judged[place.number] += np.isfinite(behind)
            through[place.number] += empty
            if i == reference:
                certain[place.number] = empty
        moved.append(certain | (2 * through > judged))
    return moved


def _visible(
    surveys: list[Survey], seen: list[_Seen], kept: list[np.ndarray], size: Size
) -> list[np.ndarray]:
    """Which of the points that are kept are visible from the camera."""
    farthest = np.zeros(size)
    for item, some in zip(seen, kept, strict=True):
        np.maximum.at(farthest, (item.rows[some], item.columns[some]), item.depth[some])
    surface = np.full(size, np.inf)
    for (points, triangles, _), item, some in zip(surveys, seen, kept, strict=True):
        left = _Seen(*(values[some] for values in item))
        surface = np.minimum(surface, _surface(left, triangles, farthest, len(points)))
    return [
        some & (item.depth <= hiding_limit(surface[item.rows, item.columns]))
        for item, some in zip(seen, kept, strict=True)
    ]


def _merge(seen: list[_Seen], kept: list[np.ndarray], reference: int, size: Size) -> np.ndarray:
    """The depth of the reference, and where it has none, the smallest of the other scans."""
    maps = []
    for chosen in ([reference], [i for i in range(len(seen)) if i != reference]):
        parts = [_Seen(*(values[kept[i]] for values in seen[i])) for i in chosen]
        if parts:
            rows, columns, depth = (
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("rows", "columns", "depth")
            )
            maps.append(nearest_depth(rows, columns, depth, size))
    return maps[0] if len(maps) == 1 else np.where(maps[0] > 0, maps[0], maps[1])
