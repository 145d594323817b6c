"""Atomic writing of files, JSON, the cache folder, and the wording of messages."""

import ctypes
import errno
import hashlib
import json
import math
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fcfrnet_jax.text import printable

# The names that `temporary_path` makes, with the ending that older versions gave to old models.
_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.[0-9a-f]{32}(?P<suffix>\.[^.]+)?(\.old)?")
# Far more levels than any of our files has, and less than Python's functions can recurse.
_DEEPEST = 100
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # Linux' <fcntl.h> and <stdio.h>


def describe(error: BaseException) -> str:
    """One line for the user: what went wrong, and with which file."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{printable(error.filename)}: {error.strerror}"
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


def not_regular(path: Path) -> str:
    """Says what exists at a path if it is no file, such as "is a folder"; otherwise "".

    Pipes and devices would be read forever.
    """
    if path.is_file() or not path.exists():
        return ""
    return "is a folder" if path.is_dir() else "is a pipe or device"


def list_some(items: Sequence[object], limit: int = 3, separator: str = ", ") -> str:
    """Lists the first items and counts the rest: `a, b, c and 7 more`."""
    rest = f" and {len(items) - limit} more" if len(items) > limit else ""
    return separator.join(str(item) for item in items[:limit]) + rest


def count_of(number: int, noun: str) -> str:
    """A number and a noun, such as "1 file" and "1,000 files"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def version_order(name: str) -> tuple[int, ...]:
    """The numbers of a version such as `1.0.10`, by which versions are sorted; () for others."""
    parts = name.split(".")
    return tuple(map(int, parts)) if all(map(str.isdecimal, parts)) else ()


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path; the file or folder written there replaces `path` without an error.

    The temporary path is in the same folder and has the same suffix, from which image writers
    choose their format. Missing parent folders are created. After an error, the temporary file is
    removed and `path` is unchanged. If `path` is a folder, it must be empty. After a power cut,
    `path` is the old or the new file, complete.

    Raises:
      OSError: what failed, with `path` as its file where the system names none.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except OSError as error:
        place = _in_place(error.filename, temporary, path)
        if place is None or (error.errno is None and type(error) is not OSError):
            raise
        # NumPy counts the items that a full disk took, without an errno.
        reason = error.strerror or f"the disk seems to be full ({error})"
        raise OSError(error.errno or errno.ENOSPC, reason, place) from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def _in_place(name: object, temporary: Path, path: Path) -> str | None:
    """The name that a temporary file, or a file in a temporary folder, gets in the end."""
    if name is None:
        return os.fspath(path)
    if not isinstance(name, str) or not Path(name).is_relative_to(temporary):
        return None
    return os.fspath(path / Path(name).relative_to(temporary))


def temporary_path(path: Path) -> Path:
    """Returns an unused hidden name beside `path`, which `is_temporary` recognises."""
    return path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")


def is_temporary(path: Path, target: Path | None = None) -> bool:
    """Returns whether a path is named like a temporary file of ours, for `target` if given."""
    match = _TEMPORARY.fullmatch(path.name)
    if match is None or target is None:
        return match is not None
    return match["stem"] == target.stem and (match["suffix"] or "") in (target.suffix, ".old")


def remove_temporaries(path: Path) -> None:
    """Removes the temporary files and folders for `path` that killed processes have left.

    The caller must hold a lock: temporary files of other processes would be removed too.
    """
    if path.parent.is_dir():
        for found in path.parent.iterdir():
            if is_temporary(found, path):
                remove(found)


def remove(path: Path) -> None:
    """Removes a file or a folder. A folder disappears in one step; a link is not followed."""
    if path.is_dir() and not path.is_symlink():
        if not is_temporary(path):
            path = path.rename(temporary_path(path))
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: str | os.PathLike) -> None:
    """Waits until a file, or the list of names in a folder, is on disk (`fsync`)."""
    # Windows cannot open folders, and some network file systems cannot synchronise them.
    with suppress(PermissionError, *((OSError,) if os.path.isdir(path) else ())):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def exchange(one: str | os.PathLike, other: str | os.PathLike) -> None:
    """Swaps two files, folders or links of the same file system in one step.

    Raises:
      OSError: one of them is missing, or the system or the file system cannot do this: it needs
        Linux and a local file system such as ext4, XFS, Btrfs or tmpfs.
    """
    library = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    rename = getattr(library, "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(one))
    sys.audit("fcfrnet_jax.exchange", os.fspath(one), os.fspath(other))
    paths = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def parse_json(data: bytes) -> dict[str, Any]:
    """Parses a JSON object.

    Raises:
      ValueError: not UTF-8, not JSON, or another value. The message continues a sentence that
        begins with the name of the file.
    """
    if not data.strip():
        raise ValueError("is empty, expected a JSON object")
    try:
        found = json.loads(
            # Editors on Windows write a byte order mark.
            data.decode("utf-8-sig"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"is not valid JSON: byte {error.start} is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"is not valid JSON at {where}") from error
    except ValueError as error:  # a constant, or more digits than Python converts
        raise ValueError("is not valid JSON: it holds a number that cannot be read") from error
    except RecursionError as error:
        raise ValueError("is not valid JSON: it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"holds a JSON {type(found).__name__}, expected an object")
    if _is_deeper(found, _DEEPEST):
        raise ValueError("is not valid JSON: it is nested too deeply")
    return found


def read_json(path: str | os.PathLike, remedy: str, *, sealed: bool = False) -> dict[str, Any]:
    """Reads a file that holds a JSON object.

    Args:
      path: the file.
      remedy: the end of the error message, what to do with a damaged file.
      sealed: the object has the digest of `with_digest`, which is checked and removed.

    Raises:
      ValueError: a folder, or a damaged file.
      OSError: the file cannot be read.
    """
    path = Path(path)
    fault = not_regular(path)
    if fault:
        raise ValueError(f"{path}: {fault}, expected a JSON file; {remedy}")
    try:
        found = parse_json(path.read_bytes())
        return without_digest(found) if sealed else found
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from error


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns JSON values with the entry `digest`, a checksum of the others (BLAKE2b, 128 bits).

    White space and the order of the entries do not change it. Tuples become lists, and keys become
    strings, as when the record is read back.

    Raises:
      ValueError: a value that JSON does not have.
    """
    try:
        record = json.loads(json.dumps(dict(record), allow_nan=False))
    except TypeError as error:
        raise ValueError(f"cannot be stored as JSON: {error}") from error
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return {**record, "digest": hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}


def without_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """Checks the digest of `with_digest`, and removes it.

    Raises:
      ValueError: the record has no digest, or another one. The message continues a sentence that
        begins with the name of the file.
    """
    rest = {name: value for name, value in record.items() if name != "digest"}
    try:
        intact = with_digest(rest)["digest"] == record.get("digest")
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not intact:
        raise ValueError("does not match its checksum, so it is damaged or was edited")
    return rest


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested in more than a number of levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in inner)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large for a float")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON. Raises ValueError for NaN and infinity, which JSON lacks."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
