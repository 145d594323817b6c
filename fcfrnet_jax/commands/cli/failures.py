"""What an error means for the user: one line with its cause and a remedy."""

import errno
import re
import traceback
from pathlib import Path

import fcfrnet_jax
from fcfrnet_jax.files import describe, first_line
from fcfrnet_jax.system_errors import FULL, system_error
from fcfrnet_jax.text import printable

_PACKAGE = Path(fcfrnet_jax.__file__).parent
ROOM = "make room and repeat the command"
# Texts of jax, NumPy, OpenCV, TensorFlow and the C++ library.
_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|ResourceExhausted|out of memory|bad_alloc|Unable to allocate|"
    r"Insufficient memory|Cannot allocate memory",
    re.IGNORECASE,
)
LESS_MEMORY = (
    "a smaller --config.batch_size, a smaller --config.crop or smaller images need less memory"
)


def explain(error: BaseException, less_memory: str = LESS_MEMORY) -> str:
    """One line for the user: what went wrong, with which file, and what to do about it.

    Errors of other types than ValueError and OSError are not meant for users. They are given with
    their type and the place in this package, for the report of a bug.

    Args:
      error: the error.
      less_memory: what to do if there is not enough memory.
    """
    code = system_error(error)
    if code in FULL:
        return _with_remedy(_described(error), ROOM)
    if _is_memory(error, code):
        return _with_remedy(f"out of memory: {_described(error)}", less_memory)
    if isinstance(error, UnicodeEncodeError):
        text = printable(error.object, 300)
        return f"{text}: is not UTF-8 text, as is needed here; rename the file or folder"
    if isinstance(error, ValueError | OSError):
        return _described(error)
    if "Unable to initialize backend" in str(error):
        return f"{_described(error)}; install jax for this device, or unset JAX_PLATFORMS"
    kind = type(error).__name__
    text = f": {_described(error)}" if str(error).strip() else ""
    return f"unexpected {kind}{_place(error)}{text}; --verbosity=1 prints the traceback"


def _described(error: BaseException) -> str:
    if isinstance(error, ValueError | OSError):
        return " ".join(describe(error).split())
    return first_line(error)[:300] if isinstance(error, Exception) else type(error).__name__


def _with_remedy(text: str, remedy: str) -> str:
    return text if remedy in text else f"{text}; {remedy}"


def _is_memory(error: BaseException, code: int | None) -> bool:
    if isinstance(error, MemoryError) or code == errno.ENOMEM:
        return True
    # The messages of our own errors are complete.
    return not isinstance(error, ValueError | OSError) and bool(_MEMORY.search(str(error)))


def _place(error: BaseException) -> str:
    """The innermost line of this package that an error has passed."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [frame for frame in frames if _PACKAGE in Path(frame.filename).parents]
    if not inside:
        return ""
    last = inside[-1]
    return f" in {Path(last.filename).relative_to(_PACKAGE.parent)}, line {last.lineno}"
