"""Reads text files of calibrations as they come from various systems."""

import os
from pathlib import Path

import numpy as np

from fcfrnet_jax.files import not_regular


def read_text(path: str | os.PathLike) -> str:
    """Reads a text file. A byte-order mark and Windows line endings are removed.

    Raises:
      ValueError: the file is not text.
      OSError: it cannot be read.
    """
    fault = not_regular(Path(path))
    if fault:
        raise ValueError(f"{path}: {fault}, expected a text file")
    content = Path(path).read_bytes()
    # Windows editors save "Unicode" as UTF-16 with a byte-order mark.
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not text; restore the file") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_entries(path: str | os.PathLike) -> dict[str, str]:
    """Reads the lines `name: values` of a text file, as KITTI writes them.

    Comments from `#` on are removed. KITTI's tracking benchmark leaves out some of the colons.

    Raises:
      ValueError: the file is not text.
      OSError: it cannot be read.
    """
    entries = {}
    for line in read_text(path).split("\n"):
        line = line.partition("#")[0].strip()
        name, colon, values = line.partition(":")
        # A value such as a time may contain a colon, so that the name must be a single word.
        if not colon or len(name.split()) != 1:
            name, _, values = line.replace("\t", " ").partition(" ")
        if name:
            entries[name.strip()] = values.strip()
    return entries


def numbers(text: str) -> list[float]:
    """The numbers of a line; empty if a word is not a number."""
    try:
        return [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return []


def matrix(text: str, shape: tuple[int, ...], where: str) -> np.ndarray:
    """Returns the numbers of a line as a float64 array, in row-major order.

    Args:
      text: the line.
      shape: of the array.
      where: the file and the name of the entry, for messages.

    Raises:
      ValueError: the line holds another number of numbers, or one that is not finite.
    """
    values = numbers(text)
    expected = int(np.prod(shape))
    if len(values) != expected:
        raise ValueError(
            f"{where} must be {expected} numbers, got {len(values) or repr(text[:40])}; restore "
            "the file"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{where} must be finite numbers, got {text[:80]}; restore the file")
    return np.array(values).reshape(shape)
