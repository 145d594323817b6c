"""Finds the damaged files of a folder that can be written again, by a record of their digests."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from absl import logging

from fcfrnet_jax.data.encodings import image_headers, png_pixels
from fcfrnet_jax.files import list_some, read_json, remove, with_digest, write_json


def remove_damaged(folder: Path, files: Sequence[Path]) -> bool:
    """Removes the files that are damaged, with a warning.

    Files without a recorded digest, as of earlier versions, are damaged if they are PNG files that
    cannot be decoded, or empty.

    Args:
      folder: the folder.
      files: those that it must have, below it.

    Returns:
      Whether all files are there and intact, and their digests are recorded.

    Raises:
      OSError: a damaged file cannot be removed.
    """
    known = _recorded(folder)
    names = [path.relative_to(folder).as_posix() for path in files]
    damaged = [
        path
        for path, name in zip(files, names, strict=True)
        if not _is_intact(path, known.get(name))
    ]
    if damaged:
        logging.warning(
            "%s: %d of its files are damaged or missing and are written again: %s", folder,
            len(damaged), list_some([str(path.relative_to(folder)) for path in damaged])
        )  # fmt: skip
    for path in damaged:
        for parent in path.relative_to(folder).parents:
            if (folder / parent).exists() and not (folder / parent).is_dir():
                remove(folder / parent)
        if path.exists() or path.is_symlink():
            remove(path)
    return not damaged and known.keys() == {*names}


def record(folder: Path, files: Sequence[Path]) -> None:
    """Records the digests of files, beside the folder, if that can be written."""
    with suppress(OSError):
        digests = {path.relative_to(folder).as_posix(): _digest(path) for path in files}
        write_json(_place(folder), with_digest({"files": digests}))


def _place(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.digests.json")


def _recorded(folder: Path) -> dict[str, str]:
    try:
        found = read_json(_place(folder), "it is written again", sealed=True)["files"]
    except (OSError, ValueError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_intact(path: Path, digest: str | None) -> bool:
    try:
        if digest is not None:
            return _digest(path) == digest
        data = path.read_bytes()
        if path.suffix == ".png":
            png_pixels.inflate(*image_headers.read_png(data))
    except (OSError, ValueError):
        return False
    return bool(data)


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
