"""Reads the benchmark's files from its zip archives without unpacking them.

A folder is made with what `layout` looks for: the names of the images in the archives, as empty
files, the calibration, and links to folders that are already unpacked.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from fcfrnet_jax.data.frame import Frame

# What the archives contain, below folders that may precede it, and where `layout` looks for it.
_MEMBERS = (
    (r"((?:train|val)/[^/]+/proj_depth/(?:velodyne_raw|groundtruth)/image_0[23]/[^/]+\.png)", ""),
    (r"((?:val_selection_cropped|test_depth_completion_anonymous)/[^/]+/[^/]+)", ""),
    (r"(\d{4}_\d\d_\d\d/\d{4}_\d\d_\d\d_[^/]+/image_0[23]/data/[^/]+\.(?:png|jpe?g))", "raw/"),
    (r"(\d{4}_\d\d_\d\d/calib_cam_to_cam\.txt)", "raw/"),
)
_PATTERNS = [(re.compile(rf"(?:.*/)?{pattern}"), place) for pattern, place in _MEMBERS]
# What `zipfile` raises for damaged members. A RuntimeError is for those that are encrypted, or
# compressed by a method that it does not have.
_UNREADABLE = (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error)


@dataclass(frozen=True)
class Source:
    """The files of the benchmark, in folders or in archives.

    Attributes:
      root: the folder for `kitti.search_frames`.
      folder: the folder of the user, for messages.
      members: the archive and the member of each file under `root` that is not unpacked.
    """

    root: Path
    folder: Path
    members: dict[Path, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = field(default_factory=dict)

    def fetch(self, frame: Frame, folder: Path) -> Frame:
        """Returns the frame with readable files: members of archives are unpacked into `folder`.

        A member that cannot be unpacked becomes an empty file, which its reader then reports.
        """
        found: dict[str, Path] = {}
        for kind in ("image", "sparse", "ground_truth"):
            path = getattr(frame, kind)
            if path in self.members:
                archive, member = self.members[path]
                found[kind] = folder / f"{kind}{path.suffix}"
                try:
                    found[kind].write_bytes(archive.read(member))
                except _UNREADABLE:
                    found[kind].write_bytes(b"")
        return replace(
            frame,
            image=found.get("image", frame.image),
            sparse=found.get("sparse", frame.sparse),
            ground_truth=found.get("ground_truth", frame.ground_truth),
        )

    def describe(self, path: Path) -> str:
        """The path of a file for messages; members follow the path of their archive."""
        if path in self.members:
            archive, member = self.members[path]
            return f"{archive.filename}/{member.filename}"
        return str(self.folder / path.relative_to(self.root)) if path != Path() else ""

    def stamp(self, path: Path) -> tuple[int, int]:
        """Changes when the content of a file changes: its size, and its time or checksum."""
        if path in self.members:
            member = self.members[path][1]
            return member.file_size, member.CRC
        status = path.stat()
        return status.st_size, status.st_mtime_ns


@contextmanager
def open_source(folder: Path) -> Iterator[Source]:
    """Opens the benchmark's files in a folder, which has folders, zip archives or both.

    Raises:
      ValueError: no such folder, or a damaged archive.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    archives = sorted(folder.glob("*.zip"))
    if not archives:
        yield Source(folder, folder)
        return
    with ExitStack() as stack:
        root = Path(stack.enter_context(TemporaryDirectory(prefix="fcfrnet_archives_")))
        members: dict[Path, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        for path in archives:
            members |= _list_members(stack.enter_context(_open(path)), root)
        for entry in sorted(folder.iterdir()):
            if entry.is_dir():
                _link(entry.resolve(), root / entry.name)
        yield Source(root, folder, members)


def _open(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path}: is no complete zip archive ({error}); download it again"
        ) from error


def _list_members(
    archive: zipfile.ZipFile, root: Path
) -> dict[Path, tuple[zipfile.ZipFile, zipfile.ZipInfo]]:
    """Makes an empty file for each image, and unpacks text files."""
    members = {}
    for member in archive.infolist():
        found = (
            match and place + match[1]
            for pattern, place in _PATTERNS
            if (match := pattern.fullmatch(member.filename))
        )
        relative = next(found, None)
        if relative is None or ".." in relative:
            continue
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".txt":
            try:
                path.write_bytes(archive.read(member))
            except _UNREADABLE as error:
                raise ValueError(
                    f"{archive.filename}/{member.filename}: is damaged ({error}); download the "
                    "archive again"
                ) from error
        else:
            path.touch()
            members[path] = (archive, member)
    return members


def _link(source: Path, target: Path) -> None:
    """Links a folder into the tree, or its content where the tree has the folder already."""
    if not target.exists():
        target.symlink_to(source)
    elif source.is_dir() and target.is_dir() and not target.is_symlink():
        for child in sorted(source.iterdir()):
            _link(child, target / child.name)
