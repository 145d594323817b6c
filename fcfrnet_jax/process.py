"""Settings of the whole process; importing this module changes nothing."""

import ctypes
import gc
import os
import sys
from collections.abc import Mapping
from importlib import metadata, util
from logging import ERROR, LogRecord
from pathlib import Path

from absl import logging

from fcfrnet_jax.files import cache_dir
from fcfrnet_jax.text import printable

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8
# Of blocks that come from the system, the largest value that glibc accepts; and of freed memory.
_LARGE_BLOCK, _KEPT = 32 << 20, 512 << 20


def cores() -> int:
    """The number of CPU cores that this process may use."""
    # Launchers give each process of a host some of its cores. macOS and Windows cannot tell.
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def launched(environment: Mapping[str, str]) -> tuple[str, int]:
    """The number of processes of the job that a launcher has started.

    Returns:
      The environment variable that tells it, and the number; 1 without a launcher.

    Raises:
      ValueError: the variable is not a number.
    """
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        found = environment.get(name, "1")
        if not found.isdecimal():
            raise ValueError(f"{name}={found}: expected the number of processes")
        if int(found) > 1:
            return name, int(found)
    hosts = environment.get("TPU_WORKER_HOSTNAMES", "")
    return "TPU_WORKER_HOSTNAMES", hosts.count(",") + 1


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
    if _accelerator_may_be_used():
        return False
    return _mallopt((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))


def keep_arrays_of_frames() -> bool:
    """Makes glibc keep up to 512 MiB of freed blocks of at most 32 MiB, so that frames reuse them.

    By default glibc returns the arrays of each frame to the system. The page faults that follow
    take half of the time of reading shards. Where the host feeds an accelerator, this is the
    alternative to `keep_freed_memory`.

    Returns:
      Whether the setting was made: not without glibc.
    """
    return _mallopt((_MMAP_THRESHOLD, _LARGE_BLOCK), (_TRIM_THRESHOLD, _KEPT))


def _mallopt(*settings: tuple[int, int]) -> bool:
    """Makes settings of glibc's allocator, if the process has it."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) == 1 for name, value in settings)


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


def enable_compile_cache(folder: str | os.PathLike | None = None) -> Path | None:
    """Makes jax cache compiled programs on disk, so that the next process can load them.

    Programs that take at least 0.3 s to compile are cached, or as many seconds as jax is set to if
    the folder is already set. All commands use the cache. Other programs call this once, before
    what they want to have cached is compiled.

    The folder is created for its owner alone: whoever can write a compiled program can run it.

    Args:
      folder: the cache, which is created. None for the folder that is already set for jax, such as
        by the environment variable JAX_COMPILATION_CACHE_DIR, and otherwise `compiled` in
        `$XDG_CACHE_HOME/fcfrnet_jax` or `~/.cache/fcfrnet_jax`.

    Returns:
      The folder of the cache; None if the default one cannot be created, because the cache only
      saves time, or if another user owns the folder or can write to it, with a warning.

    Raises:
      OSError: `folder` cannot be created.
    """
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    known = jax.config.values["jax_compilation_cache_dir"]
    if folder is None and known is not None:
        return Path(known)
    if folder is not None:
        path = Path(folder).expanduser().absolute()
        _make_private(path)
    else:
        try:
            path = cache_dir() / "compiled"
            _make_private(path)
        except (OSError, RuntimeError):
            return None
    if not _is_private(path):
        logging.warning(
            "%s is not used for compiled programs, because other users can change them; delete it, "
            "or use another folder", printable(path)
        )  # fmt: skip
        return None
    jax.config.update("jax_compilation_cache_dir", str(path))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    # jax decides at the first compilation whether there is a cache.
    compilation_cache.reset_cache()
    return path


def _make_private(folder: Path) -> None:
    """Creates a folder that only its owner can use."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _is_private(folder: Path) -> bool:
    """Whether only the user of this process, or the system's, can write to a folder."""
    if not hasattr(os, "geteuid"):  # Windows
        return True
    found = folder.stat()
    return found.st_uid in (os.geteuid(), 0) and not found.st_mode & 0o022


def quiet_tensorflow() -> None:
    """Keeps TensorFlow from printing start-up messages and from importing Keras.

    TensorFlow is used only for reading and batching. Must run before TensorFlow is imported.
    """
    # The messages about oneDNN ignore the log level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # Otherwise TensorFlow imports Keras 3, which takes two seconds.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def quiet_opencv() -> None:
    """Keeps OpenCV from printing about files that cannot be decoded, which commands report.

    Must run before OpenCV is imported.
    """
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


def quiet_orbax() -> None:
    """Keeps orbax and tensorstore from printing tracebacks of writes, whose errors we report.

    At the verbosity of INFO and DEBUG they are printed.
    """
    if logging.get_verbosity() >= logging.INFO:
        return
    logging.get_absl_logger().addFilter(_is_not_of_orbax)
    sys.unraisablehook = _print_unraisable


def log_printable() -> None:
    """Makes the log write characters that would control the terminal as escapes."""
    logging.get_absl_handler().addFilter(_printable_record)


def _printable_record(record: LogRecord) -> bool:
    record.msg, record.args = printable(record.getMessage(), keep="\n"), None
    return True


def _is_not_of_orbax(record: LogRecord) -> bool:
    return record.levelno < ERROR or "orbax" not in Path(record.pathname).parts


def _print_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    # Tensorstore has one for each write that ends after orbax has given up.
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _accelerator_may_be_used() -> bool:
    chosen = os.environ.get("JAX_PLATFORMS", "")
    if chosen:
        return chosen != "cpu"
    plugins = metadata.entry_points(group="jax_plugins")
    return bool(plugins) or util.find_spec("libtpu") is not None
