"""The HDF5 files: splits, and files that cannot be used."""

import os

import h5py
import numpy as np
import pytest

from fcfrnet_jax.data.nyu import hdf5
from tests.nyu_rooms import room, write_file

SCENES = [f"{kind}_{i:04d}" for kind in ("office", "bedroom", "kitchen") for i in range(100)]


def make(root, *names):
    for name in names:
        path = root / f"{name}.h5"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.mark.parametrize("below", ["", "nyudepthv2"])
def test_splits(tmp_path, below):
    train = ["train/kitchen_0004/00001", "train/kitchen_0004/00006", "train/study_0001/00001"]
    val = ["train/office_0022a/00001", "train/office_0022b/00003"]
    make(tmp_path / below, *train, *val, "val/official/00001", "val/official/00009")
    names = {split: list(hdf5.files(tmp_path, split)) for split in ("train", "val", "test")}
    assert names["train"] == [name.removeprefix("train/") for name in train]
    assert names["val"] == ["office_0022a/00001", "office_0022b/00003"]
    assert names["test"] == ["official/00001", "official/00009"]
    assert list(hdf5.files(tmp_path, "train_and_val")) == sorted(names["train"] + names["val"])
    assert all(path.is_file() for path in hdf5.files(tmp_path, "val").values())


def test_a_twentieth_of_the_scenes_is_for_validation():
    count = sum(map(hdf5.is_validation, SCENES))
    assert 5 <= count <= 30


def test_all_recordings_of_a_scene_are_in_one_split():
    for scene in SCENES:
        assert hdf5.is_validation(f"{scene}b") == hdf5.is_validation(scene)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("train/study_0001/1", "test", r"has no folder val/official with HDF5 files"),
        ("val/official/1", "train", r"has no folder train with HDF5 files"),
        ("train/study_0001/1", "val", r"train has no files \*/\*\.h5 of the split val"),
    ],
)
def test_without_files(tmp_path, name, split, message):
    with pytest.raises(ValueError, match=message):
        hdf5.files(make(tmp_path, name), split)


def test_reading(tmp_path):
    image, depth = room(0)
    found = hdf5.read(write_file(tmp_path / "1.h5", image, depth))
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], depth)


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "1.h5"
    with h5py.File(path, "w") as file:
        file["rgb"] = np.zeros((3, 480, 640), np.uint8)
        file.create_group("depth")
    with pytest.raises(ValueError, match=r"it has depth \(group\), rgb \(dataset\)$"):
        hdf5.read(path)
    path.write_bytes(b"PNG")
    with pytest.raises(ValueError, match=r"^cannot be read as HDF5: it begins with b'PNG', expect"):
        hdf5.read(path)
    with pytest.raises(ValueError, match=r"^cannot be read as HDF5: No such file or directory$"):
        hdf5.read(tmp_path / "2.h5")
    with pytest.raises(ValueError, match=r"^is a folder, expected an HDF5 file$"):
        hdf5.read(tmp_path)
    os.mkfifo(tmp_path / "3.h5")
    with pytest.raises(ValueError, match=r"^is a pipe or device, expected an HDF5 file$"):
        hdf5.read(tmp_path / "3.h5")


def test_a_dataset_of_absurd_size_is_not_read(tmp_path):
    path = tmp_path / "1.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rgb", (3, 480, 640), np.uint8)
        file.create_dataset("depth", (10**6, 10**6), np.float32, chunks=(64, 64))
    with pytest.raises(ValueError, match=r"and float32 \(1000000, 1000000\), but NYU"):
        hdf5.read(path)


@pytest.mark.parametrize("kept", [1000, 200_000])
def test_truncated_files(tmp_path, kept):
    path = write_file(tmp_path / "1.h5", *room(0))
    whole = path.read_bytes()
    path.write_bytes(whole[:kept])
    with pytest.raises(ValueError, match=rf": it is truncated, {kept} of {len(whole)} bytes"):
        hdf5.read(path)


@pytest.mark.parametrize(
    ("image", "depth", "found"),
    [
        ((480, 640), np.float32, r"has uint8 \(3, 480, 640\) and float32 \(240, 320\)"),
        ((240, 320), np.float32, r"has uint8 \(3, 240, 320\) and float32 \(240, 320\)"),
        ((480, 640), np.uint16, r"has uint8 \(3, 480, 640\) and uint16 \(240, 320\)"),
    ],
)
def test_other_arrays(tmp_path, image, depth, found):
    arrays = np.zeros((*image, 3), np.uint8), np.zeros((240, 320), depth)
    with pytest.raises(ValueError, match=found):
        hdf5.read(write_file(tmp_path / "1.h5", *arrays))
