"""The description of a data set, and its messages."""

import json
import time

import pytest

from fcfrnet_jax.data.own.description import Description, read_description
from fcfrnet_jax.data.sets import open_folder
from tests.own_data import DESCRIPTION


def read(folder, record):
    (folder / "dataset.json").write_text(json.dumps(record))
    return read_description(folder)


def test_a_complete_description(tmp_path):
    assert read(tmp_path, DESCRIPTION) == Description(
        sparse_depth="lidar/{drive}/{number}.npy",
        image="rgb/{drive}/{number}.jpg",
        ground_truth="truth/{drive}_{number}.png",
        depth_scale={"ground_truth": 1000},
        intrinsics="calibration/{drive}.txt",
        splits={"train": ["a/*"], "val": ["b/*"]},
        limits=(0.5, 60.0),
    )


def test_one_scale_is_that_of_both_maps(tmp_path):
    found = read(tmp_path, DESCRIPTION | {"depth_scale": 256})
    assert found.depth_scale == {"sparse_depth": 256, "ground_truth": 256}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sparse": "x"}, "unknown entry 'sparse'; known are sparse_depth, image"),
        (
            {"image": "rgb/{number}.jpg"},
            r"image=rgb/\{number\}\.jpg and sparse_depth=.* same fields",
        ),
        ({"image": 3}, "image must be a pattern of paths relative to the folder and in it, got 3"),
        ({"image": "/rgb/{drive}/{number}.jpg"}, "image must be a pattern of paths relative to"),
        ({"image": "rgb/all.jpg"}, r"image=rgb/all\.jpg must have fields in braces"),
        ({"depth_scale": {"image": 1}}, "depth_scale must be a number, or one for each of"),
        ({"depth_scale": "mm"}, "depth_scale must be a number, or one for each of .* got 'mm'"),
        ({"limits": [5, 1]}, r"limits must be \[smallest, largest\] in metres, got \[5, 1\]"),
        ({"intrinsics": [0, 1, 2, 3]}, r"intrinsics must be \[fx, fy, cx, cy\] in pixels, or"),
        ({"intrinsics": "{camera}.txt"}, r"intrinsics=\{camera\}\.txt must have fields of the"),
        ({"splits": {}}, "but neither is there"),
        ({"splits": {"train": "a"}}, "splits must be lists of names by split"),
        ({"splits": {"../a": ["*"]}}, "names of splits must be words without slashes, got"),
        ({"max_depth": -1}, "max_depth must be metres, 0 or more, got -1"),
        ({"depth_scale": 10**400}, "depth_scale must be a number, or one for each of"),
        ({"image": "a/../../{drive}/{number}.jpg"}, "image must be a pattern of .* and in it, got"),
    ],
)
def test_faults_are_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=rf"dataset\.json: .*{message}"):
        read(tmp_path, DESCRIPTION | changes)


def test_sparse_depth_is_needed(tmp_path):
    record = {name: value for name, value in DESCRIPTION.items() if name != "sparse_depth"}
    with pytest.raises(ValueError, match=r'dataset\.json: "sparse_depth", the pattern'):
        read(tmp_path, record)


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(ValueError, match=r"dataset\.json.*describe the data set"):
        read_description(tmp_path)


def test_names_and_patterns_of_splits():
    splits = {"train": ["a/1", "b/*", "c/[12]"], "val": ["a/?"]}
    description = Description("{drive}/{number}.npy", splits=splits)
    found = [description.split_of(name, {}) for name in ("a/1", "a/11", "b/1/2", "c/2", "c/3")]
    assert found == [{"train", "val"}, set(), {"train"}, {"train"}, set()]


def test_many_names_of_splits_are_looked_up_at_once():
    names = [f"{number:06}" for number in range(40_000)]
    description = Description("{number}.npy", splits={"train": names[:20_000], "val": names})
    start = time.process_time()
    found = [description.split_of(name, {}) for name in names]
    assert sum("train" in splits for splits in found) == 20_000
    # One after the other takes minutes.
    assert time.process_time() - start < 5


def test_a_description_of_another_kind_is_not_taken_for_kitti(tmp_path):
    (tmp_path / "dataset.json").symlink_to("missing")
    with pytest.raises(ValueError, match=r"dataset\.json: is not a file; describe"):
        open_folder(tmp_path)


def test_a_byte_order_mark_is_accepted(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(DESCRIPTION), encoding="utf-8-sig")
    assert read_description(tmp_path).limits == (0.5, 60)
