"""Writes ArrayRecord files, and reads their records in place.

Without compression, the bytes of a record lie one after the other in the file, only interrupted by
a header at every block of 64 KiB (github.com/google/riegeli, doc/riegeli_records_file_format.md).
Reading them takes 0.6 of the time that the reader of the package needs. `array_record` is imported
when a file is written.
"""

import errno
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcfrnet_jax.data.encodings.image_headers import deflate
from fcfrnet_jax.files import version_order
from fcfrnet_jax.system_errors import check_text, system_error

_BLOCK, _HEADER = 1 << 16, 24
_BODY = _BLOCK - _HEADER
# One record per chunk, as random access needs.
_OPTIONS = "group_size:1,uncompressed"
# How far after the end of one record the next one begins; it is after the header of a chunk.
_REACH = 1024
_PREFIX = 256


@dataclass(frozen=True)
class Span:
    """Where a record is.

    Attributes:
      start: position of its first byte, without counting the headers of blocks.
      length: in bytes.
      checksum: the CRC-32 of its bytes.
    """

    start: int
    length: int
    checksum: int


def write(path: Path, records: Iterable[bytes]) -> list[Span]:
    """Writes records to a file, and finds them again in it.

    Raises:
      ValueError: a record is not found, because the package writes another format.
      OSError: the file cannot be written.
    """
    written = []
    with _writer(path) as write_record:
        for record in records:
            write_record(record)
            written.append((record[:_PREFIX], len(record), checksum(record)))
    spans: list[Span] = []
    end = 0
    for prefix, length, crc in written:
        start = end + _bytes_after(path, end).find(prefix)
        span = Span(start, length, crc)
        if start < end or checksum(read(path, start, length)) != crc:
            version = importlib.metadata.version("array_record")
            raise ValueError(
                f"{path}: record {len(spans)} is not found in the file that array_record {version} "
                "wrote; install array_record==0.8.6"
            )
        spans.append(span)
        end = start + length
    return spans


@contextmanager
def _writer(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Yields the function that appends a record to a new file."""
    from array_record.python.array_record_module import ArrayRecordWriter

    def checked(call: Callable[..., None], *arguments: bytes) -> None:
        try:
            call(*arguments)
        except RuntimeError as error:
            # "write() failed: No space left on device; writing ..."
            reason = str(error).partition(";")[0].removeprefix("write() failed: ")
            raise OSError(system_error(error) or errno.EIO, reason, os.fspath(path)) from error

    check_text(path)
    writer = ArrayRecordWriter(os.fspath(path), _OPTIONS)
    try:
        yield lambda record: checked(writer.write, record)
    except BaseException:
        with suppress(RuntimeError):
            writer.close()
        raise
    checked(writer.close)


def read(path: Path, start: int, length: int) -> np.ndarray:
    """Reads the bytes of a record, uint8 `[length]`; the arguments are those of a `Span`.

    Raises:
      ValueError: the file ends before. The message continues a sentence that begins with the name
        of the record.
      OSError: the file cannot be read.
    """
    block, lead = divmod(start, _BODY)
    last, end = divmod(start + length - 1, _BODY)
    begin = block * _BLOCK + _HEADER + lead
    size = last * _BLOCK + _HEADER + end + 1 - begin
    with open(path, "rb", buffering=0) as file:
        file.seek(begin)
        data = file.read(size)
    if len(data) < size:
        raise ValueError(f"is truncated: the file has {size - len(data)} bytes less")
    found = np.frombuffer(data, np.uint8)
    return found if block == last else _without_headers(found, _BODY - lead, length)


def read_checked(path: Path, span: Span) -> np.ndarray:
    """Reads a record and verifies its checksum, uint8 `[length]`.

    Raises:
      ValueError: the record cannot be read or is damaged. The message continues a sentence that
        begins with the name of the record.
    """
    try:
        record = read(path, span.start, span.length)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    if checksum(record) != span.checksum:
        raise ValueError(f"is damaged: its checksum is wrong; {remedy(path)}")
    return record


def remedy(shard: Path) -> str:
    """What to do about a damaged or missing shard, or its index. All others are kept."""
    folder = shard.parent.name
    # Only there does a build look for shards.
    if not version_order(folder):
        return "restore it from a copy, or build the shards again"
    return (
        f"restore it from a copy, or rename {folder} to {folder}.building, delete {shard.name}* "
        "there, and build the shards again, which keeps the others"
    )


def checksum(data: bytes | np.ndarray) -> int:
    """The CRC-32 of a record."""
    return deflate.crc32(data)


def _without_headers(data: np.ndarray, head: int, length: int) -> np.ndarray:
    """Copies data without the headers of blocks.

    Args:
      data: uint8 `[N]`.
      head: the number of bytes before the first header.
      length: of the copy.
    """
    copy = np.empty(length, np.uint8)
    copy[:head] = data[:head]
    whole = (len(data) - head) // _BLOCK
    tail = head + whole * _BLOCK
    middle = copy[head : head + whole * _BODY].reshape(whole, _BODY)
    middle[:] = data[head:tail].reshape(whole, _BLOCK)[:, _HEADER:]
    copy[head + whole * _BODY :] = data[tail + _HEADER :]
    return copy


def _bytes_after(path: Path, start: int) -> bytes:
    """Up to `_REACH` bytes of the content, as far as the file has them."""
    last = os.path.getsize(path)
    length = last // _BLOCK * _BODY + max(last % _BLOCK - _HEADER, 0) - start
    return read(path, start, min(_REACH, length)).tobytes() if length > 0 else b""
