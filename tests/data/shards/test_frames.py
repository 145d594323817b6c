"""Frames in shards against the same frames in folders."""

import json
import random
import shutil
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest

from fcfrnet_jax.data import check, kitti, shards
from fcfrnet_jax.data.frame import neighbours
from fcfrnet_jax.data.reading import read_arrays
from fcfrnet_jax.data.shards.index import index_path
from tests.conftest import ROOT

ALL = ("image", "ground_truth", "intrinsics")
SPLITS = [("val", ALL), ("val_selection", ALL), ("test_completion", ("image", "intrinsics"))]


@pytest.mark.parametrize(("split", "require"), SPLITS)
def test_frames_are_those_of_the_folders(folders, shards_dir, split, require):
    expected, _ = kitti.search_frames(folders, split, require=require)
    found, bad = shards.search_frames(shards_dir, split, require=require)
    assert bad == []
    assert [(f.name, f.intrinsics) for f in found] == [(f.name, f.intrinsics) for f in expected]
    assert neighbours(found) == neighbours(expected)
    for frame, files in zip(found, expected, strict=True):
        arrays = read_arrays(frame, ("image", "sparse_depth", "ground_truth"))
        depth = cv2.imread(str(files.sparse), cv2.IMREAD_UNCHANGED) / np.float32(256)
        np.testing.assert_array_equal(arrays["image"], cv2.imread(str(files.image))[..., ::-1])
        np.testing.assert_array_equal(arrays["sparse_depth"], depth)
        assert ("ground_truth" in arrays) == (files.ground_truth is not None)
        if files.ground_truth:
            depth = cv2.imread(str(files.ground_truth), cv2.IMREAD_UNCHANGED) / np.float32(256)
            np.testing.assert_array_equal(arrays["ground_truth"], depth)


def test_only_what_is_required_is_there(shards_dir):
    frames, _ = shards.search_frames(shards_dir, "val", require=())
    assert all(frame.image is None and frame.ground_truth is None for frame in frames)
    assert all(
        read_arrays(frame, ("image", "sparse_depth")).keys() == {"sparse_depth"} for frame in frames
    )


def test_the_folder_may_be_that_of_tfds(shards_dir, tmp_path):
    version = tmp_path / "kitti_depth_completion" / "1.0.0"
    shutil.copytree(shards_dir, version)
    for folder in (tmp_path, version.parent, version):
        assert shards.shard_folder(folder) == version
    assert shards.shard_folder(ROOT) is None
    newest = shutil.copytree(version, version.with_name("1.0.10"))
    version.rename(version.with_name("1.0.9"))
    assert shards.shard_folder(tmp_path) == newest


def test_each_of_300_changed_bytes_is_named(shards_dir, tmp_path):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    frames, _ = shards.search_frames(folder, "val")
    draw = random.Random(0)
    for case in range(300):
        frame = frames[case % len(frames)]
        shard, _, number = str(frame.image).removesuffix("/image").rpartition(":")
        span = frame.stored.entry.span
        # Positions of the record do not count the 24 bytes at the start of each 64 KiB.
        block, rest = divmod(span.start + draw.randrange(span.length), 65536 - 24)
        with open(shard, "r+b") as file:
            file.seek(block * 65536 + 24 + rest)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ draw.randint(1, 255)]))
            file.flush()
            for name in ("image", "sparse_depth", "ground_truth"):
                with pytest.raises(
                    ValueError, match=r" is damaged: its checksum is wrong"
                ) as error:
                    read_arrays(frame, (name,))
                assert str(error.value).startswith(f"{shard}:{number}/{name} ")
            file.seek(block * 65536 + 24 + rest)
            file.write(bytes([byte]))
    read_arrays(frames[0], ("image",))


def test_a_scan_finds_what_a_check_finds(shards_dir, tmp_path):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    frames, _ = shards.search_frames(folder, "val")
    assert check.scan_frames(frames, (200, 450)) == []
    (small, *_) = check.scan_frames(frames, (201, 450))
    assert (small.too_small, small.reason) == (
        (200, 450),
        "is 200x450 (height x width), smaller than the crop 201x450 (height x width)",
    )
    with open(frames[0].stored.shard, "r+b") as file:
        file.seek(5000)
        file.write(bytes(20))
    bad = check.scan_frames(frames, (0, 0))
    assert bad == check.check_frames(frames, (0, 0))
    assert {item.frame.name for item in bad} == {frames[0].name}


