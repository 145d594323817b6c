"""Reads `.npy` and `.npz` files whose headers may claim anything."""

import zipfile
from collections.abc import Callable
from typing import IO

import numpy as np

# The largest content of a file, 1 GiB: a scan of 20 million points with 6 float64 columns. A
# compressed file may be a thousand times smaller.
MAX_BYTES = 1 << 30
_NPY, _ZIP = b"\x93NUMPY", b"PK"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class TooLargeError(ValueError):
    """A file has more than `MAX_BYTES`; its name is missing in the message."""


def load(
    stream: IO[bytes], pick: Callable[[list[str]], list[str]] = list
) -> np.ndarray | dict[str, np.ndarray]:
    """Reads the array of a `.npy` file, or those of a `.npz` file by name; nothing is unpickled.

    Args:
      stream: of the file; it must be seekable.
      pick: chooses the names of a `.npz` file to read.

    Raises:
      TooLargeError: there is more than `MAX_BYTES` to read.
      ValueError: another kind of file.
      Exception: NumPy and zipfile raise a dozen kinds for damaged files.
    """
    start = stream.read(len(_NPY))
    size = stream.seek(0, 2)
    stream.seek(0)
    if start == _NPY:
        return _read(stream, size)
    # NumPy takes any other file for a pickle and advises to load it unsafely.
    if not start.startswith(_ZIP):
        raise ValueError("it does not begin like a .npy or .npz file")
    with zipfile.ZipFile(stream) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        picked = {name: members[name] for name in pick([*members])}
        _check_size(sum(info.file_size for info in picked.values()))
        found = {}
        for name, info in picked.items():
            # `zipfile` ends a member after `file_size` bytes, even if more are compressed.
            with archive.open(info) as member:
                found[name] = _read(member, info.file_size)
        return found


def _read(stream: IO[bytes], size: int) -> np.ndarray:
    """Reads an array of at most `size` bytes."""
    _check_size(size)
    read_header = _HEADERS.get(np.lib.format.read_magic(stream))
    if read_header is not None:
        shape, _, dtype = read_header(stream)
        claimed = dtype.itemsize * int(np.prod(shape, dtype=object))
        if claimed > size and not dtype.hasobject:
            raise ValueError(
                f"its header claims {claimed:,} bytes of {dtype} {shape}, it has {size:,}"
            )
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise TooLargeError(
            f"holds {size:,} bytes, more than {MAX_BYTES:,}, the most that are read"
        )
