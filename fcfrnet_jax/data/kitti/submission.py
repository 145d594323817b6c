"""Checks and packs the depth maps that KITTI's server for depth completion accepts.

A submission is a ZIP file with one 16-bit depth PNG for each of the 1000 test frames, named
0000000000.png to 0000000999.png, of 1216x352 pixels (width x height), with a depth at every pixel.
"""

import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from fcfrnet_jax.data.encodings import image_headers, png_pixels
from fcfrnet_jax.data.images import depth_pixels
from fcfrnet_jax.files import atomic_path, list_some
from fcfrnet_jax.geometry import Size

# The archive does not depend on when its files were written.
_DATE = (1980, 1, 1, 0, 0, 0)
_THREADS = 8


@dataclass(frozen=True)
class Benchmark:
    """What the server expects.

    Attributes:
      frames: the number of depth maps.
      size: (height, width) of each.
    """

    frames: int = 1000
    size: Size = (352, 1216)

    def names(self) -> list[str]:
        """The names of the files."""
        return [f"{i:010d}.png" for i in range(self.frames)]


@dataclass(frozen=True)
class Defect:
    """Something that is wrong with a submission.

    Attributes:
      kind: what is wrong, the same for all files with this defect.
      file: the name of the file, or an empty string for the whole.
      detail: what was found in this file.
    """

    kind: str
    file: str
    detail: str = ""


def check_folder(folder: Path, benchmark: Benchmark) -> list[Defect]:
    """Finds what is wrong with the depth maps of a folder; hidden files are ignored."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    return _find_defects(files, benchmark)


def check_zip(path: Path, benchmark: Benchmark) -> list[Defect]:
    """Finds what is wrong with a submission.

    Raises:
      ValueError: the file is not a ZIP archive.
      OSError: the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:

            def reader(name: str) -> Callable[[], bytes]:
                return lambda: archive.read(name)

            names = [info.filename for info in archive.infolist() if not info.is_dir()]
            twice = [name for name, count in Counter(names).items() if count > 1]
            found = _find_defects({name: reader(name) for name in names}, benchmark)
            return [Defect("is in the archive twice", name) for name in twice] + found
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a ZIP archive: {error}") from error


def write_zip(folder: Path, target: Path, benchmark: Benchmark) -> None:
    """Packs the depth maps of a folder; the archive is replaced in one step.

    The depth maps are already compressed and are stored as they are. Equal depth maps give equal
    archives.
    """
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in benchmark.names():
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o644 << 16
            archive.writestr(info, (folder / name).read_bytes())


def describe(defects: Sequence[Defect]) -> str:
    """One line about all defects: each kind once, with the number of files and the first ones."""
    kinds: dict[str, list[Defect]] = {}
    for defect in defects:
        kinds.setdefault(defect.kind, []).append(defect)
    lines = []
    for kind, found in kinds.items():
        items = [
            f"{d.file} ({d.detail})" if d.file and d.detail else d.file or d.detail for d in found
        ]
        count = f"{len(found)} files: " if len(found) > 1 else ""
        lines.append(f"{kind}: {count}{list_some(items)}")
    return "; ".join(lines)


def _find_defects(files: Mapping[str, Callable[[], bytes]], benchmark: Benchmark) -> list[Defect]:
    expected = benchmark.names()
    wanted = {*expected}
    found = [Defect("missing file", name) for name in expected if name not in files]
    maps = [name for name in files if name.lower().endswith(".png")]
    if len(maps) != benchmark.frames:
        detail = f"{len(maps)} depth maps instead of {benchmark.frames}"
        found.insert(0, Defect("wrong number of files", "", detail))
    found += [_misplaced(name, wanted) for name in files if name not in wanted]
    present = [name for name in expected if name in files]
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = pool.map(lambda name: list(_look(name, files[name], benchmark.size)), present)
        return found + [defect for defects in checked for defect in defects]


def _misplaced(name: str, wanted: Collection[str]) -> Defect:
    """What is wrong with a file that has none of the expected names."""
    folder, base = os.path.split(name)
    if folder and base in wanted:
        return Defect("in a folder, expected at the top", name)
    if re.fullmatch(r"\d{10}\.png", base) or not base.lower().endswith(".png"):
        return Defect("extra file", name)
    return Defect("wrong name, expected ten digits and .png, as 0000000000.png", name)


def _look(name: str, read: Callable[[], bytes], size: Size) -> Iterator[Defect]:
    """Yields what is wrong with the content of a depth map."""
    try:
        data = read()
        header, compressed = image_headers.read_png(_signed(data))
        if (header.bits, header.colour) != (16, "gray"):
            detail = f"{header.bits}-bit {header.colour}"
            yield Defect("not a 16-bit depth map with one channel", name, detail)
            return
        png_pixels.inflate(header, compressed)
        pixels = depth_pixels(data)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        # RuntimeError: the archive is encrypted, or compressed in another way than by deflate.
        yield Defect("damaged PNG file", name, str(error))
        return
    if header.size != size:
        height, width = header.size
        detail = f"{width}x{height} instead of {size[1]}x{size[0]}"
        yield Defect("wrong size (width x height)", name, detail)
    zeros = int((pixels == 0).sum())
    if zeros:
        yield Defect("pixels without depth", name, f"{zeros} of {pixels.size} are 0")


def _signed(data: bytes) -> bytes:
    if not data.startswith(image_headers.PNG_SIGNATURE):
        raise ValueError("is not a PNG file" if data else "is empty")
    return data
