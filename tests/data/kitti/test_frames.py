"""Pairing the files of the KITTI benchmark, calibration, and errors."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import logging

from fcfrnet_jax.data.kitti import find_frames, read_calibration, read_intrinsics, search_frames
from fcfrnet_jax.data.kitti.layout import IMAGE_LAYOUTS
from tests import kitti_tree as tree
from tests.kitti_tree import DRIVE_NAMES, SELECTION_NAMES, flat_coarse_maps, move, names


def test_files_that_are_not_required_may_be_missing(drive_dir: Path) -> None:
    shutil.rmtree(drive_dir / "raw")
    frames = find_frames(drive_dir, "val", require=())
    assert names(frames) == DRIVE_NAMES
    assert all(f.image is None and f.ground_truth is None and f.intrinsics is None for f in frames)


# Pairing.


def test_extra_images_of_a_drive_are_fine(drive_dir: Path) -> None:
    tree.random_image(find_frames(drive_dir, "val")[0].image.with_name("0000000000.png"))
    assert names(find_frames(drive_dir, "val")) == DRIVE_NAMES


def test_missing_files_are_named_with_their_expected_paths(drive_dir: Path) -> None:
    frames = find_frames(drive_dir, "val")
    for kind in ("image", "ground_truth", "sparse"):
        path = getattr(frames[1], kind)
        content = path.read_bytes()
        path.unlink()
        word = {"ground_truth": "ground truth", "sparse": "sparse depth"}.get(kind, kind)
        match = rf"1 of 3 val frames .*: {path} is missing, the {word} of {frames[1].name}$"
        with pytest.raises(ValueError, match=match):
            find_frames(drive_dir, "val")
        complete, (bad,) = search_frames(drive_dir, "val")
        assert complete == [frames[0], frames[2]]
        assert (bad.frame.name, bad.path) == (frames[1].name, path)
        path.write_bytes(content)


def test_the_places_of_a_missing_image_are_listed(drive_dir: Path) -> None:
    tree.write_drive(drive_dir, drive="2011_09_26_drive_0010_sync", numbers=[1])
    images = drive_dir / "raw/2011_09_26/2011_09_26_drive_0010_sync/image_02/data"
    shutil.rmtree(images)
    frames, (bad,) = search_frames(drive_dir, "val")
    assert names(frames) == DRIVE_NAMES
    assert bad.path == images / "0000000001.png"
    for layout in IMAGE_LAYOUTS:
        where = layout.format(split="val", date="<date>", drive="<drive>", camera="image_0[23]")
        assert f"{where} or " in bad.reason + " or "


def test_one_missing_and_one_extra_are_not_paired_by_position(selection: Path) -> None:
    path = next((selection / "image").glob("*0000000008*"))
    path.rename(path.with_name(path.name.replace("08", "09")))
    frames, bad = search_frames(selection, "val_selection")
    assert names(frames) == [SELECTION_NAMES[0], SELECTION_NAMES[2]]
    number = {item.path.parent.name: item.path.stem.split("_")[-3] for item in bad}
    assert number == {
        "image": "0000000008",
        "groundtruth_depth": "0000000009",
        "velodyne_raw": "0000000009",
    }


@pytest.mark.parametrize("kind", ["image", "groundtruth_depth"])
def test_files_of_a_selection_without_sparse_depth(selection: Path, kind: str) -> None:
    path = next((selection / "velodyne_raw").glob("*0000000008*"))
    path.unlink()
    other = {"image": "ground_truth", "groundtruth_depth": "image"}[kind]
    match = rf"{path} is missing, the sparse depth of {SELECTION_NAMES[1]}"
    with pytest.raises(ValueError, match=match):
        find_frames(selection, "val_selection", require=(other,))


def test_two_files_for_one_frame(selection: Path) -> None:
    path = next((selection / "image").glob("*0000000008*"))
    shutil.copy(path, path.with_suffix(".jpg"))
    with pytest.raises(ValueError, match=r"has both .* and .*: keep one"):
        find_frames(selection, "val_selection")


def test_calibration_is_optional(selection: Path) -> None:
    next((selection / "intrinsics").glob("*0000000008*")).unlink()
    intrinsics = [frame.intrinsics for frame in find_frames(selection, "val_selection")]
    assert intrinsics == [tree.INTRINSICS, None, tree.INTRINSICS]


@pytest.mark.parametrize("split", ["val", "val_selection"])
def test_intrinsics_can_be_required(drive_dir: Path, selection: Path, split: str) -> None:
    paths = [drive_dir / "raw/2011_09_26/calib_cam_to_cam.txt"] * 3
    if split == "val_selection":
        paths = sorted((selection / "intrinsics").iterdir())[1:2]
    paths[0].write_text("P_rect_02: 1 0 2 0 0 1\n")
    frames, bad = search_frames(drive_dir, split, require=("image", "intrinsics"))
    assert [item.path for item in bad] == paths
    assert "is damaged: " in bad[0].reason
    assert len(frames) == 3 - len(paths)
    paths[0].unlink()
    _, bad = search_frames(drive_dir, split, require=("image", "intrinsics"))
    assert [item.path for item in bad] == paths
    assert "is missing or lacks the camera" in bad[0].reason
    # Frames that do not need them can be used.
    assert len(find_frames(drive_dir, split)) == 3


def test_a_broken_calibration_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "calib_cam_to_cam.txt"
    path.write_text("P_rect_02: 1 0 2 0 0 1\n")
    with pytest.raises(ValueError, match="P_rect_02 must be 12 numbers, got 6"):
        read_calibration(path)
    path.write_text("1 0 0 0 x 0 0 0 1")
    with pytest.raises(ValueError, match="intrinsics must be 9 numbers, got 0"):
        read_intrinsics(path)


# Coarse maps.


@pytest.mark.parametrize("split", ["val", "val_selection"])
def test_numbered_coarse_maps_are_matched_in_order(
    drive_dir: Path, selection: Path, caplog: pytest.LogCaptureFixture, split: str
) -> None:
    folder = flat_coarse_maps(drive_dir / "dense", [f"{i:010d}" for i in range(3)])
    with caplog.at_level("INFO", logger=logging.get_absl_logger().name):
        frames = find_frames(drive_dir, split, coarse_dir=folder)
    assert [frame.coarse.stem for frame in frames] == ["0000000000", "0000000001", "0000000002"]
    assert "assigned in the order of the frames" in caplog.text


@pytest.mark.parametrize("numbers", [(0, 1), (0, 1, 3), (1, 2, 3), (0, 1, 2, 3)], ids=str)
def test_numbers_with_a_gap_or_another_count(
    selection: Path, tmp_path: Path, numbers: tuple
) -> None:
    folder = flat_coarse_maps(tmp_path / "dense", [f"{i:010d}" for i in numbers])
    match = f"3 of 3 .* have no coarse: .*; {len(numbers)} maps were found"
    with pytest.raises(ValueError, match=match):
        find_frames(selection, "val_selection", coarse_dir=folder)


def test_coarse_maps_of_the_test_set_are_matched_by_name(tmp_path: Path) -> None:
    tree.write_test_selection(tmp_path)
    stems = ["0000000002", "0000000000", "0000000001", "0000000003"]
    folder = flat_coarse_maps(tmp_path / "dense", stems)
    frames = find_frames(tmp_path, "test_completion", coarse_dir=folder, require=("image",))
    assert [frame.coarse.stem for frame in frames] == names(frames)


# Errors of the user.


@pytest.mark.parametrize(
    ("given", "meant"), [("..", "."), ("val", "."), ("data_depth_velodyne", ".")]
)
def test_a_data_dir_one_level_too_high_or_too_low(tmp_path: Path, given: str, meant: str) -> None:
    data_dir = tmp_path / "kitti"
    tree.write_drive(data_dir)
    move(data_dir, "data_depth_annotated/val", "val")
    with pytest.raises(
        ValueError, match=f"did you mean data_dir={(data_dir / meant).resolve()}\\?"
    ):
        find_frames((data_dir / given).resolve(), "val")


def test_no_frames_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(
        ValueError, match=r"no val frames under .*val/<drive>/proj_depth/velodyne_raw"
    ):
        find_frames(tmp_path, "val")
    with pytest.raises(ValueError, match=r"data_dir=.*none: there is no such folder"):
        find_frames(tmp_path / "none", "val")
    (tmp_path / "archive.zip").touch()
    with pytest.raises(ValueError, match=r"data_dir=.*archive.zip: a file, expected a folder$"):
        find_frames(tmp_path / "archive.zip", "val")
    tree.write_drive(tmp_path)
    with pytest.raises(ValueError, match=r"no train frames .*; the folder has val \(3 frames\)$"):
        find_frames(tmp_path, "train")
    with pytest.raises(ValueError, match=r"coarse_dir=.*none: there is no such folder"):
        find_frames(tmp_path, "val", coarse_dir=tmp_path / "none")


def test_unknown_requests(drive_dir: Path) -> None:
    with pytest.raises(ValueError, match="unknown split 'test': expected one of train, val"):
        find_frames(drive_dir, "test")
    with pytest.raises(ValueError, match="unknown depth: a frame can require image"):
        find_frames(drive_dir, "val", require=("depth",))


def test_every_message_is_one_short_line(drive_dir: Path) -> None:
    tree.write_drive(drive_dir, numbers=range(300))
    shutil.rmtree(drive_dir / "raw")
    with pytest.raises(ValueError, match=r"300 of 300 .* and 297 more") as error:
        find_frames(drive_dir, "val")
    assert "\n" not in str(error.value)
    assert "looked for raw/<date>/<drive>/image_0[23]/data or" in str(error.value)
    assert len(str(error.value)) < 1000


def test_tensorflow_is_not_imported_before_a_dataset_is_opened() -> None:
    modules = "fcfrnet_jax.data.kitti.frames, fcfrnet_jax.data.check, fcfrnet_jax.data.pipeline"
    code = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


# Real frames.


@pytest.mark.parametrize(("split", "count"), [("train", 26), ("val", 7), ("val_selection", 6)])
def test_real_frames_are_found(kitti_real: Path, split: str, count: int) -> None:
    frames = find_frames(kitti_real, split)
    assert len(frames) == count
    assert frames == find_frames(kitti_real, split)
    assert names(frames) == sorted(names(frames))


def test_real_intrinsics_of_the_selection_are_the_raw_ones_cropped(kitti_real: Path) -> None:
    for frame in find_frames(kitti_real, "val_selection"):
        date, camera = frame.name[:10], frame.name[-8:]
        raw = read_calibration(kitti_real / "raw" / date / "calib_cam_to_cam.txt")[camera]
        height, width = {"2011_09_26": (375, 1242), "2011_09_30": (370, 1226)}[date]
        shift = (0, 0, (width - 1216) / 2, height - 352)
        np.testing.assert_allclose(frame.intrinsics, np.subtract(raw, shift), atol=1e-3)
