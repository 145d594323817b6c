"""Pairs the files of the KITTI depth-completion benchmark into frames, and reads calibration.

Files are paired by name (drive, camera and frame number), never by their position in a list.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from absl import logging

from fcfrnet_jax.data.frame import Frame, Intrinsics
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.files import list_some

SPLITS = ("train", "val", "val_selection", "test_completion")
PARTNERS = ("image", "ground_truth", "coarse")


def find_frames(
    data_dir: str | os.PathLike,
    split: str,
    *,
    coarse_dir: str | os.PathLike | None = None,
    require: Collection[str] = ("image", "ground_truth"),
    calibrated: bool = True,
) -> list[Frame]:
    """Finds the frames of `split` under `data_dir`, sorted by name.

    Args:
      data_dir: folder with the unpacked archives of the benchmark, in any layout of `layout`.
      split: one of `SPLITS`.
      coarse_dir: folder of the coarse maps: a tree in KITTI's layout with the maps in its
        `velodyne_raw` folders, `<drive>/image_0x/<number>.png`, or one flat folder. If it is None
        and "coarse" is required: the folders `data_depth_dense_new` beside `velodyne_raw`.
      require: which of `PARTNERS` every frame must have in addition to its sparse depth. The others
        are not searched and are None. A `coarse_dir` implies "coarse".
      calibrated: read the calibration of the frames that have one. Otherwise `intrinsics` is None.

    Raises:
      ValueError: an unknown split, a missing folder, no frames, or files without a partner.
    """
    _check_request(split, require)
    data_dir = _existing_folder(data_dir, "data_dir")
    kinds = set(require) if coarse_dir is None else {*require, "coarse"}
    files = {"sparse": layout.depth_files(data_dir, split, "sparse")}
    names = sorted(files["sparse"])
    if not names:
        raise ValueError(
            f"no {split} frames under {data_dir}: "
            f"looked for {layout.describe_layouts(split, 'sparse')}"
            + _did_you_mean([data_dir.resolve().parent, *_subfolders(data_dir)], split)
        )
    if "image" in kinds:
        files["image"] = layout.image_files(data_dir, split, names)
    if "ground_truth" in kinds:
        files["ground_truth"] = layout.depth_files(data_dir, split, "ground_truth")
    if "coarse" in kinds:
        files["coarse"] = _coarse_maps(data_dir, coarse_dir, split, names)
    for kind in sorted(kinds):
        _check_partners(kind, files, split, data_dir)
    return _frames(names, files, _intrinsics(data_dir, split, names) if calibrated else {})


def read_calibration(path: str | os.PathLike) -> dict[str, Intrinsics]:
    """Reads (fx, fy, cx, cy) of the rectified colour cameras from `calib_cam_to_cam.txt`.

    Returns:
      {"image_02": ..., "image_03": ...}, from P_rect_02 and P_rect_03 (row-major 3x4). A rig with a
      single camera has only one of them.

    Raises:
      ValueError: the line of a camera does not hold twelve numbers, or there is no such line.
    """
    lines = dict(line.partition(":")[::2] for line in Path(path).read_text().splitlines())
    cameras = {}
    for camera in ("02", "03"):
        line = lines.get(f"P_rect_{camera}")
        if line is None:
            continue
        values = _numbers(line)
        if len(values) != 12:
            raise ValueError(f"{path}: P_rect_{camera} must be 12 numbers, got {len(values)}")
        cameras[f"image_{camera}"] = (values[0], values[5], values[2], values[6])
    if not cameras:
        raise ValueError(f"{path}: has neither P_rect_02 nor P_rect_03")
    return cameras


def read_intrinsics(path: str | os.PathLike) -> Intrinsics:
    """Reads (fx, fy, cx, cy) from a text file of a selection, a row-major 3x3 matrix.

    Raises:
      ValueError: the file does not hold nine numbers.
    """
    values = _numbers(Path(path).read_text())
    if len(values) != 9:
        raise ValueError(f"{path}: intrinsics must be 9 numbers, got {len(values)}")
    return values[0], values[4], values[2], values[5]


def _numbers(text: str) -> list[float]:
    """The numbers of a line; empty if a word is not a number."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        return []


