"""Atomic writing of files, the cache folder, and the wording of messages."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def describe(error: Exception) -> str:
    """One line for the user: what went wrong, and with which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def cache_dir() -> Path:
    """The folder for data that can be recreated: `fcfrnet_jax` in `$XDG_CACHE_HOME` or `~/.cache`.

    Raises:
      RuntimeError: the user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcfrnet_jax"


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """Returns the sorted names whose values differ; a missing value counts as None."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def list_some(items: Sequence[object], limit: int = 3) -> str:
    """Lists the first items and counts the rest: `a, b, c and 7 more`."""
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(str(item) for item in items[:limit]) + rest


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path; the file or folder written there replaces `path` without an error.

    The temporary path is in the same folder and has the same suffix, from which image writers
    choose their format. Missing parent folders are created. After an error, the temporary file is
    removed and `path` is unchanged. If `path` is a folder, it must be empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON. Raises ValueError for NaN and infinity, which JSON lacks."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
