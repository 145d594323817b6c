"""Scans in PLY files, the Polygon File Format, version 1.0: http://paulbourke.net/dataformats/ply.

The points are the element `vertex`; other elements are skipped.
"""

from typing import NamedTuple

import numpy as np

from fcfrnet_jax.sensors.scans.scan import Columns

_TYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class _Element(NamedTuple):
    """Its properties as (name, type); the type of a list is None."""

    name: str
    rows: int
    properties: list[tuple[str, str | None]]


def read_ply(content: bytes, where: str, _: Columns | None = None) -> dict[str, np.ndarray]:
    """Returns the properties of the vertices of a PLY file by name.

    Args:
      content: of the file.
      where: the file, for messages.

    Raises:
      ValueError: the header is damaged, there are lists in or before the vertices of a binary file,
        or the file is shorter than the header says.
    """
    header, found, data = content.partition(b"end_header")
    try:
        if not found:
            raise ValueError("there is no end_header")
        order, elements = _parse_header(header.decode("latin-1"))
        names = [element.name for element in elements]
        if "vertex" not in names:
            raise ValueError(f"the elements are {', '.join(names) or 'none'}")
        before, vertex = elements[: names.index("vertex")], elements[names.index("vertex")]
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(
            f"{where}: the header is not that of a PLY file with vertices ({error}); write the "
            "file again"
        ) from error
    data = data.partition(b"\n")[2]
    if order == "":
        return _ascii_fields(data, before, vertex, where)
    return _binary_fields(data, before, vertex, order, where)


def _parse_header(text: str) -> tuple[str, list[_Element]]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != ["ply"]:
        raise ValueError("it does not start with ply")
    order, elements = None, list[_Element]()
    for key, *words in lines[1:]:
        if key == "format":
            order = _ORDERS[words[0]]
        elif key == "element":
            elements.append(_Element(words[0], int(words[1]), []))
        elif key == "property":
            kind = None if words[0] == "list" else _TYPES[words[0]]
            elements[-1].properties.append((words[-1], kind))
    if order is None:
        raise ValueError("there is no format")
    for name, rows, properties in elements:
        names = {name for name, _ in properties}
        if rows < 0 or not names or len(names) < len(properties):
            found = ", ".join(name for name, _ in properties) or "none"
            raise ValueError(f"the element {name} has {rows} rows and the properties {found}")
    return order, elements


def _ascii_fields(
    data: bytes, before: list[_Element], vertex: _Element, where: str
) -> dict[str, np.ndarray]:
    # Refuses lists, although their length is known here.
    _row_type(vertex, "<", where)
    skipped = sum(element.rows for element in before)
    lines = [line for line in data.split(b"\n") if line.strip()][skipped:]
    rows = [line.split() for line in lines[: vertex.rows]]
    width = len(vertex.properties)
    wrong = next((i for i, row in enumerate(rows) if len(row) != width), None)
    if wrong is not None:
        raise ValueError(
            f"{where}: vertex {wrong} has {len(rows[wrong])} numbers, expected {width}; restore "
            "the file or write it again"
        )
    _check_count(len(rows), vertex, where)
    try:
        table = np.array(rows, dtype=np.bytes_).astype(np.float64).reshape(-1, width)
    except ValueError as error:
        raise ValueError(
            f"{where}: holds a word that is not a number ({error}); restore the file"
        ) from error
    return {name: table[:, i] for i, (name, _) in enumerate(vertex.properties)}


def _binary_fields(
    data: bytes, before: list[_Element], vertex: _Element, order: str, where: str
) -> dict[str, np.ndarray]:
    offset = sum(_row_type(element, order, where).itemsize * element.rows for element in before)
    row = _row_type(vertex, order, where)
    complete = max(0, len(data) - offset) // row.itemsize
    _check_count(min(complete, vertex.rows), vertex, where)
    table = np.frombuffer(data, row, count=vertex.rows, offset=offset if vertex.rows else 0)
    return {name: table[name] for name, _ in vertex.properties}


def _row_type(element: _Element, order: str, where: str) -> np.dtype:
    fields = []
    for name, kind in element.properties:
        if kind is None:
            raise ValueError(
                f"{where}: the element {element.name} has the list {name}, expected single numbers "
                "up to the end of the vertices; write the points without lists"
            )
        fields.append((name, order + kind))
    return np.dtype(fields)


def _check_count(found: int, vertex: _Element, where: str) -> None:
    if found < vertex.rows:
        raise ValueError(
            f"{where}: has {found} complete vertices, expected {vertex.rows} as in its header; "
            "restore the file or write it again"
        )
