"""What a command sets for its whole process; nothing here is done by an import."""

import ctypes
import gc
import os
import sys
from importlib import metadata, util

import jax

from fcfrnet_jax.files import cache_dir

# Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Makes glibc keep what is freed, so that the next step finds its pages in place.

    XLA frees a step's temporaries after every call, and glibc hands large blocks back to the
    system; on CPUs the page faults that follow cost a fifth of a training step. The process then
    keeps the most memory that it ever used. It changes the whole process, so it is for commands,
    not for a library, and must run before jax makes its backend.

    Returns:
      Whether it was done: not without glibc, and not where jax may run on an accelerator, on which
      the host only feeds the device.
    """
    if sys.platform != "linux" or _accelerator_may_be_used():
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return all(mallopt(name, value) == 1 for name, value in settings)


def add_xla_flags(wanted: str) -> None:
    """Adds flags to those that the environment has for the compiler, which heeds the last of each.

    It must run before jax makes its backend.

    Raises:
      ValueError: what is no flag. One that this version of jax does not know ends the process, by
        the compiler's own message.
    """
    for flag in wanted.split():
        if not flag.startswith("--xla_"):
            raise ValueError(f"the compiler's flags look like --xla_NAME=VALUE, got {flag!r}")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {wanted}".strip()


def collect_rarely() -> None:
    """Lets Python look for garbage after 20,000 new objects instead of after 700.

    What a command imports and traces as it starts is no garbage, and looking through it again and
    again takes a second.
    """
    gc.set_threshold(20_000, *gc.get_threshold()[1:])


def keep_compiled() -> None:
    """Makes jax keep what it compiles on disk, so that the next command finds it.

    In the folder `compiled` of `files.cache_dir()`, where no folder is set for jax already
    (JAX_COMPILATION_CACHE_DIR).
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    try:
        folder = cache_dir() / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        # It only saves time.
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def quiet_tensorflow() -> None:
    """Keeps TensorFlow from printing start-up messages and from importing Keras.

    TensorFlow only reads and batches here. It must run before TensorFlow is imported.
    """
    # Messages about oneDNN ignore the log level.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # TensorFlow imports Keras 3 unless told to use another one, which takes two seconds.
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


def _accelerator_may_be_used() -> bool:
    chosen = os.environ.get("JAX_PLATFORMS", "")
    if chosen:
        return chosen != "cpu"
    plugins = metadata.entry_points(group="jax_plugins")
    return bool(plugins) or util.find_spec("libtpu") is not None
