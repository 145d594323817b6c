"""Splits an untrusted pickle into opcodes and their arguments.

`pickletools` has the table of opcodes. Texts and integers are read here, because its functions
make objects of several times the size of their bytes.
"""

import pickletools
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from fcfrnet_jax.weights.foreign.pickle_nodes import AGAIN, CheckpointError

# Lines are names and numbers, and in protocols 0 and 1 also text.
MAX_LINE = 1 << 16
MAX_INTEGER_BYTES = 64
# Python stores text with a character beyond Latin-1 in 2 or 4 bytes per character.
MAX_WIDE_TEXT = 1 << 20
_LAST_LATIN = 0xC3  # the largest first byte of a Latin-1 character in UTF-8


class BoundedStream:
    """The methods of a file that `pickletools` uses; they refuse to read beyond the end.

    `read(n)` of an ordinary file allocates n bytes before it finds that the file is shorter.
    """

    def __init__(self, file: BinaryIO):
        """Begins at the position of `file`."""
        self._file = file
        self._position = file.tell()
        self.size = file.seek(0, 2)
        file.seek(self._position)

    def tell(self) -> int:
        """The position in the file."""
        return self._position

    def require(self, size: int) -> None:
        """Raises CheckpointError if fewer than `size` bytes are left."""
        if size > self.size - self._position:
            raise CheckpointError(
                f"truncated at byte {self.size}: {size} more bytes were declared; {AGAIN}"
            )

    def read(self, size: int) -> bytes:
        """Reads exactly `size` bytes."""
        self.require(size)
        self._position += size
        return self._file.read(size)

    def readline(self) -> bytes:
        """Reads a line with its end."""
        line = self._file.readline(MAX_LINE)
        self._position += len(line)
        if len(line) == MAX_LINE:
            raise CheckpointError(f"a line of more than {MAX_LINE} bytes")
        if not line.endswith(b"\n"):
            raise CheckpointError(f"truncated at byte {self.size}: a line has no end; {AGAIN}")
        return line


def opcodes(stream: BoundedStream) -> Iterator[tuple[str, Any, int]]:
    """Yields the name, the argument and the position of each opcode, to the first STOP.

    Raises:
      CheckpointError: the file ends before STOP, or holds text or an integer that is too large.
      ValueError: an unknown opcode, or an argument that cannot be decoded.
    """
    name = ""
    while name != "STOP":
        position = stream.tell()
        code = stream.read(1)
        if code not in _OPCODES:
            raise ValueError(f"opcode {code!r} unknown")
        name, read = _OPCODES[code]
        yield name, read(stream) if read else None, position


def _text_of(read_size: Callable[[Any], int]) -> Callable[[BoundedStream], str]:
    def read(stream: BoundedStream) -> str:
        data = stream.read(read_size(stream))
        if len(data) > MAX_WIDE_TEXT and np.frombuffer(data, np.uint8).max() > _LAST_LATIN:
            raise CheckpointError(f"{len(data)} bytes of text with characters beyond Latin-1")
        return str(data, "utf-8", "surrogatepass")

    return read


def _integer_of(read_size: Callable[[Any], int]) -> Callable[[BoundedStream], int]:
    def read(stream: BoundedStream) -> int:
        size = read_size(stream)
        if size < 0:
            raise ValueError(f"an integer of {size} bytes")
        stream.require(size)
        if size > MAX_INTEGER_BYTES:
            raise CheckpointError(f"an integer of {size} bytes")
        return int.from_bytes(stream.read(size), "little", signed=True)

    return read


_READERS: dict[str, Callable[[Any], Any]] = {
    "SHORT_BINUNICODE": _text_of(pickletools.read_uint1),
    "BINUNICODE": _text_of(pickletools.read_uint4),
    "BINUNICODE8": _text_of(pickletools.read_uint8),
    "LONG1": _integer_of(pickletools.read_uint1),
    "LONG4": _integer_of(pickletools.read_int4),
}
_OPCODES = {
    opcode.code.encode("latin-1"): (
        opcode.name,
        _READERS.get(opcode.name, opcode.arg and opcode.arg.reader),
    )
    for opcode in pickletools.opcodes
}
