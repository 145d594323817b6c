"""The error number behind an error of a library."""

import errno
import os

import pytest

from fcfrnet_jax.system_errors import cannot_write, check_text, naming, system_error

# As tensorstore writes it.
FULL = ValueError("RESOURCE_EXHAUSTED: Failed writing [os_error_code='28' more='...']")


def raised_from(cause):
    try:
        raise RuntimeError("a library") from cause
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (FULL, errno.ENOSPC),
        (raised_from(OSError(errno.EDQUOT, "quota")), errno.EDQUOT),
        (raised_from(raised_from(FULL)), errno.ENOSPC),
        (OSError("without a number"), None),
        (ValueError("28"), None),
    ],
)
def test_the_number_is_found(error, code):
    assert system_error(error) == code


def test_an_error_of_a_library_gets_the_file_and_the_cause():
    error = cannot_write("run/best", "the model cannot be saved", FULL)
    assert (error.errno, error.filename) == (errno.ENOSPC, "run/best")
    assert error.strerror == "No space left on device: the model cannot be saved"
    error = cannot_write("run/best", "the model cannot be saved", TypeError("no\n number" * 99))
    assert str(error).startswith("run/best: the model cannot be saved (no number")
    assert len(str(error)) < 400


def test_an_error_without_a_file_gets_one():
    with pytest.raises(OSError, match="full") as raised, naming("a/b"):
        raise OSError(errno.ENOSPC, "full")
    assert raised.value.filename == "a/b"
    with pytest.raises(OSError, match="full") as raised, naming("a/b"):
        raise OSError(errno.ENOSPC, "full", "c")
    assert raised.value.filename == "c"


def test_a_path_that_is_not_text_is_refused():
    check_text("a/é")
    with pytest.raises(ValueError, match=r"a/.*: the path has bytes that are not UTF-8 text, with"):
        check_text(os.fsdecode(b"a/\xff"))
