"""Every folder layout in which the files of the KITTI benchmark are found."""

import shutil
from pathlib import Path

import pytest

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti import find_frames
from tests import kitti_tree as tree
from tests.kitti_tree import DRIVE_NAMES, SELECTION_NAMES, flat_coarse_maps, move, names


def test_the_archives_of_the_benchmark(drive_dir: Path) -> None:
    frames = find_frames(drive_dir, "val")
    assert names(frames) == DRIVE_NAMES
    file = "image_02/0000000006.png"
    depth = f"val/{tree.DRIVE}/proj_depth"
    raw = drive_dir / "raw/2011_09_26" / tree.DRIVE
    assert frames[1] == Frame(
        name=DRIVE_NAMES[1],
        image=raw / "image_02/data/0000000006.png",
        sparse=drive_dir / "data_depth_velodyne" / depth / "velodyne_raw" / file,
        coarse=None,
        ground_truth=drive_dir / "data_depth_annotated" / depth / "groundtruth" / file,
        intrinsics=tree.INTRINSICS,
    )


@pytest.mark.parametrize(
    "image_dir",
    [
        *(
            "2011_09_26",
            "data_rgb/val",
            "data_depth_annotated/val",
            "data_depth_velodyne/val",
            "val",
        ),
        *("rawdata/2011_09_26", "raw_data/2011_09_26", "kitti_raw/2011_09_26", "kitti_rgb/val"),
        *(f"{tree.DRIVE}/2011_09_26", f"rawdata/{tree.DRIVE}/2011_09_26"),
        *("kitti_depth/val", "val"),
    ],
)
def test_every_place_for_images(drive_dir: Path, image_dir: str) -> None:
    target = f"{image_dir}/{tree.DRIVE}/image_02"
    move(drive_dir, f"raw/2011_09_26/{tree.DRIVE}/image_02", target)
    expected = [drive_dir / target / "data" / f"{i:010d}.png" for i in (5, 6, 7)]
    assert [frame.image for frame in find_frames(drive_dir, "val")] == expected


@pytest.mark.parametrize(
    "folder",
    ["2011_09_26", "rawdata/2011_09_26", "2011_09_26_calib/2011_09_26", "kitti_raw/2011_09_26"],
)
def test_every_place_for_calibrations(drive_dir: Path, folder: str) -> None:
    file = "calib_cam_to_cam.txt"
    move(drive_dir, f"raw/2011_09_26/{file}", f"{folder}/{file}")
    assert find_frames(drive_dir, "val")[0].intrinsics == tree.INTRINSICS


@pytest.mark.parametrize("above", ["kitti_depth", "kitti_depth/depth", "depth"])
def test_archives_in_a_folder_of_the_benchmark(drive_dir: Path, above: str) -> None:
    for archive in ("data_depth_velodyne", "data_depth_annotated"):
        move(drive_dir, archive, f"{above}/{archive}")
    assert names(find_frames(drive_dir, "val")) == DRIVE_NAMES


@pytest.mark.parametrize("place", ["data_depth_{0}/data_depth_{0}", "depth_{0}", "depth/depth_{0}"])
def test_archives_in_folders_of_other_names(drive_dir: Path, place: str) -> None:
    for archive in ("velodyne", "annotated"):
        move(drive_dir, f"data_depth_{archive}/val", f"{place.format(archive)}/val")
    assert names(find_frames(drive_dir, "val")) == DRIVE_NAMES


def test_both_depths_in_one_tree(drive_dir: Path) -> None:
    for archive, kind in (("velodyne", "velodyne_raw"), ("annotated", "groundtruth")):
        proj_depth = f"val/{tree.DRIVE}/proj_depth"
        move(drive_dir, f"data_depth_{archive}/{proj_depth}/{kind}", f"{proj_depth}/{kind}")
    frames = find_frames(drive_dir, "val")
    assert names(frames) == DRIVE_NAMES
    assert frames[0].ground_truth.parts[-3] == "groundtruth"


def test_the_archives_take_precedence_over_a_second_copy(drive_dir: Path) -> None:
    expected = find_frames(drive_dir, "val")
    shutil.copytree(drive_dir / "data_depth_velodyne/val", drive_dir / "val")
    shutil.copytree(drive_dir / "raw/2011_09_26", drive_dir / "2011_09_26")
    assert find_frames(drive_dir, "val") == expected


def test_splits_and_cameras_are_kept_apart(drive_dir: Path) -> None:
    tree.write_drive(drive_dir, "train", [1], drive="2011_09_28_drive_0001_sync")
    tree.write_drive(drive_dir, "val", [2], camera="image_03")
    assert names(find_frames(drive_dir, "train")) == [
        "2011_09_28_drive_0001_sync/image_02/0000000001"
    ]
    frames = find_frames(drive_dir, "val")
    assert names(frames) == [*DRIVE_NAMES, f"{tree.DRIVE}/image_03/0000000002"]
    assert [frame.intrinsics[0] for frame in frames] == [7.5, 7.5, 7.5, 8.5]


