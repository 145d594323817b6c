"""Reads a scan in any of the supported formats."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fcfrnet_jax.files import not_regular
from fcfrnet_jax.sensors.scans import arrays, floats, pcd, ply
from fcfrnet_jax.sensors.scans.scan import Columns, Scan, make_scan

# They take the content of the file, its path for messages, and `columns`.
READERS: dict[str, Callable[[bytes, str, Columns | None], dict[str, np.ndarray]]] = {
    ".bin": floats.read_bin,
    ".npy": arrays.read_npy,
    ".npz": arrays.read_npz,
    ".pcd": pcd.read_pcd,
    ".ply": ply.read_ply,
}
# The formats whose columns have no names.
NAMELESS = (".bin", ".npy", ".npz")


def read_scan(path: str | os.PathLike, *, columns: Columns | None = None) -> Scan:
    """Reads a scan from a .bin, .npy, .npz, .pcd or .ply file.

    Points with coordinates that are not finite, or all 0, are dropped and counted.

    Args:
      path: the file. `.bin` holds little-endian float32 numbers, point after point. `.npy` holds an
        array `[N, 3]` or wider, or a structured array. `.npz` holds such an array, or arrays named
        x, y, z and possibly intensity, ring and time. `.pcd` may be ascii, binary or
        binary_compressed, `.ply` ascii or binary, with any order and types of the fields.
      columns: for files whose columns have no names: their number, for the first of x, y, z,
        intensity, ring, time; or the names in order, where other names are ignored. By default
        `.bin` has 4 or 5 columns, detected from the values, and arrays have 3 to 6.

    Raises:
      ValueError: the file is missing, unreadable, truncated or empty, does not hold points, or the
        number of its columns is unclear. The message is one line that starts with the path.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(
            f"{path}: the suffix is {suffix or 'empty'}, expected one of {', '.join(READERS)}; "
            "convert the scan to one of these formats"
        )
    if columns is not None and suffix not in NAMELESS:
        raise ValueError(
            f"{path}: the columns of a {suffix} file have names, so columns must be None, got "
            f"{columns}"
        )
    fault = not_regular(path)
    if fault:
        raise ValueError(f"{path}: {fault}, expected a file; check the path")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    return make_scan(READERS[suffix](content, str(path), columns), str(path))
