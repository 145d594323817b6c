"""Locks, so that one command at a time writes to a workdir, a model folder or a dataset."""

import errno
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from absl import logging

from fcfrnet_jax.files import remove_temporaries
from fcfrnet_jax.text import printable

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock_folder(folder: Path, clean: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps other commands from writing to a workdir, which is created; for the rest see `lock`.

    Raises:
      ValueError: the workdir is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, expected a folder")
    with lock(folder / ".fcfrnet.lock", folder, clean=clean):
        yield


@contextmanager
def lock_beside(path: Path) -> Iterator[None]:
    """Keeps other commands from writing a file or folder that is replaced as a whole.

    What killed processes have left beside it is removed. For the rest see `lock`.
    """
    with lock(lock_file(path), path, clean=lambda: remove_temporaries(path)):
        yield


def lock_file(path: Path) -> Path:
    """The lock file beside a file or folder."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def lock(
    path: Path, folder: Path, *, shared: bool = False, clean: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Holds a lock file, which is removed afterwards.

    The system releases the lock of a process that dies. The file that it leaves names it and blocks
    nobody.

    Args:
      path: the lock file. Its folder is created, and removed if it is empty at the end.
      folder: what the lock protects, for the message.
      shared: allow other holders of a shared lock. A holder of an exclusive one is waited for.
      clean: called while nobody else holds the lock, to remove what killed processes have left: at
        the beginning, and for a shared lock also at the end.

    Raises:
      BlockingIOError: another process holds the lock; the message names it.
      OSError: the lock file cannot be written.
    """
    created = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    if shared:
        _clean_alone(path, clean)
    descriptor = _acquire(path, folder, shared)
    try:
        if not shared:
            clean()
        yield
    finally:
        if not shared:
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if shared:
            _clean_alone(path, clean)
        if created:
            with suppress(OSError):  # not empty
                path.parent.rmdir()


def _acquire(path: Path, folder: Path, shared: bool) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            locked = _flock(descriptor, shared=shared, wait=shared)
        except OSError as error:
            locked = True
            logging.warning(
                "%s: files cannot be locked here (%s); let only one process write to it",
                folder,
                error.strerror,
            )
        owner = os.read(descriptor, 1000).decode(errors="replace").strip()
        if locked and _is_open(path, descriptor):
            os.lseek(descriptor, 0, os.SEEK_SET)
            try:
                os.ftruncate(descriptor, os.write(descriptor, _describe_process().encode()))
            except OSError as error:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise OSError(error.errno, error.strerror, str(path)) from error
            return descriptor
        os.close(descriptor)
        if not locked:
            raise BlockingIOError(
                f"{folder} is in use by {owner or 'another process'}; wait until it has finished, "
                "or choose another folder"
            )
        # The former holder has removed the file.


def _clean_alone(path: Path, clean: Callable[[], None]) -> None:
    """Cleans and removes the lock file, unless another process may hold the lock."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return
    try:
        try:
            alone = _flock(descriptor, shared=False, wait=False)
        except OSError:
            return
        if alone and _is_open(path, descriptor):
            clean()
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, *, shared: bool, wait: bool) -> bool:
    """Locks an open file; returns False if another process holds the lock.

    Raises:
      OSError: the system or the file system has no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_open(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _describe_process() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = f"user {os.getuid()}"
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    command = printable(" ".join(command.split()), 300)
    return f"process {os.getpid()} of {user} on {socket.gethostname()} since {since} ({command})"
