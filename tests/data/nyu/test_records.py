"""The records of TensorFlow Datasets, in both formats with random access."""

import os
import shutil

import numpy as np
import pytest

from fcfrnet_jax.data.frame import NoFramesError
from fcfrnet_jax.data.nyu import records
from tests.nyu_rooms import room, write_records

KINDS = ("tfrecord", "array_record")


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    return write_records(root, request.param, {"train": [2, 1], "validation": [1]})


def damaged(folder, tmp_path, change):
    """A copy in which the first file of the training records is changed."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    (path,) = copy.glob("nyu_depth_v2-train.*-00000-of-00002")
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return copy


def fault(record):
    """Why a record cannot be read, or nothing."""
    try:
        record.read()
    except ValueError as error:
        return str(error)
    return ""


def test_every_record_is_read(folder):
    found, reasons = records.find(folder, "train_and_val")
    assert list(found) == ["train-00000-000000", "train-00000-000001", "train-00001-000000"]
    assert reasons == {}
    for seed, record in enumerate(found.values()):
        image, depth = record.read()
        np.testing.assert_array_equal(image, room(seed)[0])
        np.testing.assert_array_equal(depth, room(seed)[1].astype(np.float16))
    (test,) = records.find(folder, "test")[0].values()
    np.testing.assert_array_equal(test.read()[0], room(3)[0])
    assert test.path.name.endswith("-00000-of-00001:0")


def test_one_record_in_twenty_is_for_validation(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "VAL_EVERY", 2)
    folder = write_records(tmp_path, "array_record", {"train": [3]})
    assert list(records.find(folder, "val")[0]) == ["train-00000-000001"]
    names = ["train-00000-000000", "train-00000-000002"]
    assert list(records.find(folder, "train")[0]) == names
    monkeypatch.setattr(records, "VAL_EVERY", 4)
    with pytest.raises(NoFramesError, match=r"no records of val: one of 4 records .* it has 3$"):
        records.find(folder, "val")


@pytest.mark.parametrize("position", [0.2, 0.8])
def test_a_changed_byte_is_found(folder, tmp_path, position):
    def flip(content):
        content[int(position * len(content))] ^= 4

    copy = damaged(folder, tmp_path, flip)
    found, reasons = records.find(copy, "train_and_val")
    assert reasons == {}
    faults = [fault(record) for record in found.values()]
    assert sum(text.startswith("cannot be read: ") for text in faults) == 1
    assert faults.count("") == 2


def test_a_truncated_file(folder, tmp_path):
    copy = damaged(folder, tmp_path, lambda content: content.__delitem__(slice(-1000, None)))
    found, reasons = records.find(copy, "train_and_val")
    assert len(found) == 3
    assert list(reasons) == ["train-00000-000000", "train-00000-000001"]


def test_a_missing_file(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (path,) = copy.glob("nyu_depth_v2-train.*-00001-of-00002")
    path.unlink()
    _, reasons = records.find(copy, "train_and_val")
    assert list(reasons) == ["train-00001-000000"]


def test_too_few_records(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    (first,) = copy.glob("nyu_depth_v2-train.*-00000-of-00002")
    (second,) = copy.glob("nyu_depth_v2-train.*-00001-of-00002")
    shutil.copy(second, first)
    _, reasons = records.find(copy, "train_and_val")
    assert reasons["train-00000-000000"] == "has 1 records, expected 2"


def test_a_missing_split(tmp_path):
    folder = write_records(tmp_path, "tfrecord", {"train": [1]})
    with pytest.raises(ValueError, match="has no split validation of nyu_depth_v2"):
        records.find(folder, "test")


def test_where_the_data_set_is_found(folder, tmp_path):
    for above in (folder, folder.parent, folder.parent.parent):
        assert records.builder_dir(above) == folder
    assert records.builder_dir(tmp_path) is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset_info.json").touch()
    assert records.builder_dir(tmp_path) is None
    for version in ("0.0.9", "0.0.10"):
        newest = shutil.copytree(folder, tmp_path / version)
    assert records.builder_dir(tmp_path) == newest


def test_files_are_searched_for_records_again_only_after_a_change(tmp_path):
    folder = write_records(tmp_path, "tfrecord", {"train": [1]})
    (path,) = folder.glob("nyu_depth_v2-train*")
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    assert records.find(folder, "train")[1] == {}
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    os.utime(path, ns=times)
    assert records.find(folder, "train")[1] == {}
    path.write_bytes(content + content)
    assert records.find(folder, "train")[1] == {"train-00000-000000": "has 2 records, expected 1"}
