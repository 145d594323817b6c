"""One scan of a LiDAR scanner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# What the usual drivers and tools call the columns, in lower case.
_NAMES = {
    "x": ("x",),
    "y": ("y",),
    "z": ("z",),
    "intensity": ("intensity", "i", "reflectivity", "reflectance", "scalar_intensity"),
    "ring": ("ring", "channel", "laser_id", "line"),
    "time": ("time", "t", "timestamp", "time_offset", "offset_time"),
}
# The meaning of the columns of a plain array.
COLUMNS = ("x", "y", "z", "intensity", "ring", "time")
# `columns` of a file without names: their number, or their names.
Columns = int | Sequence[str]


@dataclass(frozen=True, eq=False)
class Scan:
    """The points of one scan.

    Attributes:
      points: float32 `[N, 3]` metres in the scanner's frame, all finite, N >= 1.
      intensity: float32 `[N]` in the unit of the file, or None.
      ring: int32 `[N]`, the beam of each point as numbered in the file, or None.
      time: float64 `[N]` in the unit of the file, or None.
      dropped: how many points of the file were left out because a coordinate was not finite, or
        because all three were 0, which is how drivers mark missing echoes.
    """

    points: np.ndarray
    intensity: np.ndarray | None = None
    ring: np.ndarray | None = None
    time: np.ndarray | None = None
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.points)


def make_scan(fields: Mapping[str, np.ndarray], where: str) -> Scan:
    """Makes a scan from the columns of a file, and drops missing points.

    Args:
      fields: columns `[N]` by their names in the file. Unknown names are ignored.
      where: the file, for messages.

    Raises:
      ValueError: x, y or z is missing, columns are no numbers or have different lengths, or no
        point is left.
    """
    columns = _known(fields)
    missing = [axis for axis in "xyz" if axis not in columns]
    if missing:
        found = ", ".join(fields) or "none"
        raise ValueError(
            f"{where}: the columns are {found}, expected x, y and z among them; "
            "rename the columns of the file"
        )
    types = {name: column.dtype for name, column in columns.items()}
    wrong = [f"{name} of type {kind}" for name, kind in types.items() if kind.kind not in "fiumM"]
    if wrong:
        raise ValueError(
            f"{where}: the columns must be numbers, got {', '.join(wrong)}; write the scan again"
        )
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"{where}: the columns must have equal lengths, got {listed}; write the scan again"
        )
    with np.errstate(over="ignore"):
        points = np.stack([columns[axis] for axis in "xyz"], axis=1).astype(np.float32)
    # Not any(), which warns about some kinds of NaN.
    kept = np.isfinite(points).all(axis=1) & (points != 0).any(axis=1)
    if not len(points):
        raise ValueError(f"{where}: the scan is empty, expected at least one point; leave it out")
    if not kept.any():
        raise ValueError(
            f"{where}: all {len(points)} points are NaN, infinite or (0, 0, 0), expected at least "
            "one measured point; leave the scan out"
        )
    kinds = {"intensity": np.float32, "ring": np.int32, "time": np.float64}
    with np.errstate(invalid="ignore"):
        others = {
            name: columns[name][kept].astype(kind)
            for name, kind in kinds.items()
            if name in columns
        }
    return Scan(points[kept], **others, dropped=int(len(points) - kept.sum()))


def column_names(columns: Columns, where: str) -> tuple[str, ...]:
    """Returns the names of the columns of a plain array.

    Args:
      columns: the names, or their number, 3 to 6, for the first ones of `COLUMNS`.
      where: the file, for messages.

    Raises:
      ValueError: another number, no names, or a name twice.
    """
    if isinstance(columns, int):
        if not 3 <= columns <= len(COLUMNS):
            raise ValueError(
                f"{where}: columns must be 3 to {len(COLUMNS)} or the names of the columns, got "
                f"{columns}"
            )
        return COLUMNS[:columns]
    names = () if isinstance(columns, str) or not isinstance(columns, Sequence) else tuple(columns)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"{where}: columns must be a number or names in order such as ('x', 'y', 'z'), "
            f"got {columns!r}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{where}: columns has a name twice: {', '.join(names)}")
    return names


def _known(fields: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns with a known meaning, by our names; of synonyms, the first counts."""
    lower = {name.lower(): column for name, column in fields.items()}
    known = {}
    for ours, synonyms in _NAMES.items():
        found = [lower[name] for name in synonyms if name in lower]
        if found:
            known[ours] = np.asarray(found[0])
    return known
