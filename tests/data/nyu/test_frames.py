"""The frames of NYU Depth v2 from HDF5 files and from records."""

import itertools

import numpy as np
import pytest

from fcfrnet_jax.data import check
from fcfrnet_jax.data.frame import neighbours
from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.data.nyu import protocol, search_frames
from fcfrnet_jax.data.reading import read_arrays
from fcfrnet_jax.data.sets import open_folder
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from tests.nyu_rooms import room, write_hdf5, write_records

NAMES = ("image", "sparse_depth", "ground_truth")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_hdf5(tmp_path_factory.mktemp("hdf5"), frames=1, tests=2)


def test_a_frame_has_the_arrays_of_the_protocol(files):
    frames, bad = search_frames(files, "train", points=50, seed=3)
    assert ([frame.name for frame in frames], bad) == (["kitchen_0004/00001"], [])
    found = read_arrays(frames[0], NAMES)
    image, depth = room(0)
    np.testing.assert_array_equal(found["image"], protocol.resize_image(image))
    np.testing.assert_array_equal(found["ground_truth"], protocol.resize_depth(depth))
    sparse = protocol.sample_points(found["ground_truth"], found["image"], 50, 3)
    np.testing.assert_array_equal(found["sparse_depth"], sparse)
    assert frames[0].intrinsics == protocol.INTRINSICS
    assert check.check_frames(frames, (224, 304)) == []


def test_files_and_records_have_the_same_points(files, tmp_path):
    """The rooms of the test split follow those of the three scenes."""
    write_records(tmp_path, "array_record", {"validation": [2]}, seed=3)
    ours = search_frames(files, "test")[0]
    theirs = search_frames(tmp_path, "test")[0]
    for one, other in zip(ours, theirs, strict=True):
        one, other = read_arrays(one, NAMES), read_arrays(other, NAMES)
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["sparse_depth"] > 0, other["sparse_depth"] > 0)
        assert other["sparse_depth"].dtype == np.float32
        assert np.abs(one["ground_truth"] - other["ground_truth"]).max() < 0.004


def test_damaged_frames_are_named(files, tmp_path):
    copy = write_hdf5(tmp_path, frames=2, tests=1)
    path = tmp_path / "nyudepthv2" / "train" / "kitchen_0004" / "00002.h5"
    path.write_bytes(path.read_bytes()[:5000])
    frames, _ = search_frames(copy, "train")
    (bad,) = check.check_frames(frames, (0, 0))
    assert bad.frame.name == "kitchen_0004/00002"
    assert bad.path == path
    assert bad.reason.startswith("cannot be read as HDF5: ")
    with pytest.raises(ValueError, match=r"kitchen_0004/00002\.h5 cannot be read as HDF5"):
        read_arrays(frames[1], NAMES)


def test_the_labelled_part_is_named(tmp_path):
    (tmp_path / "nyu_depth_v2_labeled.mat").touch()
    with pytest.raises(ValueError, match=r"labeled\.mat is not read: .*, splits\.mat; .*\.pytorch"):
        open_folder(tmp_path)


def test_damaged_records_are_left_out(tmp_path):
    folder = write_records(tmp_path, "tfrecord", {"train": [1, 1]})
    (path,) = folder.glob("*-00001-of-00002")
    path.write_bytes(path.read_bytes()[:-10])
    frames, bad = search_frames(tmp_path, "train")
    assert [frame.name for frame in frames] == ["train-00000-000000"]
    assert [(item.frame.name, item.reason) for item in bad] == [
        ("train-00001-000000", "has 0 records, expected 1")
    ]
    assert str(bad[0].path) == f"{path}:0"


def test_records_are_no_neighbours(tmp_path):
    """Consecutive records are of different rooms."""
    write_records(tmp_path, "array_record", {"train": [2]})
    assert neighbours(search_frames(tmp_path, "train")[0]) == [[], []]


def test_training_batches_hold_the_stored_arrays(files):
    frames, _ = search_frames(files, "train_and_val")
    settings = {"batch_size": 2, "crop": (224, 304), "seed": 1}
    whole = list(itertools.islice(make_train_dataset(frames, **settings), 3))
    resumed = next(iter(make_train_dataset(frames, first_step=2, **settings)))
    for name, array in whole[2].items():
        np.testing.assert_array_equal(resumed[name], array)
    for i, index in enumerate(resumed["index"]):
        for name, array in read_arrays(frames[index], NAMES).items():
            array = array if name == "image" else array[..., None]
            np.testing.assert_array_equal(resumed[name][i], array[4:])
        fx, fy, cx, cy = protocol.INTRINSICS
        assert resumed["intrinsics"][i] == pytest.approx((fx, fy, cx, cy - 4))


def test_coarse_maps(files, tmp_path):
    (frame,) = search_frames(files, "train")[0]
    path = tmp_path / f"{frame.name}.png"
    found, bad = search_frames(files, "train", coarse_dir=tmp_path)
    assert found == []
    assert [(item.path, item.reason) for item in bad] == [
        (path, f"is missing, the coarse depth of {frame.name}")
    ]
    path.parent.mkdir()
    write_depth(path, np.full((228, 304), 2.5))
    (found,), _ = search_frames(files, "train", coarse_dir=tmp_path)
    assert read_arrays(found, ["coarse_depth"])["coarse_depth"].min() == 2.5
    with pytest.raises(ValueError, match="coarse_dir is needed"):
        search_frames(files, "train", require=["coarse"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "val_selection"}, "unknown split 'val_selection' of NYU Depth v2"),
        ({"points": 0}, "points must be at least 1 and seed 0, got 0 and 0"),
        ({"seed": -1}, "points must be at least 1 and seed 0, got 500 and -1"),
    ],
)
def test_wrong_arguments(files, settings, message):
    with pytest.raises(ValueError, match=message):
        search_frames(files, **({"split": "train"} | settings))


def test_a_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        search_frames(tmp_path / "missing", "train")


def test_another_test_set_is_noted_once(files, tmp_path, caplog):
    folder = tmp_path / "nyu"
    folder.symlink_to(files)
    for _ in range(2):
        search_frames(folder, "test")
    assert caplog.text.count(f"has 654 frames, but {folder} has 2") == 1
