"""Pairs the files of the KITTI depth-completion benchmark into frames.

Files are paired by name (drive, camera and frame number), never by their position in a list.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from absl import logging

from fcfrnet_jax.data.frame import BadFile, Frame, Intrinsics, NoFramesError
from fcfrnet_jax.data.kitti import layout
from fcfrnet_jax.data.kitti.calibration import frame_intrinsics, no_calibration
from fcfrnet_jax.data.kitti.elsewhere import describe_archives, suggest, with_images
from fcfrnet_jax.files import list_some

SPLITS = ("train", "val", "val_selection", "test_completion")
_WORDS = {
    "sparse": "sparse depth",
    "ground_truth": "ground truth",
    "coarse": "coarse depth",
    "image": "image",
}
PARTNERS = ("image", "ground_truth", "coarse", "intrinsics")


def find_frames(
    data_dir: str | os.PathLike,
    split: str,
    *,
    coarse_dir: str | os.PathLike | None = None,
    require: Collection[str] = ("image", "ground_truth"),
) -> list[Frame]:
    """Finds the frames of `split` under `data_dir`, sorted by name; see `search_frames`.

    Raises:
      ValueError: as for `search_frames`, or a required file of a frame is missing.
    """
    frames, bad = search_frames(data_dir, split, coarse_dir=coarse_dir, require=require)
    if bad:
        count = len({item.frame.name for item in bad})
        first = [f"{item.path} {item.reason}" for item in bad]
        raise ValueError(
            f"{count} of {count + len(frames)} {split} frames under {data_dir} lack a file: "
            f"{list_some(first)}"
        )
    return frames


def search_frames(
    data_dir: str | os.PathLike,
    split: str,
    *,
    coarse_dir: str | os.PathLike | None = None,
    require: Collection[str] = ("image", "ground_truth"),
) -> tuple[list[Frame], list[BadFile]]:
    """Finds the frames of `split` under `data_dir`, with and without all required files.

    Args:
      data_dir: folder with the unpacked archives of the benchmark, in any layout of `layout`.
      split: one of `SPLITS`.
      coarse_dir: folder of the coarse maps: a tree in KITTI's layout with the maps in its
        `velodyne_raw` folders, `<drive>/image_0x/<number>.png`, or one flat folder. If it is None
        and "coarse" is required: the folders `data_depth_dense_new` beside `velodyne_raw`.
      require: which of `PARTNERS` every frame must have in addition to its sparse depth. The others
        are not searched and are None, except for the intrinsics: these are None only if they are
        missing or cannot be read. A `coarse_dir` implies "coarse".

    Returns:
      The complete frames, sorted by name, and the missing files of the others, each with the path
      where it was expected. Sparse depth is missing where there is ground truth without it.

    Raises:
      NoFramesError: there is no sparse depth of the split.
      ValueError: an unknown split, a missing folder, or a required kind of file that no frame has.
    """
    _check_request(split, require)
    data_dir = _existing_folder(data_dir, "data_dir")
    kinds = set(require) if coarse_dir is None else {*require, "coarse"}
    files = {"sparse": layout.depth_files(data_dir, split, "sparse")}
    scans = sorted(files["sparse"])
    if not scans:
        if not any(data_dir.iterdir()):
            raise NoFramesError(
                f"no {split} frames under {data_dir}: the folder is empty; unpack KITTI's archives "
                "there, or give another folder"
            )
        raise NoFramesError(
            f"no {split} frames under {data_dir}: "
            f"looked for {layout.describe_layouts(split, 'sparse')}" + _where_else(data_dir, split)
        )
    if "image" in kinds:
        files["image"] = layout.image_files(data_dir, split, scans)
    if "ground_truth" in kinds:
        files["ground_truth"] = layout.depth_files(data_dir, split, "ground_truth")
    if "coarse" in kinds:
        files["coarse"] = _coarse_maps(data_dir, coarse_dir, split, scans)
    names = sorted({*scans, *files.get("ground_truth", ()), *_images_of_selection(split, files)})
    for kind in sorted(files):
        _check_some(kind, files[kind], names, split, data_dir)
    intrinsics, broken = frame_intrinsics(data_dir, split, names)
    frames = _frames(names, files, intrinsics)
    # Where coarse maps are expected if there are none for a drive.
    roots = {"coarse": Path(coarse_dir).expanduser()} if coarse_dir else {}
    bad = [
        item
        for kind, found in sorted(files.items())
        for item in _missing(kind, found, frames, split, roots.get(kind, data_dir))
    ]
    if "intrinsics" in kinds:
        bad += [
            BadFile(frame, *no_calibration(data_dir, split, frame.name, broken))
            for frame in frames
            if frame.intrinsics is None
        ]
    incomplete = {item.frame.name for item in bad}
    return [frame for frame in frames if frame.name not in incomplete], bad


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
        found = "a file, expected a folder" if folder.exists() else "there is no such folder"
        raise ValueError(f"{argument}={folder}: {found}")
    return folder


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _where_else(data_dir: Path, split: str) -> str:
    """Says where frames of a split are, and which splits or archives there are."""
    hint = _did_you_mean([data_dir.resolve().parent, *_subfolders(data_dir)], split)
    if split in layout.SELECTION_FOLDERS:
        hint = hint or suggest(data_dir, split, "sparse")
    hint = hint or _did_you_mean(with_images(data_dir, split), split)
    hint = hint or suggest(data_dir, split, "sparse")
    others = _other_splits(data_dir)
    return hint + others or describe_archives(data_dir, split)


def _did_you_mean(folders: Iterable[Path], split: str) -> str:
    for folder in folders:
        if layout.depth_files(folder, split, "sparse"):
            return f"; did you mean data_dir={folder}?"
    return ""


def _other_splits(data_dir: Path) -> str:
    counts = {split: len(layout.depth_files(data_dir, split, "sparse")) for split in SPLITS}
    found = [f"{split} ({count} frames)" for split, count in counts.items() if count]
    return f"; the folder has {', '.join(found)}" if found else ""


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


def _images_of_selection(split: str, files: dict[str, layout.Files]) -> layout.Files:
    """A drive has images before and after its depth maps; a selection has not."""
    return files.get("image", {}) if split in layout.SELECTION_FOLDERS else {}


def _check_some(
    kind: str, found: layout.Files, names: Sequence[str], split: str, data_dir: Path
) -> None:
    """Raises ValueError if no frame has the file, or if coarse maps are not named like frames."""
    missing = [name for name in names if name not in found]
    if len(missing) < len(names):
        return
    if kind == "coarse" and found:
        hint = (
            f"{len(found)} maps were found; maps named 0000000000.png, 0000000001.png, ... "
            f"are accepted only without a gap and if there are {len(names)}"
        )
    elif kind == "coarse":
        hint = (
            "looked for data_depth_dense_new beside velodyne_raw; give the folder of the maps by "
            "coarse_dir=FOLDER"
        )
    else:
        hint = f"looked for {layout.describe_layouts(split, kind)}"
        drive = names[0].partition("/")[0] if "/" in names[0] else ""
        hint += suggest(data_dir, split, kind, drive) or _did_you_mean(
            [data_dir.resolve().parent], split
        )
    raise ValueError(
        f"{len(missing)} of {len(names)} {split} frames under {data_dir} have no {kind}: "
        f"{list_some(missing)}; {hint}"
    )


def _missing(
    kind: str, found: layout.Files, frames: Sequence[Frame], split: str, root: Path
) -> list[BadFile]:
    """The missing files of a kind, with the path where each was expected."""
    # A file of the same drive and camera tells the folder.
    siblings = {name.rpartition("/")[0]: (name, path) for name, path in found.items()}
    bad = []
    for frame in frames:
        if frame.name in found:
            continue
        sibling = siblings.get(frame.name.rpartition("/")[0])
        reason = f"is missing, the {_WORDS[kind]} of {frame.name}"
        if sibling is None and kind != "coarse":
            reason += f"; looked for {layout.describe_layouts(split, kind)}"
        path = layout.expected_file(root, split, kind, frame.name, sibling)
        bad.append(BadFile(frame, path, reason))
    return bad


def _frames(
    names: Sequence[str], files: dict[str, layout.Files], intrinsics: dict[str, Intrinsics]
) -> list[Frame]:
    image, coarse, truth = (files.get(kind, {}) for kind in ("image", "coarse", "ground_truth"))
    return [
        Frame(
            name=name,
            image=image.get(name),
            sparse=files["sparse"].get(name, Path()),
            coarse=coarse.get(name),
            ground_truth=truth.get(name),
            intrinsics=intrinsics.get(name),
        )
        for name in names
    ]
