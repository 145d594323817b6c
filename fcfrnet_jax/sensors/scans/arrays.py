"""Scans in `.npy` and `.npz` files."""

import io
from collections.abc import Mapping

import numpy as np

from fcfrnet_jax import numpy_files
from fcfrnet_jax.sensors.scans.scan import COLUMNS, Columns, column_names


def read_npy(content: bytes, where: str, columns: Columns | None) -> dict[str, np.ndarray]:
    """Returns the columns of a `.npy` file by name.

    Raises:
      ValueError: the file is damaged, or its array does not hold points.
    """
    return _columns(_load(content, where), where, columns)


def read_npz(content: bytes, where: str, columns: Columns | None) -> dict[str, np.ndarray]:
    """Returns the columns of a `.npz` file by name.

    It holds one array of points, possibly with further arrays `[N]` such as intensity, or arrays
    `[N]` named x, y, z.

    Raises:
      ValueError: the file is damaged, or has no array or several arrays that may be the points.
    """
    loaded = _load(content, where)
    if isinstance(loaded, np.ndarray):
        raise ValueError(f"{where}: holds a single array without a name; name the file .npy")
    tables = [name for name, array in loaded.items() if array.ndim == 2 or array.dtype.names]
    fields = {name: array for name, array in loaded.items() if array.ndim == 1}
    fields = {name: array for name, array in fields.items() if not array.dtype.names}
    if len(tables) > 1:
        raise ValueError(
            f"{where}: the arrays {', '.join(tables)} may all be the points, expected one array "
            "[N, 3] or wider; save the points alone"
        )
    if tables:
        fields |= _columns(loaded[tables[0]], where, columns)
    return fields


def _load(content: bytes, where: str) -> np.ndarray | Mapping[str, np.ndarray]:
    """The array of a `.npy` file, or those of a `.npz` file by name."""
    # NumPy takes any other file for a pickle and advises to load it unsafely.
    if not content.startswith((b"\x93NUMPY", b"PK")):
        raise ValueError(
            f"{where}: is not a NumPy file, expected what numpy.save or numpy.savez writes; name "
            "the file by its format, or restore it"
        )
    try:
        return numpy_files.load(io.BytesIO(content))
    except numpy_files.TooLargeError as error:
        raise ValueError(f"{where}: {error}") from error
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for damaged files.
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{where}: cannot be read as NumPy arrays ({reason}); the file is truncated, or it was "
            "not saved by numpy.save or numpy.savez"
        ) from error


def _columns(
    loaded: np.ndarray | Mapping[str, np.ndarray], where: str, columns: Columns | None
) -> dict[str, np.ndarray]:
    if not isinstance(loaded, np.ndarray):
        raise ValueError(f"{where}: holds several arrays, expected one; name the file .npz")
    if loaded.dtype.names:
        return {name: loaded[name].ravel() for name in loaded.dtype.names}
    if loaded.ndim != 2 or loaded.dtype.kind not in "fiu":
        raise ValueError(
            f"{where}: holds {loaded.dtype} of shape {list(loaded.shape)}, expected numbers of "
            "shape [N, 3] or wider; save one row per point"
        )
    width = loaded.shape[1]
    if columns is None and not 3 <= width <= len(COLUMNS):
        hint = "transpose the array" if loaded.shape[0] <= len(COLUMNS) else "set columns"
        raise ValueError(
            f"{where}: has shape {list(loaded.shape)}, expected [N, 3] to [N, {len(COLUMNS)}], "
            f"one row per point with {', '.join(COLUMNS)}; {hint}"
        )
    names = column_names(width if columns is None else columns, where)
    if len(names) != width:
        raise ValueError(
            f"{where}: has {width} columns, but columns lists {len(names)} "
            f"({', '.join(names)}); set columns to what the file holds"
        )
    return dict(zip(names, loaded.T, strict=True))
