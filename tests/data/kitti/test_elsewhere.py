"""What errors say of folders with unknown names; the advice is then followed."""

import re
import shutil
from pathlib import Path

import pytest

from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.kitti.elsewhere import suggest
from tests import kitti_tree as tree
from tests.kitti_tree import DRIVE_NAMES, move, names

DATE = "2011_09_26"
RAW = f"raw/2011_09_26/{tree.DRIVE}"
SPARSE = f"data_depth_velodyne/val/{tree.DRIVE}"
TRUTH = f"data_depth_annotated/val/{tree.DRIVE}"


@pytest.mark.parametrize(
    ("source", "target", "advice"),
    [
        (
            RAW,
            f"images/2011_09_26/{tree.DRIVE}",
            "the content of images/2011_09_26 to raw/2011_09_26",
        ),
        (RAW, f"a/b/val/{tree.DRIVE}", "a/b/val to data_rgb/val"),
        (RAW, f"rgb/{tree.DRIVE}", f"rgb/{tree.DRIVE} to {RAW}"),
        (SPARSE, f"a/b/val/{tree.DRIVE}", "the content of a/b/val to data_depth_velodyne/val"),
        (SPARSE, f"lidar/{tree.DRIVE}", f"lidar/{tree.DRIVE} to {SPARSE}"),
        (TRUTH, f"truth/val/{tree.DRIVE}", "the content of truth/val to data_depth_annotated/val"),
        (TRUTH, tree.DRIVE, f"{tree.DRIVE} to {TRUTH}"),
    ],
)
def test_a_folder_of_another_name(drive_dir: Path, source: str, target: str, advice: str) -> None:
    move(drive_dir, source, target)
    with pytest.raises(ValueError, match=f"move {re.escape(advice)}$") as error:
        find_frames(drive_dir, "val")
    assert f"; found {drive_dir}" in str(error.value)
    found, place = advice.removeprefix("the content of ").split(" to ")
    inner = f"/{tree.DRIVE}" if advice.startswith("the content") else ""
    move(drive_dir, found + inner, place + inner)
    assert names(find_frames(drive_dir, "val")) == DRIVE_NAMES


def test_a_selection_in_another_folder(selection: Path, tmp_path: Path) -> None:
    move(tmp_path, "depth_selection", "a/b")
    place = "a/b/val_selection_cropped"
    with pytest.raises(ValueError, match=f"move {place} to {tree.SELECTION}$"):
        find_frames(tmp_path, "val_selection")


@pytest.mark.parametrize("below", ["dataset", "a/dataset", "a/b/dataset"])
def test_a_data_set_some_levels_deeper(tmp_path: Path, below: str) -> None:
    tree.write_drive(tmp_path / "kitti" / below)
    with pytest.raises(ValueError, match=rf"did you mean data_dir=\S+/kitti/{below}\?$"):
        find_frames(tmp_path / "kitti", "val")


def test_another_name_of_a_split(drive_dir: Path) -> None:
    move(drive_dir, "data_depth_velodyne/val", "data_depth_velodyne/validation")
    assert suggest(drive_dir, "train", "sparse") == ""
    place = "data_depth_velodyne/validation to data_depth_velodyne/val"
    with pytest.raises(ValueError, match=rf"proj_depth/velodyne_raw: move {place}$"):
        find_frames(drive_dir, "val")


def test_what_is_missing_is_named(drive_dir: Path) -> None:
    shutil.rmtree(drive_dir / "data_depth_velodyne")
    shutil.rmtree(drive_dir / "data_depth_annotated")
    for advice in (
        "found raw data, .*_sync, which has no depth maps: unpack data_depth_velodyne.zip and ",
        "found data_depth_annotated.zip: unpack them, or build shards",
        ": the folder is empty; unpack",
    ):
        with pytest.raises(ValueError, match=advice):
            find_frames(drive_dir, "val")
        if "found raw" in advice:
            (drive_dir / "data_depth_annotated.zip").touch()
        else:
            shutil.rmtree(drive_dir)
            drive_dir.mkdir()


def test_nothing_is_suggested_without_files(tmp_path: Path) -> None:
    assert suggest(tmp_path, "val", "image") == suggest(tmp_path, "val", "sparse") == ""


def test_frames_of_the_other_split_are_not_moved(drive_dir: Path) -> None:
    assert suggest(drive_dir, "train", "sparse") == ""
    move(drive_dir, SPARSE, f"a/val/{tree.DRIVE}")
    assert suggest(drive_dir, "train", "sparse") == ""
    assert "a/val" in suggest(drive_dir, "val", "sparse")
