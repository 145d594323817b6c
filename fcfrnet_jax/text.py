"""Text of files and paths, made safe for the terminal."""

import os


def printable(text: object, limit: int | None = None, *, keep: str = "") -> str:
    """Makes text safe for a terminal, however it came into a file or a path.

    Characters that are not printable are written as escapes: control characters, among them the
    escape sequences of terminals, line ends, lone surrogates, marks of the direction of writing. A
    byte of a path that is not text becomes `\\xff`.

    Args:
      text: the text, or a value such as a path.
      limit: the largest number of characters; longer text is cut.
      keep: characters that stay, such as the line ends of a list.
    """
    text = str(text)
    cut = limit is not None and len(text) > limit
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() or c in keep else _escape(c) for c in shown)
    if limit is not None and (cut or len(shown) > limit):
        shown = shown[: limit - 3] + "..."
    return shown


def is_unicode(path: str | os.PathLike) -> bool:
    """Whether a path has no byte that is not text, which libraries in C++ cannot open."""
    return not any(0xD800 <= ord(character) <= 0xDFFF for character in os.fspath(path))


def _escape(character: str) -> str:
    if 0xDC80 <= ord(character) <= 0xDCFF:  # an undecodable byte of a path (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
