"""Coloured point clouds of depth maps, and their files: PLY and PCD.

Points are in metres in the camera's frame, whose origin is the camera's centre: x right, y down, z
along the optical axis; or in another frame, see `moved`.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fcfrnet_jax.files import atomic_path

# Defaults, in metres and as a share; docs/predict.md shows what they remove.
MAX_DEPTH = 80.0
MAX_JUMP = 0.05


class PointCloud(NamedTuple):
    """A point cloud.

    Attributes:
      points: float32 `[N, 3]` metres.
      colours: uint8 `[N, 3]` RGB, or None.
    """

    points: np.ndarray
    colours: np.ndarray | None


def point_cloud(
    depth: np.ndarray,
    image: np.ndarray | None,
    intrinsics: np.ndarray,
    *,
    max_depth: float = MAX_DEPTH,
    max_jump: float = MAX_JUMP,
    sparse_depth: np.ndarray | None = None,
    confidence: np.ndarray | None = None,
    min_confidence: float = 0.0,
) -> PointCloud:
    """Converts a depth map to a point cloud, without the points that a depth map should not have.

    Three kinds of pixels give no point: those without depth; *flying points*, which a network
    predicts between the foreground and the background at an edge (`max_jump`); and what a network
    guesses where nothing was measured, above all in the sky (`max_depth`, `sparse_depth`).

    Args:
      depth: `[H, W]` metres along the optical axis; 0, negative or not finite = missing.
      image: uint8 `[H, W, 3]` RGB, `[H, W, 1]` or `[H, W]` gray, for the colours, or None.
      intrinsics: the camera matrix K `[3, 3]` in pixels. The centre of the first pixel is (0, 0).
      max_depth: in metres; farther pixels are left out.
      max_jump: a pixel is left out if its depth differs from that of one of its four neighbours by
        more than this share of the smaller depth. Level ground at the distance d changes by
        d / (fy h) from row to row, for a camera at the height h; this share must be larger.
        `math.inf` keeps all.
      sparse_depth: `[H, W]`, 0 = missing. If given, pixels above the scan are left out, see
        `covered`.
      confidence: `[H, W]`, larger is better, or None.
      min_confidence: pixels with a lower `confidence` are left out.

    Returns:
      The points, in the order of the pixels, row by row.

    Raises:
      ValueError: shapes disagree, the matrix is not a camera matrix, or a limit is not positive.
    """
    depth = np.asarray(depth)
    image, sparse_depth, confidence = (
        None if array is None else np.asarray(array) for array in (image, sparse_depth, confidence)
    )
    matrix = _checked_matrix(intrinsics)
    _check(depth, {"image": image, "sparse_depth": sparse_depth, "confidence": confidence})
    for name, value in (("max_depth", max_depth), ("max_jump", max_jump)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
    keep = (depth > 0) & (depth <= max_depth)
    keep &= ~flying(depth, max_jump)
    if sparse_depth is not None:
        keep &= covered(sparse_depth)
    if confidence is not None:
        keep &= confidence >= min_confidence
    rows, columns = np.nonzero(keep)
    z = depth[rows, columns].astype(np.float64)
    pixels = np.stack([columns, rows, np.ones_like(rows)]).astype(np.float64)
    points = np.linalg.solve(matrix, pixels) * z
    return PointCloud(points.T.astype(np.float32), _colours(image, rows, columns))


def flying(depth: np.ndarray, max_jump: float = MAX_JUMP) -> np.ndarray:
    """Finds the pixels at which the depth jumps.

    Args:
      depth: `[H, W]` metres; 0, negative or not finite = missing.
      max_jump: see `point_cloud`.

    Returns:
      bool `[H, W]`. A missing neighbour is no jump.
    """
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)
    found = np.zeros(depth.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        a, b = depth[one], depth[other]
        # False where one of them is missing.
        jump = np.abs(a - b) > np.float32(max_jump) * np.minimum(a, b)
        found[one] |= jump
        found[other] |= jump
    return found


def covered(sparse_depth: np.ndarray, reach: int = 16) -> np.ndarray:
    """Finds the pixels that are not above the scan.

    A scanner measures up to a certain elevation. Above it a network only guesses.

    Args:
      sparse_depth: `[H, W]`, 0 = missing.
      reach: columns on each side in which the highest measured pixel is searched, and rows above
        it that still count as measured.

    Returns:
      bool `[H, W]`; False in columns without a measured pixel nearby.
    """
    height = len(sparse_depth)
    rows = np.arange(height)[:, None]
    highest = np.where(sparse_depth > 0, rows, height).min(axis=0)
    padded = np.pad(highest, reach, constant_values=height)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    nearby = windows.min(axis=-1)
    return (rows >= nearby - reach) & (nearby < height)


def moved(cloud: PointCloud, motion: np.ndarray) -> PointCloud:
    """Returns the cloud in the frame to which a rigid motion `[4, 4]` takes its points."""
    points = cloud.points @ motion[:3, :3].T + motion[:3, 3]
    return PointCloud(points.astype(np.float32), cloud.colours)


def write_ply(path: str | os.PathLike, cloud: PointCloud, comments: Sequence[str] = ()) -> None:
    """Writes a point cloud as a binary little-endian PLY file; the file is replaced in one step.

    The properties are float x, y, z and, with colours, uchar red, green, blue.

    Args:
      path: the file.
      cloud: the points.
      comments: lines of ASCII text for the header.

    Raises:
      ValueError: points or colours of another shape or dtype.
    """
    fields = _fields(cloud, [("red", "u1"), ("green", "u1"), ("blue", "u1")])
    if cloud.colours is not None:
        for i, name in enumerate(("red", "green", "blue")):
            fields[name] = cloud.colours[:, i]
    kinds = {"<f4": "float", "|u1": "uchar"}
    names = fields.dtype.names or ()
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {text}" for text in comments)]
    lines.append(f"element vertex {len(fields)}")
    lines += [f"property {kinds[fields.dtype[name].str]} {name}" for name in names]
    _write(path, [*lines, "end_header"], fields)


def write_pcd(path: str | os.PathLike, cloud: PointCloud, comments: Sequence[str] = ()) -> None:
    """Writes a point cloud as a binary PCD file, version 0.7; the file is replaced in one step.

    The fields are float x, y, z and, with colours, rgb: as in the Point Cloud Library, the bits of
    a float hold the bytes 0, red, green, blue, from the highest to the lowest.

    Args:
      path, cloud, comments: as for `write_ply`.

    Raises:
      ValueError: points or colours of another shape or dtype.
    """
    fields = _fields(cloud, [("rgb", "<u4")])
    if cloud.colours is not None:
        red, green, blue = cloud.colours.T.astype(np.uint32)
        fields["rgb"] = red << 16 | green << 8 | blue
    names, count = fields.dtype.names or (), len(fields)
    lines = ["# .PCD v0.7 - Point Cloud Data file format", *(f"# {text}" for text in comments)]
    lines.append("VERSION 0.7")
    for key, value in (("FIELDS", None), ("SIZE", "4"), ("TYPE", "F"), ("COUNT", "1")):
        lines.append(" ".join([key, *(value or name for name in names)]))
    lines += [f"WIDTH {count}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {count}"]
    _write(path, [*lines, "DATA binary"], fields)


def _fields(cloud: PointCloud, colours: list[tuple[str, str]]) -> np.ndarray:
    """The points as a structured array, whose fields for the colours are not set."""
    points, given = np.asarray(cloud.points), cloud.colours
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"expected points [N, 3], got {points.dtype} {points.shape}")
    if given is not None and (given.dtype != np.uint8 or given.shape != points.shape):
        raise ValueError(
            f"expected uint8 colours of the shape {points.shape} of the points, got {given.dtype} "
            f"{given.shape}"
        )
    kinds = [(name, "<f4") for name in "xyz"] + (colours if given is not None else [])
    fields = np.empty(len(points), kinds)
    for i, name in enumerate("xyz"):
        fields[name] = points[:, i]
    return fields


def _write(path: str | os.PathLike, header: list[str], fields: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes("\n".join([*header, ""]).encode("ascii") + fields.tobytes())


def _colours(image: np.ndarray | None, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
    if image is None:
        return None
    pixels = image.reshape(*image.shape[:2], -1)[rows, columns]
    return np.ascontiguousarray(np.broadcast_to(pixels, (len(rows), 3)))


def _checked_matrix(intrinsics: np.ndarray) -> np.ndarray:
    matrix = np.asarray(intrinsics, np.float64)
    if matrix.shape != (3, 3):
        raise ValueError(f"expected a camera matrix K [3, 3], got shape {matrix.shape}")
    below = (matrix[1, 0], *matrix[2])
    if not (np.isfinite(matrix).all() and min(matrix[0, 0], matrix[1, 1]) > 0) or (
        below != (0, 0, 0, 1)
    ):
        raise ValueError(
            "expected a camera matrix [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with positive focal "
            f"lengths, got {matrix.tolist()}"
        )
    return matrix


def _check(depth: np.ndarray, others: dict[str, np.ndarray | None]) -> None:
    if depth.ndim != 2:
        raise ValueError(f"expected a depth map [H, W], got shape {depth.shape}")
    for name, array in others.items():
        if array is not None and array.shape[:2] != depth.shape:
            raise ValueError(
                f"{name} has shape {array.shape}, but the depth map {depth.shape}; heights and "
                "widths must be equal"
            )
    image = others["image"]
    if image is None:
        return
    if (
        image.dtype != np.uint8
        or image.ndim > 3
        or (image.ndim == 3 and image.shape[2] not in (1, 3))
    ):
        raise ValueError(
            "expected a uint8 image [H, W, 3], [H, W, 1] or [H, W], got "
            f"{image.dtype} {image.shape}"
        )
