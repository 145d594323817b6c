"""Opens an untrusted zip archive, in time and memory that its size bounds."""

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from fcfrnet_jax.weights.foreign.pickle_nodes import AGAIN, CheckpointError, printable_name

# PyTorch writes about 100 bytes per tensor into the directory, and `zipfile` makes an object of
# about 600 bytes from an entry of 46 bytes or more.
MAX_DIRECTORY = 1 << 20
# `zipfile` splits the extra field of an entry in quadratic time; PyTorch writes none there.
MAX_EXTRA = 1 << 10
_ENTRY = struct.Struct("<4s24x3H12x")  # signature, lengths of the name, extra field and comment
_BROKEN_ZIP = (
    zipfile.BadZipFile, RuntimeError, EOFError, LookupError, struct.error, ValueError,
    OverflowError, OSError,
)  # fmt: skip


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Opens a zip archive; `file` must stay open.

    Raises:
      CheckpointError: a damaged archive, or one whose directory is too large.
    """
    reader = _DirectoryReader(file)
    with zip_errors():
        archive = zipfile.ZipFile(reader)
    reader.opening = False
    return archive


def check_entries(archive: zipfile.ZipFile, size: int) -> None:
    """Refuses archives that expand: compressed, encrypted or overlapping entries."""
    entries = archive.infolist()
    if len({entry.filename for entry in entries}) != len(entries):
        raise CheckpointError("a zip archive with two entries of the same name")
    stored = all(
        entry.compress_type == zipfile.ZIP_STORED
        and entry.compress_size == entry.file_size
        and not entry.flag_bits & 1
        for entry in entries
    )
    if not stored or sum(entry.file_size for entry in entries) > size:
        raise CheckpointError("a zip archive with compressed, encrypted or overlapping entries")


class _DirectoryReader(io.RawIOBase):
    """A file that lets `zipfile` read only a directory of the usual size while it opens an archive.

    `zipfile` reads the whole directory at once and then makes an object for each entry.
    """

    def __init__(self, file: BinaryIO):
        self.opening = True
        self._file = file
        self._size = file.seek(0, 2)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        left = max(self._size - self._file.tell(), 0)
        size = min(size, left) if size >= 0 else left
        if self.opening and size > MAX_DIRECTORY:
            raise CheckpointError(
                f"a zip archive whose directory has more than {MAX_DIRECTORY} bytes"
            )
        data = self._file.read(size)
        if self.opening:
            _check_directory(data)
        return data


def _check_directory(data: bytes) -> None:
    position = 0
    while len(data) - position >= _ENTRY.size:
        signature, name, extra, comment = _ENTRY.unpack_from(data, position)
        if signature != b"PK\1\2":
            return
        if extra > MAX_EXTRA:
            raise CheckpointError(f"a zip archive with an extra field of {extra} bytes")
        position += _ENTRY.size + name + extra + comment


@contextmanager
def zip_errors() -> Iterator[None]:
    """Turns every error that `zipfile` raises for a damaged archive into a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except _BROKEN_ZIP as error:
        reason = printable_name(error)
        raise CheckpointError(f"damaged zip archive: {reason}; {AGAIN}") from error
