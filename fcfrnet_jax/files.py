"""Files that are written whole or not at all, and how messages name things."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def describe(error: Exception) -> str:
    """One line for a person: what went wrong, and with which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]}"
    return str(error) or type(error).__name__


def cache_dir() -> Path:
    """The folder for what can be made again: `fcfrnet_jax` in `$XDG_CACHE_HOME`, or `~/.cache`.

    Raises:
      RuntimeError: this user has no home folder.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fcfrnet_jax"


def list_some(items: Sequence[object], limit: int = 3) -> str:
    """Names the first items and counts the rest: `a, b, c and 7 more`."""
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(str(item) for item in items[:limit]) + rest


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a name beside `path` for a file or folder that takes its place when all went well.

    The sibling keeps the suffix, from which image writers choose their format. Missing parent
    folders are made. On an error the sibling is removed and what stood at `path` stays. A folder
    at `path` must be empty.
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
    """Writes `value` as indented JSON. NaN and infinity are refused: they are not JSON."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
