"""The tf.data ops against OpenCV's decoding of the same files."""

import dataclasses
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.pipeline import (
    crop_bottom_centre,
    frame_columns,
    hide_accelerators,
    read_frames,
)
from tests import kitti_tree as tree
from tests.opencv_files import bottom_centre, decoded

MAPS = {"image": "image", "sparse_depth": "sparse", "ground_truth": "ground_truth"}


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    tree.write_drive(tmp_path, numbers=range(5))
    return find_frames(tmp_path, "val")


def examples(frames: list[Frame], crop: tuple[int, int] = (0, 0)) -> list[dict[str, np.ndarray]]:
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(frame_columns(frames))
    return list(dataset.map(read_frames(frames)).map(crop_bottom_centre(crop)).as_numpy_iterator())


@pytest.mark.parametrize("crop", [(0, 0), (9, 15), (6, 8), (1, 1)], ids=str)
def test_maps_are_what_opencv_reads(frames: list[Frame], crop: tuple[int, int]) -> None:
    for frame, example in zip(frames, examples(frames, crop), strict=True):
        for key, attribute in MAPS.items():
            expected = decoded(getattr(frame, attribute))
            size = crop if any(crop) else tree.SIZE
            np.testing.assert_array_equal(example[key], bottom_centre(expected, *size))


def test_paths_need_not_be_text(frames: list[Frame], tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"\xff")
    shutil.copytree(tmp_path / "data_depth_velodyne", odd)
    sparse = odd / frames[0].sparse.relative_to(tmp_path / "data_depth_velodyne")
    (found,) = examples([dataclasses.replace(frames[0], sparse=sparse)])
    np.testing.assert_array_equal(found["sparse_depth"], decoded(frames[0].sparse))


def test_intrinsics_follow_the_crop(frames: list[Frame]) -> None:
    frames[1] = dataclasses.replace(frames[1], intrinsics=None)
    found = [example["intrinsics"] for example in examples(frames, (6, 8))]
    fx, fy, cx, cy = tree.INTRINSICS
    np.testing.assert_array_equal(found[0], [fx, fy, cx - 3, cy - 3])
    assert np.isnan(found[1]).all()


def test_a_missing_ground_truth_is_all_zero(frames: list[Frame]) -> None:
    frames[2] = dataclasses.replace(frames[2], ground_truth=None)
    found = [bool(example["ground_truth"].any()) for example in examples(frames)]
    assert found == [True, True, False, True, True]


def test_all_frames_or_none_have_an_image(frames: list[Frame]) -> None:
    frames[3] = dataclasses.replace(frames[3], image=None)
    with pytest.raises(ValueError, match="1 of 5 frames have no image, but the others have one"):
        frame_columns(frames)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_image(frames: list[Frame], suffix: str, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 15, channels), np.uint8)
    pixels = pixels[..., :3] if (suffix, channels) == (".jpg", 4) else pixels
    image = frames[0].image.with_suffix(suffix)
    image.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    (example,) = examples([dataclasses.replace(frames[0], image=image)])
    np.testing.assert_array_equal(example["image"], cv2.imread(str(image))[..., ::-1])


# Real frames.


def test_real_frames_equal_opencv(kitti_real: Path) -> None:
    frames = find_frames(kitti_real, "val")
    for frame, example in zip(frames, examples(frames, (352, 1216)), strict=True):
        for key, attribute in MAPS.items():
            expected = bottom_centre(decoded(getattr(frame, attribute)), 352, 1216)
            np.testing.assert_array_equal(example[key], expected)


def test_real_intrinsics_of_crops_equal_the_selections(kitti_real: Path) -> None:
    def by_date(split: str) -> dict[str, np.ndarray]:
        frames = find_frames(kitti_real, split)
        found = examples(frames, (352, 1216))
        return {f.name[:10]: e["intrinsics"] for f, e in zip(frames, found, strict=True)}

    whole, cropped = by_date("train") | by_date("val"), by_date("val_selection")
    assert whole.keys() == cropped.keys() == {"2011_09_26", "2011_09_30"}
    for date, intrinsics in whole.items():
        np.testing.assert_allclose(intrinsics, cropped[date], atol=1e-3)


def test_accelerators_are_hidden_from_tensorflow(monkeypatch):
    import tensorflow as tf

    hidden = []
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda *call: hidden.append(call))
    hide_accelerators()
    assert hidden == [([], "GPU"), ([], "TPU")]
