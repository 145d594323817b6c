"""The errors of the operating system, with the files that they are about."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO

from fcfrnet_jax.text import is_unicode, printable

# There is no room. Libraries give these in words, too.
FULL = (errno.ENOSPC, errno.EDQUOT)


def system_error(error: BaseException) -> int | None:
    """The error number of the system call that has failed; None if none is known.

    Libraries in C++ give it in their text, and others raise another error from the system's.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return cause.errno
        found = re.search(r"os_error_code='(\d+)'", str(cause))
        if found:
            return int(found[1])
        for code in FULL:
            if os.strerror(code) in str(cause):
                return code
        cause = cause.__cause__ or cause.__context__
    return None


def cannot_write(path: str | os.PathLike, what: str, error: Exception) -> OSError:
    """The error to raise if a library cannot write a file or a folder.

    Args:
      path: the file or folder.
      what: what is said about it, such as "the snapshot of step 3 cannot be written".
      error: that of the library. Its text is told only if it has no error number.
    """
    code = system_error(error)
    if code is None:
        return OSError(f"{os.fspath(path)}: {what} ({' '.join(str(error).split())[:300]})")
    return OSError(code, f"{os.strerror(code)}: {what}", os.fspath(path))


def check_text(path: str | os.PathLike) -> None:
    """Raises ValueError for a path that libraries in C++ cannot take: it is not UTF-8 text."""
    if not is_unicode(path):
        raise ValueError(
            f"{printable(path)}: the path has bytes that are not UTF-8 text, with which arrays "
            "cannot be stored; rename the folder, or choose another one"
        )


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Adds a path to the errors of the system that name none."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def open_to_append(path: str | os.PathLike) -> FileIO:
    """Opens a file for `append`, without a buffer, of which a rest could fail at closing."""
    return open(path, "ab", buffering=0)


def append(file: FileIO, data: bytes) -> None:
    """Writes all data to a file of `open_to_append`. Raises OSError with the name of the file."""
    rest = memoryview(data)
    with naming(file.name):
        while rest:
            rest = rest[file.write(rest) :]
