"""Finds the files of the KITTI depth-completion benchmark, in the usual folder layouts.

Every function returns files by frame name: `<drive>/image_0x/<number>` in the splits that consist
of drives, and the stem of the image in the selections.
"""

import glob
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

SELECTION_FOLDERS = {
    "val_selection": "val_selection_cropped",
    "test_completion": "test_depth_completion_anonymous",
}
# For each drive, the first folder with files is used.
DEPTH_LAYOUTS = (
    "data_depth_velodyne/{split}/{drive}/proj_depth/{kind}/{camera}",
    "data_depth_annotated/{split}/{drive}/proj_depth/{kind}/{camera}",
    "{split}/{drive}/proj_depth/{kind}/{camera}",
)
IMAGE_LAYOUTS = (
    "raw/{date}/{drive}/{camera}/data",
    "{date}/{drive}/{camera}/data",
    "data_rgb/{split}/{drive}/{camera}/data",
    "data_depth_velodyne/{split}/{drive}/{camera}/data",
    "data_depth_annotated/{split}/{drive}/{camera}/data",
    "{split}/{drive}/{camera}/data",
)
CALIBRATION_LAYOUTS = ("raw/{date}/calib_cam_to_cam.txt", "{date}/calib_cam_to_cam.txt")
SELECTION_LAYOUTS = (
    "depth_selection/{folder}",
    "data_depth_selection/depth_selection/{folder}",
    "data_depth_selection/{folder}",
    "{folder}",
    ".",
)
# Other names in common use, which messages do not list: of folders for the benchmark and for the
# raw data, whose zip archives may also be unpacked in folders of their own.
_DEPTH_ROOTS = ("kitti_depth/", "kitti_depth/depth/", "depth/")
_OTHER_DEPTH_LAYOUTS = tuple(
    f"{archive}/{{split}}/{{drive}}/proj_depth/{{kind}}/{{camera}}"
    for name in ("depth_velodyne", "depth_annotated")
    for archive in (f"data_{name}/data_{name}", name)
)
_RAW_ROOTS = ("", "raw/", "rawdata/", "raw_data/", "kitti_raw/")
_OTHER_IMAGE_LAYOUTS = (
    *(f"{root}{{date}}/{{drive}}/{{camera}}/data" for root in _RAW_ROOTS[2:]),
    *(f"{root}{{drive}}/{{date}}/{{drive}}/{{camera}}/data" for root in _RAW_ROOTS),
    "kitti_rgb/{split}/{drive}/{camera}/data",
    *(f"{root}{{split}}/{{drive}}/{{camera}}/data" for root in _DEPTH_ROOTS),
)
_OTHER_CALIBRATION_LAYOUTS = (
    *(f"{root}{{date}}/calib_cam_to_cam.txt" for root in _RAW_ROOTS[2:]),
    *(f"{root}{{date}}_calib/{{date}}/calib_cam_to_cam.txt" for root in _RAW_ROOTS),
)
# The folders of each kind of depth map in the drives and in the selections.
KIND_FOLDERS = {
    "sparse": ("velodyne_raw", "velodyne_raw"),
    "ground_truth": ("groundtruth", "groundtruth_depth"),
    "coarse": ("data_depth_dense_new", "data_depth_dense_new"),
}
COARSE_DRIVE_LAYOUTS = ("{split}/{drive}/{camera}", "{drive}/{camera}")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# <drive>_<kind>_<number>_image_0x, the benchmark's names in its selection folders.
_FLAT_NAME = re.compile(
    r"(.+)_(?:image|velodyne_raw|groundtruth_depth|data_depth_dense_new)_(\d+)_(image_0[23])"
)

Files = dict[str, Path]


def depth_files(root: Path, split: str, kind: str) -> Files:
    """Finds the depth maps of a `kind` ("sparse", "ground_truth" or "coarse") under `root`.

    Raises:
      ValueError: two files of one folder belong to the same frame.
    """
    drive_folder, selection_folder = KIND_FOLDERS[kind]
    if split in SELECTION_FOLDERS:
        return _selection_files(root, split, selection_folder, (".png",))
    layouts = [*_depth_layouts(drive_folder), *_of_kind(_OTHER_DEPTH_LAYOUTS, drive_folder)]
    others = [place + layout for place in _DEPTH_ROOTS for layout in layouts]
    return _drive_maps(root, split, [*layouts, *others])


