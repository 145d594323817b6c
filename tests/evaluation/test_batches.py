"""Batches of frames against OpenCV's decoding of the same files."""

import dataclasses
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from fcfrnet_jax.data.check import scan_frames
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.evaluation.batches import Scan, read_batches
from tests import kitti_tree as tree
from tests.opencv_files import bottom_centre, decoded

MAPS = {"image": "image", "sparse_depth": "sparse", "ground_truth": "ground_truth"}


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    tree.write_drive(tmp_path, numbers=range(5))
    return find_frames(tmp_path, "val")


def joined(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The examples of all batches without the padding."""
    return {key: np.concatenate([b[key][b["mask"]] for b in batches]) for key in batches[0]}


@pytest.mark.parametrize("crop", [(0, 0), (9, 15), (6, 8), (5, 11)], ids=str)
def test_batches_hold_what_opencv_reads(frames: list[Frame], crop: tuple[int, int]) -> None:
    data = joined(list(read_batches(frames, batch_size=2, crop=crop)))
    for key, attribute in MAPS.items():
        expected = np.stack([decoded(getattr(frame, attribute)) for frame in frames])
        cropped = [bottom_centre(array, *(crop if any(crop) else tree.SIZE)) for array in expected]
        np.testing.assert_array_equal(data[key], cropped)


def test_types_and_shapes(frames: list[Frame]) -> None:
    (batch,) = read_batches(frames, batch_size=8, crop=(6, 8))
    assert {key: (value.dtype, value.shape) for key, value in batch.items()} == {
        "image": (np.uint8, (8, 6, 8, 3)),
        "sparse_depth": (np.float32, (8, 6, 8, 1)),
        "ground_truth": (np.float32, (8, 6, 8, 1)),
        "size": (np.int32, (8, 2)),
        "index": (np.int32, (8,)),
        "mask": (np.bool_, (8,)),
    }


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7])
def test_order_and_padding(frames: list[Frame], batch_size: int) -> None:
    batches = list(read_batches(frames, batch_size=batch_size, crop=(6, 8), threads=2))
    index = np.concatenate([batch["index"] for batch in batches])
    assert len(batches) == -(-5 // batch_size)
    np.testing.assert_array_equal(index[:5], range(5))
    assert (index[5:] == -1).all()
    np.testing.assert_array_equal(np.concatenate([b["mask"] for b in batches]), index >= 0)
    assert all((value[~batches[-1]["mask"]] <= 0).all() for value in batches[-1].values())


def test_frames_of_one_padded_size_share_batches(frames: list[Frame], tmp_path: Path) -> None:
    for i, size in enumerate([(9, 15), (8, 15), (17, 15), (8, 16), (17, 15)]):
        frames[i] = dataclasses.replace(
            frames[i], image=None, ground_truth=None, sparse=tmp_path / f"{i}.png"
        )
        tree.random_depth(frames[i].sparse, size)
    batches = list(read_batches(frames, batch_size=2, crop=(0, 0), multiple=16))
    assert [b["index"].tolist() for b in batches] == [[0, 1], [2, 4], [3, -1]]
    for batch in batches:
        for i, depth, (height, width) in zip(
            batch["index"], batch["sparse_depth"], batch["size"], strict=True
        ):
            assert depth.shape == (32 if i in (2, 4) else 16, 16, 1)
            expected = decoded(frames[i].sparse) if i >= 0 else np.zeros((0, 0, 1))
            assert (height, width) == expected.shape[:2]
            np.testing.assert_array_equal(depth[:height, :width], expected)
            assert depth.sum() == expected.sum()


def test_a_crop_of_0_keeps_the_height_or_the_width(frames: list[Frame]) -> None:
    (whole,) = read_batches(frames, batch_size=5, crop=(0, 0))
    (narrow,) = read_batches(frames, batch_size=5, crop=(0, 8))
    (low,) = read_batches(frames, batch_size=5, crop=(6, 0))
    np.testing.assert_array_equal(narrow["image"], whole["image"][:, :, 3:11])
    np.testing.assert_array_equal(low["image"], whole["image"][:, 3:])
    assert narrow["size"].tolist() == [[9, 8]] * 5


def test_a_missing_ground_truth_is_all_zero(frames: list[Frame]) -> None:
    frames[2] = dataclasses.replace(frames[2], ground_truth=None)
    (batch,) = read_batches(frames, batch_size=5, crop=(0, 0))
    assert [bool(truth.any()) for truth in batch["ground_truth"]] == [True, True, False, True, True]


def test_coarse_depth_is_read_where_frames_have_it(frames: list[Frame]) -> None:
    frames = [dataclasses.replace(f, coarse=f.ground_truth, image=None) for f in frames]
    (batch,) = read_batches(frames, batch_size=5, crop=(6, 8))
    assert "image" not in batch
    np.testing.assert_array_equal(batch["coarse_depth"], batch["ground_truth"])


def test_all_frames_or_none_have_an_image(frames: list[Frame]) -> None:
    frames[3] = dataclasses.replace(frames[3], image=None)
    with pytest.raises(ValueError, match="1 of 5 frames have no image, but the others have one"):
        read_batches(frames, batch_size=2)


def test_nothing_to_batch(frames: list[Frame]) -> None:
    with pytest.raises(ValueError, match="batches of 2 from 0 frames"):
        read_batches([], batch_size=2)
    with pytest.raises(ValueError, match="batches of 0 from 5 frames"):
        read_batches(frames, batch_size=0)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_image(frames: list[Frame], suffix: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 15, channels), np.uint8)
    pixels = pixels[..., :3] if (suffix, channels) == (".jpg", 4) else pixels
    image = frames[0].image.with_suffix(suffix)
    image.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    frame = dataclasses.replace(frames[0], image=image)
    (batch,) = read_batches([frame], batch_size=1, crop=(0, 0))
    np.testing.assert_array_equal(batch["image"][0], cv2.imread(str(image))[..., ::-1])


# Real frames.


@pytest.mark.parametrize("split", ["train", "val", "val_selection"])
def test_real_frames_equal_opencv(kitti_real: Path, split: str) -> None:
    frames = find_frames(kitti_real, split)
    count = 0
    for batch in read_batches(frames, batch_size=4):
        for row in np.flatnonzero(batch["mask"]):
            frame = frames[batch["index"][row]]
            for key, attribute in MAPS.items():
                expected = bottom_centre(decoded(getattr(frame, attribute)), 352, 1216)
                np.testing.assert_array_equal(batch[key][row], expected)
            count += 1
    assert count == len(frames)


def test_a_scan_finds_damage_without_reading_pixels(frames: list[Frame]) -> None:
    scan = Scan(frames, (0, 0))
    scan.close()
    assert not scan.found_bad()
    path = frames[4].ground_truth
    path.write_bytes(path.read_bytes()[:-1])
    scan = Scan(frames * 30, (0, 0))
    while not scan.found_bad():
        pass
    scan.close()


def test_a_scan_decodes_no_frame(frames: list[Frame]) -> None:
    stored = Mock(spec=["read"])
    assert scan_frames([dataclasses.replace(f, stored=stored) for f in frames], (0, 0)) == []
    stored.read.assert_not_called()
