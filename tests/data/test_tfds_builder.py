"""The TFDS builder, against the files that it was built from."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from absl import logging

from fcfrnet_jax.data import kitti, shards
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.data.kitti.archives import open_source
from fcfrnet_jax.data.shards.build import build_split
from fcfrnet_jax.data.shards.plan import plan_split
from tests import kitti_tree as tree
from tests.conftest import ROOT

tfds = pytest.importorskip("tensorflow_datasets")
NAME = "kitti_depth_completion"


def prepare(manual_dir, data_dir, **options):
    from fcfrnet_jax.data import tfds_builder

    builder = tfds_builder.KittiDepthCompletion(data_dir=data_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder.download_and_prepare(download_config=config, **options)
    return builder


@pytest.fixture(scope="module")
def manual_dir(tmp_path_factory):
    root = tmp_path_factory.mktemp("kitti")
    tree.write_drive(root)
    tree.write_test_selection(root / tree.TEST, count=2)
    return root


@pytest.fixture(scope="module")
def data_dir(manual_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    prepare(manual_dir, root)
    return root


def check(examples, manual_dir, split, truth=True):
    frames = kitti.find_frames(manual_dir, split, require=("image", *["ground_truth"] * truth))
    for example, frame in zip(examples, frames, strict=True):
        name = example["name"]
        assert (name.decode() if isinstance(name, bytes) else name) == frame.name
        np.testing.assert_array_equal(example["image"], read_image(frame.image))
        np.testing.assert_array_equal(example["sparse_depth"][..., 0], read_depth(frame.sparse))
        np.testing.assert_array_equal(example["intrinsics"], frame.intrinsics)
        expected = read_depth(frame.ground_truth) if truth else np.zeros(tree.SIZE)
        np.testing.assert_array_equal(example["ground_truth"][..., 0], expected)


@pytest.mark.slow
def test_a_fresh_process_loads_the_frames(data_dir):
    code = (
        "import sys, tensorflow_datasets as tfds, fcfrnet_jax.data.tfds_builder\n"
        f"frames = tfds.load('{NAME}', split='val', data_dir=sys.argv[1])\n"
        "print([frame['name'].decode() for frame in frames.as_numpy_iterator()])"
    )
    command = [sys.executable, "-c", code, str(data_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == str(tree.DRIVE_NAMES)


@pytest.mark.parametrize(("split", "truth"), [("val", True), ("test_completion", False)])
def test_every_reader_finds_the_same_frames(data_dir, manual_dir, split, truth):
    loaded = tfds.load(NAME, split=split, data_dir=data_dir)
    check(loaded.as_numpy_iterator(), manual_dir, split, truth)
    check(tfds.data_source(NAME, split=split, data_dir=data_dir), manual_dir, split, truth)
    frames, bad = shards.search_frames(data_dir, split, require=("image",))
    assert (len(frames), bad) == (len(loaded), [])


def test_parts_of_a_split_and_decoders(data_dir):
    skip = {"image": tfds.decode.SkipDecoding()}
    (part,) = tfds.load(NAME, split="val[1:2]", data_dir=data_dir, decoders=skip)
    assert part["name"].numpy().decode() == tree.DRIVE_NAMES[1]
    assert part["image"]["shape"].numpy().tolist() == [*tree.SIZE, 3]


def test_parts_of_the_features_and_identities(data_dir):
    partial = tfds.decode.PartialDecoding({"name": True, "sparse_depth": True})
    config = tfds.ReadConfig(add_tfds_id=True)
    options = {"data_dir": data_dir, "decoders": partial, "read_config": config}
    (part,) = tfds.load(NAME, split="val[1:2]", **options)
    assert part.keys() == {"name", "sparse_depth", "tfds_id"}
    assert part["sparse_depth"].shape == (*tree.SIZE, 1)
    assert part["tfds_id"].numpy().decode() == f"{NAME}-val.array_record-00000-of-00001__1"


def test_settings_that_are_not_supported_are_refused(data_dir):
    config = tfds.ReadConfig(repeat_filenames=True)
    with pytest.raises(ValueError, match=r"read_config\.repeat_filenames is not supported"):
        tfds.load(NAME, split="val", data_dir=data_dir, read_config=config)


def test_files_of_a_split_can_be_shuffled(data_dir):
    loaded = tfds.load(NAME, split="val", data_dir=data_dir, shuffle_files=True)
    assert {frame["name"].numpy().decode() for frame in loaded} == {*tree.DRIVE_NAMES}


def test_damaged_files_of_the_source_are_counted(tmp_path):
    tree.write_drive(tmp_path / "kitti")
    frame = kitti.find_frames(tmp_path / "kitti", "val")[1]
    frame.sparse.write_bytes(frame.sparse.read_bytes()[:-20])
    builder = prepare(tmp_path / "kitti", tmp_path / "tfds")
    assert builder.info.metadata["val"]["damaged_files"] == 1
    names = [example["name"].decode() for example in builder.as_data_source(split="val")]
    assert names == [tree.DRIVE_NAMES[0], tree.DRIVE_NAMES[2]]


def test_missing_splits_are_reported(manual_dir, tmp_path, caplog):
    logging.use_absl_handler()
    builder = prepare(manual_dir, tmp_path)
    assert "val: 3 of the benchmark's 6,852 frames" in caplog.text
    assert "train: none of the benchmark's 85,898 frames" in caplog.text
    saved = json.loads((builder.data_path / "metadata.json").read_text())
    assert saved["train"] == {"frames": 0, "expected": 85898, "missing_files": 0, "absent": []}
    assert (saved["val"]["frames"], saved["val"]["damaged_files"]) == (3, 0)
    assert not list(builder.data_path.parent.glob("*.building"))


def test_a_killed_build_goes_on(manual_dir, tmp_path):
    with open_source(manual_dir) as source:
        build_split(plan_split(source, "val"), source, tmp_path / NAME / "1.0.0.building")
    for left in ("1.0.0.incomplete0A1B2C", "incomplete.0A1B2C_1.0.0"):
        (tmp_path / NAME / left).mkdir()
    (shard,) = (tmp_path / NAME / "1.0.0.building").glob("*-of-00001")
    number = shard.stat().st_ino
    builder = prepare(manual_dir, tmp_path)
    assert os.stat(builder.data_path / shard.name).st_ino == number
    assert [path.name for path in (tmp_path / NAME).iterdir()] == ["1.0.0"]


def test_other_formats_are_written_by_tfds(manual_dir, tmp_path):
    builder = prepare(manual_dir, tmp_path, file_format="tfrecord")
    check(builder.as_dataset(split="val").as_numpy_iterator(), manual_dir, "val")


def test_a_damaged_record_is_named(manual_dir, tmp_path):
    import tensorflow as tf

    builder = prepare(manual_dir, tmp_path)
    (shard,) = builder.data_path.glob("*-val.array_record-00000-of-00001")
    data = bytearray(shard.read_bytes())
    data[data.index(tree.DRIVE_NAMES[1].encode())] ^= 1
    shard.write_bytes(data)
    with pytest.raises(tf.errors.OpError, match=rf"{shard}:1 is damaged: its checksum is wrong"):
        list(builder.as_dataset(split="val"))


def test_a_folder_without_frames(tmp_path):
    with pytest.raises(ValueError, match=rf"{tmp_path}: has no frames of KITTI's depth benchmark"):
        prepare(tmp_path, tmp_path / "tfds")


def test_a_refused_source_leaves_nothing(tmp_path):
    from fcfrnet_jax.data import tfds_builder

    builder = tfds_builder.KittiDepthCompletion(data_dir=tmp_path / "tfds")
    with pytest.raises(ValueError, match="has no frames of KITTI's depth benchmark"):
        tfds_builder.build(builder, tmp_path)
    assert list((tmp_path / "tfds").iterdir()) == []