def image_files(root: Path, split: str, names: Iterable[str]) -> Files:
    """Finds the colour images, only for the drives in `names`.

    The raw data has more drives than the benchmark.
    """
    if split in SELECTION_FOLDERS:
        return _selection_files(root, split, "image", IMAGE_SUFFIXES)
    images: Files = {}
    for drive, camera in sorted({tuple(name.split("/")[:2]) for name in names}):
        where = {"split": split, "date": drive[:10], "drive": drive, "camera": camera}
        layouts = (*IMAGE_LAYOUTS, *_OTHER_IMAGE_LAYOUTS)
        folders = (root / layout.format(**where) for layout in layouts)
        for stem, path in _first_files(folders, IMAGE_SUFFIXES).items():
            images[f"{drive}/{camera}/{stem}"] = path
    return images


def coarse_tree_files(root: Path, split: str) -> Files:
    """Finds the coarse maps in a separate folder.

    It is a tree like the benchmark's, with the maps in `data_depth_dense_new` or `velodyne_raw`; or
    it has one folder per drive and camera; or it holds all maps directly.
    """
    maps = depth_files(root, split, "coarse") or depth_files(root, split, "sparse")
    if not maps and split not in SELECTION_FOLDERS:
        maps = _drive_maps(root, split, COARSE_DRIVE_LAYOUTS)
    return maps or _by_frame(_list_files(root, (".png",)), split)


def intrinsics_files(data_dir: Path, split: str, names: Iterable[str]) -> Files:
    """Finds the calibration file of each frame; frames without one are left out."""
    if split in SELECTION_FOLDERS:
        return _selection_files(data_dir, split, "intrinsics", (".txt",))
    names = list(names)
    dates: Files = {}
    for date in {_date(name) for name in names}:
        layouts = (*CALIBRATION_LAYOUTS, *_OTHER_CALIBRATION_LAYOUTS)
        paths = [data_dir / layout.format(date=date) for layout in layouts]
        dates.update((date, path) for path in reversed(paths) if path.is_file())
    return {name: dates[_date(name)] for name in names if _date(name) in dates}


def expected_file(
    root: Path, split: str, kind: str, name: str, sibling: tuple[str, Path] | None
) -> Path:
    """Where the file of a frame should be, for messages.

    Args:
      root: folder of the dataset.
      split: of the frame.
      kind: "sparse", "ground_truth", "coarse", "image" or "intrinsics".
      name: of the frame.
      sibling: another frame of the same drive and camera, and its file of this kind, if any.
    """
    drive, _, number = name.rpartition("/")
    if sibling:
        path = sibling[1]
        is_named_so = path.stem == sibling[0].rpartition("/")[2]
        return path.with_name((number if is_named_so else _flat_stem(name, kind)) + path.suffix)
    if kind == "intrinsics" and split not in SELECTION_FOLDERS:
        places = list(CALIBRATION_LAYOUTS)
    else:
        suffix = ".txt" if kind == "intrinsics" else ".png"
        places = [f"{place}/{{name}}{suffix}" for place in _places(split, kind)]
    parts = {"drive": drive.partition("/")[0], "camera": drive.partition("/")[2]}
    parts |= {"split": split, "folder": SELECTION_FOLDERS.get(split, ""), "date": _date(name)}
    stem = _flat_stem(name, kind) if split in SELECTION_FOLDERS else number
    paths = [Path(place.format(name=stem, **parts)) for place in places]
    # The layout that the user seems to have.
    return root / next((path for path in paths if (root / path.parts[0]).is_dir()), paths[0])


def _date(name: str) -> str:
    """The folder of the calibration: the date with which the name of the drive begins."""
    return name.partition("/")[0][:10]


