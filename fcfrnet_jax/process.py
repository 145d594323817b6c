"""Settings of the whole process, for commands, and locks; importing this module changes nothing."""

import ctypes
import errno
import gc
import getpass
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import metadata, util
from pathlib import Path

from absl import logging

from fcfrnet_jax.files import cache_dir, remove_temporaries

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Makes glibc keep freed memory, so that the next step can reuse its pages.

    XLA frees the temporary buffers of a step after every call, and glibc returns large blocks to
    the system. On CPUs, the page faults that follow cost a fifth of a training step. With this
    setting the process keeps the largest amount of memory that it has used. Call it in commands,
    not in a library, and before jax creates its backend.

    Returns:
      Whether the setting was made: not without glibc, and not if jax may run on an accelerator,
      where the host only feeds the device.
    """
    if sys.platform != "linux" or _accelerator_may_be_used():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(name, value) == 1 for name, value in settings)


def add_xla_flags(wanted: str) -> None:
    """Adds compiler flags to those in the environment; of repeated flags the last one counts.

    Must run before jax creates its backend.

    Raises:
      ValueError: a word that is not an XLA flag. XLA itself ends the process, with a message, for a
        flag that it does not know.
    """
    for flag in wanted.split():
        if not flag.startswith("--xla_"):
            raise ValueError(f"XLA flags look like --xla_NAME=VALUE, got {flag!r}")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {wanted}".strip()


def collect_rarely() -> None:
    """Sets a higher threshold for Python's garbage collection: 20,000 new objects instead of 700.

    The objects that a command creates while it imports and traces stay alive. Scanning them
    repeatedly takes a second.
    """
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


def keep_compiled() -> None:
    """Makes jax cache compiled programs on disk, so that the next command can load them.

    The folder is `compiled` in `files.cache_dir()`, unless one is set (JAX_COMPILATION_CACHE_DIR).
    """
    import jax

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        folder = cache_dir() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        # The cache only saves time.
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def quiet_tensorflow() -> None:
    """Keeps TensorFlow from printing start-up messages and from importing Keras.

    TensorFlow is used only for reading and batching. Must run before TensorFlow is imported.
    """
    # The messages about oneDNN ignore the log level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Otherwise TensorFlow imports Keras 3, which takes two seconds.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def _accelerator_may_be_used() -> bool:
    chosen = os.environ.get("JAX_PLATFORMS", "")
    if chosen:
        return chosen != "cpu"
    plugins = metadata.entry_points(group="jax_plugins")
    return bool(plugins) or util.find_spec("libtpu") is not None


@contextmanager
def lock_folder(folder: Path, clean: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keeps other commands from writing to a workdir, which is created; for the rest see `lock`.

    Raises:
      ValueError: the workdir is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--workdir={folder} is a file, expected a folder")
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
            os.ftruncate(descriptor, os.write(descriptor, _describe_process().encode()))
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
        user = str(os.getuid())
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    command = " ".join(command.split())[:300]
    return f"process {os.getpid()} of {user} on {socket.gethostname()} since {since} ({command})"
