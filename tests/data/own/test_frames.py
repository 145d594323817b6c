"""Frames of a data set that is described by patterns of its files."""

import shutil

import cv2
import numpy as np
import pytest

from fcfrnet_jax.data.check import check_frames, read_frame
from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.data.sets import open_folder
from tests import own_data

NEEDED = ("image", "ground_truth", "intrinsics")


def search(folder, split="train", require=NEEDED, coarse_dir=None):
    return open_folder(folder).search(split, coarse_dir=coarse_dir, require=require)


def test_frames_have_the_arrays_of_their_files(tmp_path):
    truths = own_data.write(tmp_path)
    frames, bad = search(tmp_path)
    assert bad == []
    assert [frame.name for frame in frames] == ["a/0000", "a/0001", "a/0002"]
    assert frames[0].intrinsics == (40, 40, 24, 16)
    arrays, bad = read_frame(frames[1], (0, 0))
    assert bad == []
    np.testing.assert_allclose(arrays["ground_truth"], truths["a", 1], rtol=1e-6)
    sparse = np.nan_to_num(np.load(tmp_path / "lidar" / "a" / "0001.npy"))
    np.testing.assert_array_equal(arrays["sparse_depth"], sparse)
    image = cv2.imread(str(tmp_path / "rgb" / "a" / "0001.jpg"))[..., ::-1]
    np.testing.assert_array_equal(arrays["image"], image)


def test_what_the_data_set_is(tmp_path):
    own_data.write(tmp_path)
    found = open_folder(tmp_path)
    assert found.splits == found.train_splits == found.truth_splits == ("train", "val")
    assert found.limits == (0.5, 60)
    assert not found.stores_coarse("train")
    images = found.find_images("val", ["b/0001"])
    assert images == {"b/0001": tmp_path / "rgb" / "b" / "0001.jpg"}


def test_files_are_listed_once(tmp_path):
    own_data.write(tmp_path)
    found = open_folder(tmp_path)
    shutil.rmtree(tmp_path / "rgb")
    for split in found.splits:
        frames, _ = found.search(split, coarse_dir=None, require=("image",))
        assert len(frames) == len(found.find_images(split, [f.name for f in frames])) == 3


def test_a_split_may_have_no_ground_truth(tmp_path):
    own_data.write(tmp_path)
    for path in (tmp_path / "truth").glob("b_*"):
        path.unlink()
    found = open_folder(tmp_path)
    assert (found.splits, found.truth_splits) == (("train", "val"), ("train",))
    assert found.notes() == ["no frame of val has ground truth"]


def test_a_split_can_be_a_field_of_the_patterns(tmp_path):
    patterns = {
        "image": "rgb/{split}/{number}.jpg",
        "sparse_depth": "lidar/{split}/{number}.npy",
        "ground_truth": "truth/{split}_{number}.png",
        "intrinsics": [40, 40, 24, 16],
        "splits": {},
    }
    own_data.write(tmp_path, **patterns)
    assert open_folder(tmp_path).splits == ("a", "b")
    frames, _ = search(tmp_path, "b")
    assert [frame.name for frame in frames] == ["0000", "0001", "0002"]


def test_names_have_the_order_of_the_pattern(tmp_path):
    patterns = {
        "image": "rgb/{scene}/{frame}.jpg",
        "sparse_depth": "lidar/{scene}/{frame}.npy",
        "ground_truth": "truth/{scene}_{frame}.png",
        "intrinsics": "calibration/{scene}.txt",
    }
    own_data.write(tmp_path, **patterns)
    assert search(tmp_path)[0][0].name == "a/0000"


def test_frames_that_lack_something_are_bad(tmp_path):
    own_data.write(tmp_path)
    (tmp_path / "rgb" / "a" / "0001.jpg").unlink()
    frames, [bad] = search(tmp_path)
    assert [frame.name for frame in frames] == ["a/0000", "a/0002"]
    assert bad.path == tmp_path / "lidar" / "a" / "0001.npy"
    assert bad.reason == "has no file of image=rgb/{drive}/{number}.jpg"
    assert len(search(tmp_path, require=())[0]) == 3


def test_coarse_maps_have_the_names_of_the_frames(tmp_path):
    own_data.write(tmp_path / "data")
    write_depth(tmp_path / "coarse" / "a" / "0000.png", np.full(own_data.SIZE, 5.0))
    frames, bad = search(tmp_path / "data", require=("coarse",), coarse_dir=tmp_path / "coarse")
    assert [frame.name for frame in frames] == ["a/0000"]
    assert [item.reason for item in bad] == ["is missing"] * 2
    arrays, _ = read_frame(frames[0], (0, 0))
    np.testing.assert_array_equal(arrays["coarse_depth"], 5)