def _check_request(split: str, require: Collection[str]) -> None:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: expected one of {', '.join(SPLITS)}")
    unknown = sorted(set(require) - set(PARTNERS))
    if unknown:
        raise ValueError(f"unknown {list_some(unknown)}: a frame can require {', '.join(PARTNERS)}")
    if split == "test_completion" and "ground_truth" in require:
        raise ValueError(
            "test_completion has no public ground truth: predict it, or evaluate val_selection"
        )


def _existing_folder(path: str | os.PathLike, argument: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{argument}={folder}: there is no such folder")
    return folder


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _did_you_mean(folders: Iterable[Path], split: str) -> str:
    for folder in folders:
        if layout.depth_files(folder, split, "sparse"):
            return f"; did you mean data_dir={folder}?"
    return ""


def _coarse_maps(
    data_dir: Path, coarse_dir: str | os.PathLike | None, split: str, names: Sequence[str]
) -> layout.Files:
    """Coarse maps by frame name. Maps named 0, 1, 2, ... are assigned to the frames in order."""
    if coarse_dir is None:
        maps = layout.depth_files(data_dir, split, "coarse")
    else:
        maps = layout.coarse_tree_files(_existing_folder(coarse_dir, "coarse_dir"), split)
    numbers = [f"{i:010d}" for i in range(len(names))]
    if maps.keys() != set(numbers) or maps.keys() == set(names):
        return maps
    logging.warning(
        "%d coarse maps are numbered without a gap, so they are assigned in the order of the "
        "frames: the first, %s, to %s.", len(names), maps[numbers[0]], names[0]
    )  # fmt: skip
    return {name: maps[number] for name, number in zip(names, numbers, strict=True)}


def _check_partners(kind: str, files: dict[str, layout.Files], split: str, data_dir: Path) -> None:
    found, names = files[kind], files["sparse"]
    missing = sorted(names.keys() - found.keys())
    if missing:
        hint = _did_you_mean([data_dir.resolve().parent], split)
        if kind == "coarse":
            hint = (
                f"; {len(found)} maps were found; maps named 0000000000.png, 0000000001.png, ... "
                f"are accepted only without a gap and if there are {len(names)}"
                if found
                else "; looked for data_depth_dense_new beside velodyne_raw; give the folder of "
                "the maps by coarse_dir=FOLDER"
            )
        elif not found:
            hint = f"; looked for {layout.describe_layouts(split, kind)}{hint}"
        raise ValueError(
            f"{len(missing)} of {len(names)} {split} frames under {data_dir} have no {kind}: "
            f"{list_some(missing)}{hint}"
        )
    # A drive has images before and after its depth maps, and coarse maps may be of several splits.
    strict = kind == "ground_truth" or (kind == "image" and split in layout.SELECTION_FOLDERS)
    alone = sorted(found.keys() - names.keys()) if strict else []
    if alone:
        raise ValueError(
            f"{len(alone)} {split} {kind} files under {data_dir} have no sparse depth: "
            f"{list_some(alone)}"
        )


def _intrinsics(data_dir: Path, split: str, names: Sequence[str]) -> dict[str, Intrinsics]:
    files = layout.intrinsics_files(data_dir, split, names)
    if split in layout.SELECTION_FOLDERS:
        return {name: read_intrinsics(path) for name, path in files.items()}
    dates = {path: read_calibration(path) for path in set(files.values())}
    cameras = {name: (dates[path], name.split("/")[1]) for name, path in files.items()}
    return {name: date[camera] for name, (date, camera) in cameras.items() if camera in date}


def _frames(
    names: Sequence[str], files: dict[str, layout.Files], intrinsics: dict[str, Intrinsics]
) -> list[Frame]:
    image, coarse, truth = (files.get(kind, {}) for kind in ("image", "coarse", "ground_truth"))
    return [
        Frame(
            name=name,
            image=image.get(name),
            sparse=files["sparse"][name],
            coarse=coarse.get(name),
            ground_truth=truth.get(name),
            intrinsics=intrinsics.get(name),
        )
        for name in names
    ]