def test_each_changed_byte_of_an_index_is_named(shards_dir, tmp_path):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    shard = sorted(folder.glob("*-val.*-00001-of-00003"))[0]
    path = index_path(shard)
    intact, draw = path.read_bytes(), random.Random(0)
    expected = shards.search_frames(folder, "val")
    for _ in range(60):
        data = bytearray(intact)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        said = "as before"
        try:
            assert shards.search_frames(folder, "val") == expected
        except ValueError as error:
            said = str(error)
        # Other white space means the same.
        assert said == "as before" or str(path) in said


def test_a_shard_in_the_place_of_another(shards_dir, tmp_path):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    first, second = sorted(folder.glob("*-val.array_record-*-of-00003"))[:2]
    frames, _ = shards.search_frames(folder, "val")
    shutil.copy(second, first)
    with pytest.raises(ValueError, match=f"{first}:0/image is damaged"):
        read_arrays(frames[0], ("image",))


def test_a_shard_of_another_size(shards_dir, tmp_path):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    shard = next(folder.glob("*-val.array_record-00001-of-00003"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{shard}: has \d+ bytes, expected \d+"):
        shards.search_frames(folder, "val")


@pytest.mark.parametrize("suffix", ["", ".index.json"])
def test_a_missing_file_is_named(shards_dir, tmp_path, suffix):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    path = next(folder.glob(f"*-val.array_record-00001-of-00003{suffix}"))
    path.unlink()
    with pytest.raises(
        ValueError, match=rf"{folder}.*{path.name}.*; restore it from a copy, or build"
    ):
        shards.search_frames(folder, "val")


@pytest.mark.parametrize("known_by", ["the index", "dataset_info.json"])
def test_a_split_whose_only_shard_is_missing(shards_dir, tmp_path, known_by):
    folder = shutil.copytree(shards_dir, tmp_path / "shards")
    for path in folder.glob("*-test_completion.*"):
        if known_by != "the index" or path.suffix != ".json":
            path.unlink()
    splits = [{"name": "test_completion", "shardLengths": ["1"]}]
    (folder / "dataset_info.json").write_text(json.dumps({"splits": splits}))
    message = r"1 of the 1 shards of test_completion are missing: .*-of-00001;"
    with pytest.raises(ValueError, match=message):
        shards.search_frames(folder, "test_completion")


@pytest.mark.parametrize(
    ("split", "require", "message"),
    [
        ("train", (), "has no train shards; it has val, val_selection, test_completion"),
        ("valid", (), "unknown split 'valid': expected one of train, val"),
        ("val", ("coarse",), "shards hold no coarse depth"),
        ("val", ("depth",), "unknown depth: a frame can require image"),
        (
            "test_completion",
            ("ground_truth",),
            "none of the 1 test_completion frames .* ground_truth",
        ),
    ],
)
def test_requests_that_cannot_be_met(shards_dir, split, require, message):
    with pytest.raises(ValueError, match=message):
        shards.search_frames(shards_dir, split, require=require)


def test_two_processes_read_disjoint_halves_without_tensorflow(shards_dir):
    code = (
        "import sys, zlib\n"
        "sys.modules.update(dict.fromkeys(['tensorflow', 'tensorflow_datasets', 'array_record']))\n"
        "from fcfrnet_jax.data import shards\n"
        "frames, _ = shards.search_frames(sys.argv[1], 'val')\n"
        "for frame in frames[int(sys.argv[2]) :: 2]:\n"
        "    print(frame.name, zlib.crc32(frame.stored.read()['image'].tobytes()))\n"
    )
    command = [sys.executable, "-c", code, str(shards_dir)]
    running = [
        subprocess.Popen([*command, half], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for half in "01"
    ]
    one, other = (process.communicate()[0].splitlines() for process in running)
    frames, _ = shards.search_frames(shards_dir, "val")
    read = [frame.stored.read()["image"] for frame in frames]
    expected = [f"{f.name} {zlib.crc32(a.tobytes())}" for f, a in zip(frames, read, strict=True)]
    assert (one, other) == (expected[::2], expected[1::2])
