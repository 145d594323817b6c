"""Scans in `.bin` files: float32 numbers, point after point, as KITTI and nuScenes store them."""

import numpy as np

from fcfrnet_jax.sensors.scans.scan import COLUMNS, Columns, column_names

# No scanner measures farther, in metres.
_FARTHEST = 500.0
# No scanner measures nearer, in metres.
_NEAREST = 0.01
_HIGHEST_RING = 255
_HIGHEST_INTENSITY = 65535
# The share of points that must look as the layout says; a few may be damaged.
_MOST = 0.99


def read_bin(content: bytes, where: str, columns: Columns | None) -> dict[str, np.ndarray]:
    """Returns the columns of a `.bin` file by name.

    Args:
      content: of the file.
      where: the file, for messages.
      columns: as for `read_scan`. By default 4 (x, y, z, intensity) or 5 (ring), whichever fits the
        size of the file and gives plausible values.

    Raises:
      ValueError: the size of the file does not fit, or both or none of 4 and 5 are plausible.
    """
    names = column_names(_detected(content, where) if columns is None else columns, where)
    width = len(names)
    if len(content) % (4 * width):
        raise ValueError(
            f"{where}: has {len(content)} bytes, expected a multiple of {4 * width}, for points "
            f"of {width} float32 numbers ({', '.join(names)}); the file is truncated, or set "
            "columns to what it holds"
        )
    table = np.frombuffer(content, "<f4").reshape(-1, width)
    _check_width(table, names, where)
    return dict(zip(names, table.T, strict=True))


def _check_width(table: np.ndarray, names: tuple[str, ...], where: str) -> None:
    """Raises ValueError if the values are not those of the usual columns, but of one more or less.

    A file of 4 columns may have as many bytes as one of 5.
    """
    width = len(names)
    other = {4: 5, 5: 4}.get(width)
    if other is None or names != COLUMNS[:width] or table.size % other or not table.size:
        return
    if not _is_plausible(table) and _is_plausible(table.reshape(-1, other)):
        raise ValueError(
            f"{where}: as {', '.join(names)}, the values are not plausible, but with {other} "
            f"numbers per point they are; set columns to {other}, or to other names"
        )


def _detected(content: bytes, where: str) -> int:
    """The number of columns: 4 or 5."""
    fitting = [width for width in (4, 5) if len(content) % (4 * width) == 0]
    if not fitting:
        raise ValueError(
            f"{where}: has {len(content)} bytes, expected a multiple of 16 or 20, for points of 4 "
            "or 5 float32 numbers; the file is truncated, or set columns to what it holds"
        )
    if not content:
        return 4
    values = np.frombuffer(content, "<f4")
    plausible = [width for width in fitting if _is_plausible(values.reshape(-1, width))]
    if len(plausible) == 1:
        return plausible[0]
    found = "both 4 and 5" if plausible else "neither 4 nor 5"
    raise ValueError(
        f"{where}: {found} float32 numbers per point give plausible values for its "
        f"{len(content)} bytes, expected x, y, z in metres, intensity and possibly ring; set "
        "columns to what the file holds"
    )


def _is_plausible(table: np.ndarray) -> bool:
    finite = table[np.isfinite(table).all(axis=1)]
    if len(finite) == 0:
        return False
    intensity = finite[:, 3]
    likely = (np.abs(finite[:, :3]) <= _FARTHEST).all(axis=1)
    # Text, integers and doubles give tiny numbers.
    largest = np.abs(finite[:, :3]).max(axis=1)
    likely &= (largest == 0) | (largest >= _NEAREST)
    likely &= (intensity >= 0) & (intensity <= _HIGHEST_INTENSITY)
    if table.shape[1] == 5:
        ring = finite[:, 4]
        likely &= (ring >= 0) & (ring <= _HIGHEST_RING) & (ring == np.rint(ring))
    return bool(likely.mean() >= _MOST)
