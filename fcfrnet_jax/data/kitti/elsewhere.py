"""Finds files in folders that `layout` does not know, to say where they belong."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path

from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.data.kitti.layout import KIND_FOLDERS, SELECTION_FOLDERS

# The names that the splits of drives have, too.
_DRIVE_SPLITS = {"train": {"train", "training"}, "val": {"val", "valid", "validation"}}
# Folders in which no data set is.
_INNER = re.compile(r"\d{4}_\d\d_\d\d.*|image_0\d|proj_depth")
_LEVELS, _MOST_FOLDERS = 4, 300

# The folders that may be above a known layout.
_ABOVE = ("", "*/", "*/*/")


def suggest(root: Path, split: str, kind: str, drive: str = "") -> str:
    """Says which folder has files of a kind, and where it belongs.

    Args:
      root: folder of the dataset.
      split: one of the splits.
      kind: "sparse", "ground_truth", "coarse" or "image".
      drive: a drive whose files are wanted, or "" for any.

    Returns:
      A part of a message that begins with "; ", or "" if nothing was found.
    """
    others = {name for key, names in _DRIVE_SPLITS.items() if key != split for name in names}
    for pattern, target in _patterns(split, kind, drive):
        for above in _ABOVE:
            for found in sorted(glob.glob(above + pattern, root_dir=root)):
                inner = len(pattern.split("/"))
                place = Path(*Path(found).parts[: len(Path(found).parts) - inner + 1])
                if others & {*place.parts}:
                    continue  # Frames of the other split must stay there.
                name = target.format(name=place.name, date=place.name[:10])
                if place != Path(name):
                    what = f"the content of {place}" if (root / name).exists() else str(place)
                    return f"; found {root / found}: move {what} to {name}"
    return ""


def with_images(root: Path, split: str) -> Iterator[Path]:
    """Yields the folders two to four levels below `root` that have scans of a split and images."""
    folders = [root]
    for level in range(1, _LEVELS + 1):
        children = (path for folder in folders for path in sorted(folder.glob("*/")))
        folders = [path for path in children if not _INNER.fullmatch(path.name)][:_MOST_FOLDERS]
        for folder in folders if level > 1 else ():
            names = [*layout.depth_files(folder, split, "sparse")]
            if names and layout.image_files(folder, split, names[:1]):
                yield folder


def describe_archives(root: Path, split: str) -> str:
    """Says which archives have to be unpacked or are missing in a folder without depth maps."""
    is_selection = split in SELECTION_FOLDERS
    kinds = ("selection",) if is_selection else ("velodyne", "annotated")
    wanted = [f"data_depth_{kind}.zip" for kind in kinds]
    there = [name for name in wanted if (root / name).is_file()]
    if there:
        return f"; found {' and '.join(there)}: unpack them, or build shards from them"

    def first(pattern: str) -> Path | None:
        return next((path for above in _ABOVE for path in root.glob(above + pattern)), None)

    images = first("????_??_??_drive_*/image_0[23]")
    if is_selection or images is None or first("*/proj_depth"):
        return ""
    return (
        f"; found raw data, {images.parent}, which has no depth maps: unpack "
        f"{' and '.join(wanted)} in {root}"
    )


def _patterns(split: str, kind: str, drive: str) -> Iterator[tuple[str, str]]:
    """Patterns of folders with files, and the name that the first part of each should have."""
    if split in SELECTION_FOLDERS:
        folder = KIND_FOLDERS[kind][1] if kind in KIND_FOLDERS else kind
        yield f"{SELECTION_FOLDERS[split]}/{folder}", "depth_selection/{name}"
    elif kind == "image":
        name = drive or "????_??_??_drive_*"
        # A folder of the split is the parent of drives in data_rgb; a date is so in raw.
        yield f"????_??_??/{name}/image_0[23]/data", "raw/{name}"
        for used in sorted(_DRIVE_SPLITS[split]):
            yield f"{used}/{name}/image_0[23]/data", f"data_rgb/{split}"
        yield f"{name}/image_0[23]/data", "raw/{date}/{name}"
        yield f"{name}/image_0[23]", f"data_rgb/{split}/{{name}}, with a folder data in image_0x"
    else:
        name, folder = drive or "*", KIND_FOLDERS[kind][0]
        archive = "annotated" if kind == "ground_truth" else "velodyne"
        for used in sorted(_DRIVE_SPLITS[split]):
            yield f"{used}/{name}/proj_depth/{folder}", f"data_depth_{archive}/{split}"
        yield f"{name}/proj_depth/{folder}", f"data_depth_{archive}/{split}/{{name}}"
