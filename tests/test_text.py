"""Text of files and paths, made safe for the terminal."""

import pytest

from fcfrnet_jax.text import is_unicode, printable

SHOWN = {
    "\x1b[2J": r"\x1b[2J",
    "\udcff": r"\xff",
    "a\ud800": r"a\ud800",
    "\u202egnp": r"\u202egnp",
    "a\r\tb": r"a\r\tb",
    "[/x] :boom: 測 é \\": "[/x] :boom: 測 é \\",
}


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_not_printable_is_escaped(text):
    assert printable(text) == SHOWN[text]
    assert printable(printable(text)) == printable(text)


def test_long_text_is_cut():
    assert printable("\x1b" * 50, 20) == r"\x1b\x1b\x1b\x1b\..."
    assert printable("a" * 20, 20) == "a" * 20
    assert printable("a\nb\r", keep="\n") == "a\nb\\r"


def test_paths_with_bytes_that_are_not_text_are_found():
    assert is_unicode("測/é")
    assert not is_unicode("a/\udcff")
