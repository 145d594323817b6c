"""Scans in PCD files of the Point Cloud Library, version 0.7 and older.

The format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html. In a
binary_compressed file the fields follow one another, each for all points, compressed by LZF.
"""

from dataclasses import dataclass

import numpy as np

from fcfrnet_jax.sensors.scans.lzf import decompress
from fcfrnet_jax.sensors.scans.scan import Columns

_KINDS = {"F": "f", "I": "i", "U": "u"}
_SIZES = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}
_STORED = ("ascii", "binary", "binary_compressed")


@dataclass(frozen=True)
class _Header:
    """The fields of the points as (name, type, values per point), and how they are stored."""

    fields: list[tuple[str, str, int]]
    points: int
    stored: str
    size: int

    @property
    def point_size(self) -> int:
        return sum(np.dtype(kind).itemsize * count for _, kind, count in self.fields)


def read_pcd(content: bytes, where: str, _: Columns | None = None) -> dict[str, np.ndarray]:
    """Returns the fields of a PCD file by name; fields with several values per point are left out.

    Args:
      content: of the file.
      where: the file, for messages.

    Raises:
      ValueError: the header is damaged, or the data are not as long as the header says.
    """
    header = _read_header(content, where)
    data = content[header.size :]
    if header.stored == "ascii":
        return _ascii_fields(data, header, where)
    if header.stored == "binary" or header.points == 0:
        _check_size(data, header, where)
        return _interleaved_fields(data, header)
    return _compressed_fields(data, header, where)


def _read_header(content: bytes, where: str) -> _Header:
    entries: dict[str, list[str]] = {}
    start = 0
    while "DATA" not in entries:
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else None].decode("latin-1")
        words = line.partition("#")[0].split()
        if words:
            entries[words[0].upper()] = words[1:]
        start = end + 1
        # A header is a dozen lines; without this limit, a binary file is searched to its end.
        if end < 0 or len(entries) > 30:
            break
    try:
        return _parse_header(entries, start)
    except (KeyError, ValueError, IndexError) as error:
        raise ValueError(
            f"{where}: the header is not that of a PCD file ({error}), expected FIELDS, SIZE, "
            f"TYPE, POINTS and DATA ({', '.join(_STORED)}); write the file again"
        ) from error


def _parse_header(entries: dict[str, list[str]], size: int) -> _Header:
    stored = entries["DATA"][0].lower()
    if stored not in _STORED:
        raise ValueError(f"DATA is {stored}")
    names = entries.get("FIELDS") or entries["COLUMNS"]
    sizes, kinds = [int(word) for word in entries["SIZE"]], entries["TYPE"]
    twice = [axis for axis in "xyz" if names.count(axis) > 1]
    if twice:
        raise ValueError(f"the field {twice[0]} appears twice")
    counts = [int(word) for word in entries.get("COUNT", ["1"] * len(names))]
    if not len(names) == len(sizes) == len(kinds) == len(counts):
        raise ValueError("FIELDS, SIZE, TYPE and COUNT have different lengths")
    fields = []
    for name, width, kind, count in zip(names, sizes, kinds, counts, strict=True):
        if width not in _SIZES[kind.upper()] or count < 1:
            raise ValueError(f"{name} has type {kind}, size {width}, count {count}")
        fields.append((name, f"<{_KINDS[kind.upper()]}{width}", count))
    if "POINTS" in entries:
        points = int(entries["POINTS"][0])
    else:
        points = int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])
    if points < 0:
        raise ValueError(f"POINTS is {points}")
    return _Header(fields, points, stored, size)


def _check_size(data: bytes, header: _Header, where: str) -> None:
    expected = header.points * header.point_size
    # Some writers end the file with a line break.
    if len(data) < expected or data[expected:].strip(b"\r\n\0"):
        raise ValueError(
            f"{where}: has {len(data)} bytes of points, expected {expected} for the "
            f"{header.points} points of {header.point_size} bytes in its header; restore the file "
            "or write it again"
        )


def _ascii_fields(data: bytes, header: _Header, where: str) -> dict[str, np.ndarray]:
    words = data.split()
    width = sum(count for _, _, count in header.fields)
    if len(words) != header.points * width:
        raise ValueError(
            f"{where}: has {len(words)} numbers, expected {header.points * width} for the "
            f"{header.points} points of {width} numbers in its header; restore the file or write "
            "it again"
        )
    try:
        table = np.array(words, dtype=np.bytes_).astype(np.float64).reshape(-1, width)
    except ValueError as error:
        raise ValueError(
            f"{where}: holds a word that is not a number ({error}); restore the file"
        ) from error
    fields, column = {}, 0
    for name, _, count in header.fields:
        if count == 1:
            fields[name] = table[:, column]
        column += count
    return fields


def _interleaved_fields(data: bytes, header: _Header) -> dict[str, np.ndarray]:
    # The names of padding fields, "_", may be equal, so that the fields are numbered.
    kinds = [(str(i), kind, (count,)) for i, (_, kind, count) in enumerate(header.fields)]
    table = np.frombuffer(data, np.dtype(kinds), count=header.points)
    return {
        name: table[str(i)][:, 0] for i, (name, _, count) in enumerate(header.fields) if count == 1
    }


def _compressed_fields(data: bytes, header: _Header, where: str) -> dict[str, np.ndarray]:
    compressed, size = np.frombuffer(data[:8].ljust(8, b"\0"), "<u4").tolist()
    expected = header.points * header.point_size
    if len(data) < 8 + compressed or size != expected:
        raise ValueError(
            f"{where}: has {max(0, len(data) - 8)} bytes of compressed points, expected "
            f"{compressed}, which decompress to {size} bytes, expected {expected} for the "
            f"{header.points} points in its header; restore the file or write it again"
        )
    try:
        data = decompress(data[8 : 8 + compressed], size)
    except ValueError as error:
        raise ValueError(
            f"{where}: the compressed points are damaged ({error}); restore the file"
        ) from error
    fields, offset = {}, 0
    for name, kind, count in header.fields:
        values = np.frombuffer(data, kind, count=header.points * count, offset=offset)
        if count == 1:
            fields[name] = values
        offset += values.nbytes
    return fields
