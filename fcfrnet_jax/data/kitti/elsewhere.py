"""Finds files in folders that `layout` does not know, to say where they belong."""

import glob
from collections.abc import Iterator
from pathlib import Path

from fcfrnet_jax.data.kitti.layout import KIND_FOLDERS, SELECTION_FOLDERS

_DRIVE_SPLITS = {"train", "val"}

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
    for pattern, target in _patterns(split, kind, drive):
        for above in _ABOVE:
            for found in sorted(glob.glob(above + pattern, root_dir=root)):
                inner = len(pattern.split("/"))
                place = Path(*Path(found).parts[: len(Path(found).parts) - inner + 1])
                if _DRIVE_SPLITS - {split} & {*place.parts}:
                    continue  # Frames of the other split must stay there.
                name = target.format(name=place.name, date=place.name[:10])
                if place != Path(name):
                    what = f"the content of {place}" if (root / name).exists() else str(place)
                    return f"; found {root / found}: move {what} to {name}"
    return ""


def _patterns(split: str, kind: str, drive: str) -> Iterator[tuple[str, str]]:
    """Patterns of folders with files, and the name that the first part of each should have."""
    if split in SELECTION_FOLDERS:
        folder = KIND_FOLDERS[kind][1] if kind in KIND_FOLDERS else kind
        yield f"{SELECTION_FOLDERS[split]}/{folder}", "depth_selection/{name}"
    elif kind == "image":
        name = drive or "????_??_??_drive_*"
        # A folder of the split is the parent of drives in data_rgb; a date is so in raw.
        yield f"????_??_??/{name}/image_0[23]/data", "raw/{name}"
        yield f"{split}/{name}/image_0[23]/data", "data_rgb/{name}"
        yield f"{name}/image_0[23]/data", "raw/{date}/{name}"
        yield f"{name}/image_0[23]", f"data_rgb/{split}/{{name}}, with a folder data in image_0x"
    else:
        name, folder = drive or "*", KIND_FOLDERS[kind][0]
        archive = "annotated" if kind == "ground_truth" else "velodyne"
        yield f"{split}/{name}/proj_depth/{folder}", f"data_depth_{archive}/{{name}}"
        yield f"{name}/proj_depth/{folder}", f"data_depth_{archive}/{split}/{{name}}"