def _flat_stem(name: str, kind: str) -> str:
    """The stem of a file in the folder of a selection."""
    match = _FLAT_NAME.fullmatch(name)
    if not match or kind not in KIND_FOLDERS:
        return name
    return "{0}_{kind}_{1}_{2}".format(*match.groups(), kind=KIND_FOLDERS[kind][1])


def describe_layouts(split: str, kind: str) -> str:
    """The places, relative to the data folder, where `kind` (or "image") is searched."""
    places = _places(split, kind)
    names = {"date": "<date>", "drive": "<drive>", "camera": "image_0[23]"}
    folder = SELECTION_FOLDERS.get(split, "")
    return " or ".join(place.format(split=split, folder=folder, **names) for place in places)


def _places(split: str, kind: str) -> list[str]:
    """The folders of a kind of file, with the fields of the layouts."""
    if split in SELECTION_FOLDERS:
        folder = KIND_FOLDERS[kind][1] if kind in KIND_FOLDERS else kind
        return [f"{layout}/{folder}" for layout in SELECTION_LAYOUTS]
    return [*IMAGE_LAYOUTS] if kind == "image" else _depth_layouts(KIND_FOLDERS[kind][0])


def _selection_folders(root: Path, split: str) -> list[Path]:
    """The folders that may be the selection, without the folder of the other selection."""
    folder = SELECTION_FOLDERS[split]
    others = set(SELECTION_FOLDERS.values()) - {folder}
    places = [layout.format(folder=folder) for layout in SELECTION_LAYOUTS]
    candidates = [root / above / place for above in ("", *_DEPTH_ROOTS) for place in places]
    return [path for path in candidates if path.resolve().name not in others]


def _selection_files(root: Path, split: str, name: str, suffixes: Collection[str]) -> Files:
    folders = [folder / name for folder in _selection_folders(root, split)]
    return _by_frame(_first_files(folders, suffixes), split)


def _depth_layouts(kind: str) -> list[str]:
    return _of_kind(DEPTH_LAYOUTS, kind)


def _of_kind(layouts: Iterable[str], kind: str) -> list[str]:
    return [layout.replace("{kind}", kind) for layout in layouts]


def _drive_maps(root: Path, split: str, layouts: Iterable[str]) -> Files:
    """The depth maps of every drive and camera; earlier `layouts` take precedence."""
    found: dict[tuple[str, str], Files] = {}
    for layout in layouts:
        pattern = layout.format(split=split, drive="*", camera="image_0[23]")
        drive_part = pattern.split("/").index("*")
        for folder in glob.glob(pattern, root_dir=root):
            parts = Path(folder).parts
            key = (parts[drive_part], parts[-1])
            if not found.get(key):
                found[key] = _list_files(root / folder, (".png",))
    return {
        f"{drive}/{camera}/{stem}": path
        for (drive, camera), files in found.items()
        for stem, path in files.items()
    }


def _by_frame(files: Files, split: str) -> Files:
    """Converts the stems of the benchmark's flat folders, of any kind, to frame names."""
    name_format = "{0}_image_{1}_{2}" if split in SELECTION_FOLDERS else "{0}/{2}/{1}"
    named: Files = {}
    for stem, path in files.items():
        match = _FLAT_NAME.fullmatch(stem)
        name = name_format.format(*match.groups()) if match else stem
        if name in named:
            raise ValueError(f"{path} and {named[name].name} both belong to frame {name}")
        named[name] = path
    return named


def _first_files(folders: Iterable[Path], suffixes: Collection[str]) -> Files:
    return next(filter(None, (_list_files(folder, suffixes) for folder in folders)), {})


def _list_files(folder: Path, suffixes: Collection[str]) -> Files:
    """Files by stem, without hidden files; empty if there is no such folder."""
    files: Files = {}
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return files
    with entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix.lower() not in suffixes or stem.startswith("."):
                continue
            if stem in files:
                first = files[stem].name
                raise ValueError(f"{folder} has both {first} and {entry.name}: keep one of them")
            files[stem] = folder / entry.name
    return files