def test_damaged_files_are_named(tmp_path):
    own_data.write(tmp_path)
    (tmp_path / "rgb" / "a" / "0000.jpg").write_bytes(b"nothing")
    (tmp_path / "lidar" / "a" / "0001.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "truth" / "a_0002.png").unlink()
    frames, _ = search(tmp_path, require=())
    bad = check_frames(frames, (0, 0))
    found = {item.path.relative_to(tmp_path).as_posix(): item.reason for item in bad}
    assert found.keys() == {"rgb/a/0000.jpg", "lidar/a/0001.npy"}
    assert all(str(tmp_path) not in reason for reason in found.values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "is missing, see intrinsics in dataset.json"),
        ("1 2 3", "intrinsics must be 9 numbers, got 3"),
    ],
)
def test_frames_without_calibration_are_bad_if_it_is_needed(tmp_path, content, reason):
    own_data.write(tmp_path)
    path = tmp_path / "calibration" / "a.txt"
    path.unlink() if content is None else path.write_text(content)
    frames, bad = search(tmp_path)
    assert frames == []
    assert {(item.path, item.reason) for item in bad} == {(path, reason)}
    frames, bad = search(tmp_path, require=("image",))
    assert [frame.intrinsics for frame in frames] == [None] * 3
    assert bad == []


def test_each_file_with_the_same_fault_is_named(tmp_path):
    own_data.write(tmp_path)
    paths = tmp_path / "lidar" / "a" / "0000.npy", tmp_path / "truth" / "a_0000.png"
    np.save(paths[0], np.zeros(own_data.SIZE, np.float32))
    write_depth(paths[1], np.zeros(own_data.SIZE))
    bad = check_frames(search(tmp_path)[0], (0, 0))
    assert [item.path for item in bad] == [*paths]


def test_the_first_folder_of_a_pattern_may_vary(tmp_path):
    own_data.write(tmp_path, sparse_depth="li*/{drive}/{number}.npy")
    assert [frame.name for frame in search(tmp_path)[0]] == ["a/0000", "a/0001", "a/0002"]


def test_two_frames_of_the_same_name_are_refused(tmp_path):
    own_data.write(tmp_path, sparse_depth="lidar/{drive}_{number}.npy", splits={"train": ["*"]})
    for name in ("x_y/z.npy", "x/y_z.npy"):
        (tmp_path / "lidar" / name).parent.mkdir()
        (tmp_path / "lidar" / name).touch()
    message = r"lidar/x/y_z\.npy and \S*lidar/x_y/z\.npy have the same fields .*, x/y/z; remove one"
    with pytest.raises(ValueError, match=message):
        search(tmp_path)


def test_a_split_without_frames_is_refused(tmp_path):
    own_data.write(tmp_path, drives=("a",))
    message = (
        r"no frames of the split 'val': none of 3 frames .* b/\*; the names are a/0000, a/0001"
    )
    with pytest.raises(ValueError, match=message):
        search(tmp_path, "val")


def test_a_pattern_may_begin_with_any_folder(tmp_path):
    own_data.write(tmp_path, image="./rgb//*/{number}.jpg", **own_data.OF_ONE_DRIVE)
    shutil.rmtree(tmp_path / "rgb" / "b")
    frames, bad = search(tmp_path)
    assert (len(frames), bad) == (3, [])


def test_a_pattern_without_files_says_what_there_is(tmp_path):
    own_data.write(tmp_path)
    shutil.move(tmp_path / "rgb" / "a" / "0000.jpg", tmp_path / "lidar" / "0000.jpg")
    shutil.rmtree(tmp_path / "rgb")
    (tmp_path / "rgb").mkdir()
    (tmp_path / "rgb" / "readme.md").touch()
    message = (
        r"rgb has no file that matches image=rgb/\{drive\}/\{number\}.jpg .* found rgb/readme\.md"
    )
    with pytest.raises(ValueError, match=message):
        search(tmp_path)


def test_leftover_files_and_frames_are_described(tmp_path):
    own_data.write(tmp_path, splits={"train": ["a/*"], "val": ["*/0000"]})
    assert open_folder(tmp_path).notes() == [
        "2 frames in no split: b/0001, b/0002",
        "1 frame in several splits: a/0000",
    ]
    (tmp_path / "lidar" / "b" / "0001.npy").unlink()
    image, truth = tmp_path / "rgb" / "b" / "0001.jpg", tmp_path / "truth" / "b_0001.png"
    assert open_folder(tmp_path).notes()[:2] == [
        f"1 file of image without sparse depth: {image}",
        f"1 file of ground_truth without sparse depth: {truth}",
    ]
