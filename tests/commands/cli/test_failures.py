"""Every failure is one line with its cause and a remedy."""

import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax import geometry
from fcfrnet_jax.commands.cli.failures import explain

MEMORY = "a smaller --config.batch_size"
TRACEBACK = "--verbosity=1 prints the traceback"


def raised(function):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        function()
    return caught.value


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a reason\n in lines"), "a reason in lines"),
        (FileNotFoundError(2, "No such file", "a/b"), "a/b: No such file"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "a/b"),
            "a/b: No space left on device; make room and repeat the command",
        ),
        (
            raised(lambda: np.zeros(2**57)),
            f"out of memory: Unable to allocate 1.00 EiB for an array with shape "
            f"(144115188075855872,) and data type float64; {MEMORY}",
        ),
        (MemoryError(), f"out of memory: MemoryError; {MEMORY}"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nand a dump"), f"memory; {MEMORY}"),
        (OSError(errno.ENOMEM, "Cannot allocate memory", "a/b"), "memory: a/b: Cannot allocate"),
        (RuntimeError("Unable to initialize backend 'cuda': none"), "none; install jax for this"),
        (AssertionError(), f"unexpected AssertionError; {TRACEBACK}"),
        (raised(os.fsdecode(b"a/\xff").encode), r"a/\xff: is not UTF-8 text, as is needed here"),
        (KeyError("a"), f"unexpected KeyError: 'a'; {TRACEBACK}"),
    ],
)
def test_an_error_in_one_line(error, expected):
    assert expected in explain(error)
    assert "\n" not in explain(error)


def test_an_unexpected_error_is_located():
    error = raised(lambda: geometry.crop_size(None, (1, 0)))
    expected = r"unexpected TypeError in fcfrnet_jax/geometry.py, line "
    assert explain(error).startswith(expected)


def test_memory_that_xla_cannot_allocate():
    error = raised(lambda: jnp.zeros(2**50).block_until_ready())
    assert isinstance(error, jax.errors.JaxRuntimeError)
    assert explain(error).startswith("out of memory: RESOURCE_EXHAUSTED: Out of memory allocating")
    assert explain(error).endswith("need less memory")