@pytest.mark.parametrize(
    "data_dir",
    [".", "depth_selection", tree.SELECTION, "data_depth_selection", "data_depth_selection/"],
    ids=str,
)
def test_val_selection_layouts(selection: Path, tmp_path: Path, data_dir: str) -> None:
    if data_dir == "data_depth_selection":
        move(tmp_path, "depth_selection", "data_depth_selection/depth_selection")
        data_dir = "."
    elif data_dir == "data_depth_selection/":
        move(tmp_path, "depth_selection", "kitti_depth/depth/data_depth_selection")
        data_dir = "."
    frames = find_frames(tmp_path / data_dir, "val_selection")
    assert names(frames) == SELECTION_NAMES
    assert [frame.image.stem for frame in frames] == SELECTION_NAMES
    assert frames[0].sparse.stem == f"{tree.DRIVE}_velodyne_raw_0000000005_image_02"
    assert frames[0].ground_truth.stem == f"{tree.DRIVE}_groundtruth_depth_0000000005_image_02"
    assert frames[0].intrinsics == tree.INTRINSICS


def test_test_completion(tmp_path: Path) -> None:
    tree.write_test_selection(tmp_path / tree.TEST)
    frames = find_frames(tmp_path, "test_completion", require=("image",))
    assert names(frames) == ["0000000000", "0000000001", "0000000002"]
    assert all(frame.ground_truth is None for frame in frames)
    with pytest.raises(ValueError, match="no public ground truth"):
        find_frames(tmp_path, "test_completion")


def test_jpeg_images(drive_dir: Path) -> None:
    for path in (drive_dir / "raw").rglob("*.png"):
        path.rename(path.with_suffix(".jpg"))
    assert {frame.image.suffix for frame in find_frames(drive_dir, "val")} == {".jpg"}


def test_hidden_files_are_ignored(drive_dir: Path) -> None:
    sparse = find_frames(drive_dir, "val")[0].sparse
    (sparse.parent / "._0000000005.png").write_bytes(b"finder")
    assert names(find_frames(drive_dir, "val")) == DRIVE_NAMES


@pytest.mark.parametrize("kind", ["image", "velodyne_raw", "groundtruth_depth"])
def test_coarse_maps_beside_the_sparse_depth(selection: Path, kind: str) -> None:
    stems = [name.replace("_image_0", f"_{kind}_0", 1) for name in reversed(SELECTION_NAMES)]
    folder = flat_coarse_maps(selection / "data_depth_dense_new", stems)
    frames = find_frames(selection, "val_selection", require=("coarse",))
    assert [frame.coarse for frame in frames] == [folder / f"{s}.png" for s in reversed(stems)]


def test_a_coarse_tree_in_the_selection_layout(selection: Path, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "depth_selection", tmp_path / "dense/depth_selection")
    frames = find_frames(tmp_path, "val_selection", coarse_dir=tmp_path / "dense")
    folder = tmp_path / "dense" / tree.SELECTION / "velodyne_raw"
    assert [f.coarse for f in frames] == [folder / f.sparse.name for f in frames]


@pytest.mark.parametrize(
    "layout",
    [
        "data_depth_velodyne/val/{}/proj_depth/velodyne_raw/image_02",
        "val/{}/proj_depth/velodyne_raw/image_02",
        "val/{}/proj_depth/data_depth_dense_new/image_02",
        "{}/image_02",
    ],
)
def test_a_coarse_tree_of_drives(drive_dir: Path, layout: str) -> None:
    folder = drive_dir / "dense" / layout.format(tree.DRIVE)
    flat_coarse_maps(folder, ["0000000006", "0000000005", "0000000007", "0000000008"])
    frames = find_frames(drive_dir, "val", coarse_dir=drive_dir / "dense")
    assert [frame.coarse for frame in frames] == [folder / f.sparse.name for f in frames]


def test_flat_coarse_maps_of_drives_by_name(drive_dir: Path) -> None:
    stems = [f"{tree.DRIVE}_velodyne_raw_{i:010d}_image_02" for i in (7, 6, 5)]
    folder = flat_coarse_maps(drive_dir / "dense", stems)
    frames = find_frames(drive_dir, "val", coarse_dir=folder)
    assert [frame.coarse.stem for frame in frames] == stems[::-1]


def test_the_two_selections_are_distinguished(selection: Path) -> None:
    with pytest.raises(ValueError, match="no test_completion frames"):
        find_frames(selection, "test_completion", require=("image",))
