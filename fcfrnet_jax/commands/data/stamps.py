"""Identifies the files of frames by path, size and time, to notice when one of them changes."""

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.own.description import FILE
from fcfrnet_jax.data.reading import paths_of

# The number of a record after the file that holds it.
_RECORD = re.compile(r"(.+):\d+")


class Stamps:
    """The stamps of files; each file is looked up once.

    Args:
      root: the folder of the data set. Paths in it are relative to it, so that it can be moved.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.join(os.path.abspath(root), "")
        self._known: dict[str, str] = {}
        # The description of an own data set says what the values in its files mean.
        self._description = self._of_file(os.path.join(self._root, FILE))

    def of_frame(self, frame: Frame) -> dict[str, str]:
        """The stamp of each of the arrays of `paths_of`.

        Raises:
          ValueError: the file of a record is not known.
        """
        stored = frame.stored_names()
        return {kind: self._of(path, path in stored) for kind, path in paths_of(frame).items()}

    def relative_paths(self, frame: Frame) -> dict[str, str]:
        """The path of each of the arrays of `paths_of`, relative to the root if it is in it."""
        return {kind: self._relative(path) for kind, path in paths_of(frame).items()}

    def digests(self, frames: Sequence[Frame]) -> dict[str, str]:
        """A digest of the names and the stamps of frames, by kind of array.

        Raises:
          ValueError: as for `of_frame`.
        """
        hashes: dict[str, Any] = {}
        for frame in frames:
            for kind, stamp in self.of_frame(frame).items():
                if kind not in hashes:
                    hashes[kind] = hashlib.blake2b(digest_size=16)
                hashes[kind].update(f"{frame.name}\n{stamp}\n".encode())
        return {kind: found.hexdigest() for kind, found in hashes.items()}

    def _of(self, path: Path, is_record: bool) -> str:
        text = os.path.abspath(path)
        candidates = [text]
        if is_record:
            # The name of a record is below its file, or its number follows the file.
            folder = os.path.dirname(text)
            match = _RECORD.fullmatch(folder)
            candidates += [folder, *([match[1]] if match else [])]
        stamp = next(filter(None, map(self._of_file, candidates)), "")
        if is_record and not stamp:
            raise ValueError(f"{path}: the file of this record is not known")
        return f"{self._relative(path)} {stamp} {self._description}"

    def _relative(self, path: Path) -> str:
        return os.path.abspath(path).removeprefix(self._root)

    def _of_file(self, path: str) -> str:
        """The size and time of a file; empty if there is none."""
        if path not in self._known:
            self._known[path] = ""
            with suppress(OSError):
                status = os.stat(path)
                if stat.S_ISREG(status.st_mode):
                    self._known[path] = f"{status.st_size} {status.st_mtime_ns}"
        return self._known[path]
