"""Archives in pieces of a size that can travel."""

import re
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fcfrnet_jax.files import first_line

# Bytes, below 16 MB.
PIECE = 15 * 2**20
_NAME = "archive.tar.{}of{}"
_PIECE_NAME = re.compile(r"archive\.tar\.\d+of\d+")


def pack(entries: Mapping[str, Path], target: Path, piece: int = PIECE) -> list[Path]:
    """Writes files and folders as the pieces of one archive, `archive.tar.1of2` and so on.

    Args:
      entries: the files and folders, by their names in the archive.
      target: the folder for the pieces.
      piece: bytes of a piece.

    Returns:
      The pieces. Those of an earlier archive are removed.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as stream:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for name, path in entries.items():
                archive.add(path, name)
        count = -(-stream.tell() // piece)
        stream.seek(0)
        pieces = [target / _NAME.format(i + 1, count) for i in range(count)]
        for path in pieces:
            path.write_bytes(stream.read(piece))
    for path in set(_pieces(target)) - set(pieces):
        path.unlink()
    return pieces


def unpack(source: Path, target: Path) -> None:
    """Unpacks the archive whose pieces are in `source` into a new folder.

    Raises:
      ValueError: a piece is missing or damaged, or the folder exists.
    """
    if target.exists():
        raise ValueError(f"{target} exists; choose a new folder")
    found = _pieces(source)
    counts = {_numbers(path)[1] for path in found}
    if [_numbers(path)[0] for path in found] != list(range(1, max(counts, default=1) + 1)):
        raise ValueError(f"{source} lacks pieces of an archive; it has {[p.name for p in found]}")
    with tempfile.TemporaryFile() as stream:
        for path in found:
            with path.open("rb") as piece:
                shutil.copyfileobj(piece, stream)
        stream.seek(0)
        try:
            with tarfile.open(fileobj=stream) as archive:
                archive.extractall(target, filter="data")
        except tarfile.TarError as error:
            raise ValueError(f"the archive in {source} is damaged: {first_line(error)}") from error


def run_entries(workdir: Path) -> dict[str, Path]:
    """What continuing a training needs of its workdir, for `pack`: of the snapshots, the newest."""
    left_out = {"tensorboard", "snapshots"}
    entries = {
        f"training/{path.name}": path
        for path in sorted(workdir.iterdir())
        if path.name not in left_out and not path.name.startswith(".")
    }
    snapshots = workdir / "snapshots"
    steps = [int(path.name) for path in snapshots.glob("*") if path.name.isdigit()]
    if steps:
        newest = str(max(steps))
        entries[f"training/snapshots/{newest}"] = snapshots / newest
    return entries


def _pieces(folder: Path) -> list[Path]:
    """The pieces in a folder, in order."""
    found = [path for path in folder.glob("archive.tar.*") if _PIECE_NAME.fullmatch(path.name)]
    return sorted(found, key=_numbers)


def _numbers(path: Path) -> tuple[int, int]:
    number, count = map(int, re.findall(r"\d+", path.name))
    return number, count
