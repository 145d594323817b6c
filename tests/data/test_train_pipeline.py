"""The training stream: batches depend neither on the first step nor on the number of processes."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import read_depth, read_image, write_depth, write_image
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.train_pipeline import crop_anywhere, make_train_dataset, shuffled
from tests import kitti_tree as tree
from tests.conftest import ROOT
from tests.stored_frames import stored

Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    folder = tmp_path_factory.mktemp("data")
    tree.write_drive(folder, "train", numbers=range(7))
    return find_frames(folder, "train")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    """Four frames of a textured plane 10 m ahead, each 0.3 m to the right of the one before.

    A fifth frame belongs to another drive and has no neighbour.
    """
    folder = tmp_path_factory.mktemp("plane")
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((160, 260, 3)), (0, 0), 2.0)
    texture = np.rint(255 * cv2.normalize(noise, None, 0, 1, cv2.NORM_MINMAX)).astype(np.uint8)
    tree.write_drive(folder, "train", range(4), size=(160, 200))
    tree.write_drive(folder, "train", [9], "2011_09_26_drive_0011_sync", size=(160, 200))
    found = find_frames(folder, "train")
    for number, frame in enumerate(found):
        # At a focal length of 400 pixels 0.3 m are 12 pixels.
        write_image(frame.image, texture[:, 12 * number : 12 * number + 200])
        write_depth(frame.sparse, np.full((160, 200), 10.0))
    return [dataclasses.replace(frame, intrinsics=(400.0, 400.0, 99.5, 80.0)) for frame in found]


def stream(frames: list[Frame], **changes: Any) -> Iterator[Batch]:
    defaults = {"batch_size": 4, "crop": (6, 8), "seed": 1, "threads": 2}
    return iter(make_train_dataset(frames, **(defaults | changes)))


def take(count: int, frames: list[Frame], **changes: Any) -> list[Batch]:
    return list(islice(stream(frames, **changes), count))


def assert_equal(found: Batch, expected: Batch) -> None:
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)


def indices(batches: list[Batch]) -> np.ndarray:
    return np.concatenate([batch["index"] for batch in batches])


# The order of frames.


@given(st.integers(1, 50), st.integers(0, 2**62), st.integers(0, 10**9))
def test_every_epoch_is_a_permutation(count: int, seed: int, epoch: int) -> None:
    positions = count * epoch + np.arange(3 * count)
    order = shuffled(positions, count, seed).reshape(3, count)
    np.testing.assert_array_equal(np.sort(order), np.tile(np.arange(count), (3, 1)))


@given(st.integers(1, 20), st.lists(st.integers(0, 10**6), min_size=1, max_size=9))
def test_positions_can_be_shuffled_one_by_one(count: int, positions: list[int]) -> None:
    one_by_one = [shuffled(np.array([position]), count, 5)[0] for position in positions]
    np.testing.assert_array_equal(shuffled(np.array(positions), count, 5), one_by_one)


def test_all_orders_are_equally_likely() -> None:
    order = shuffled(np.arange(6 * 600), 3, 0).reshape(-1, 3)
    counts = np.unique(order, axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert 150 < counts.min() <= counts.max() < 250


def test_every_frame_is_seen_once_an_epoch(frames: list[Frame]) -> None:
    found = indices(take(7, frames)).reshape(4, 7)
    np.testing.assert_array_equal(np.sort(found), np.tile(np.arange(7), (4, 1)))
    assert len(np.unique(found, axis=0)) > 1
    assert (indices(take(7, frames, seed=2)) != found.ravel()).any()


# Resuming, and several processes.


@pytest.fixture(scope="module")
def uninterrupted(frames: list[Frame]) -> list[Batch]:
    return take(12, frames, random_crop=True)


@settings(max_examples=8, deadline=None)
@given(first_step=st.integers(0, 10))
def test_resume_at_any_step(
    frames: list[Frame], uninterrupted: list[Batch], first_step: int
) -> None:
    resumed = take(2, frames, random_crop=True, first_step=first_step, threads=1)
    for found, expected in zip(resumed, uninterrupted[first_step:], strict=False):
        assert_equal(found, expected)


def test_a_stream_can_be_read_again(frames: list[Frame], uninterrupted: list[Batch]) -> None:
    dataset = make_train_dataset(frames, batch_size=4, crop=(6, 8), seed=1, random_crop=True)
    for _ in range(2):
        assert_equal(next(iter(dataset)), uninterrupted[0])


def test_a_late_start_is_quick(frames: list[Frame]) -> None:
    (batch,) = take(1, frames, first_step=10**15)
    expected = shuffled(4 * 10**15 + np.arange(4), 7, 1)
    np.testing.assert_array_equal(batch["index"], expected)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_processes_shares_are_the_batch(
    frames: list[Frame], uninterrupted: list[Batch], count: int
) -> None:
    shares = [take(3, frames, random_crop=True, process=(i, count)) for i in range(count)]
    for step in range(3):
        parts = [share[step] for share in shares]
        joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        assert_equal(joined, uninterrupted[step])


def test_positions_count_the_examples_of_the_whole_stream(frames: list[Frame]) -> None:
    (batch,) = take(1, frames, first_step=3, process=(1, 2))
    np.testing.assert_array_equal(batch["position"], [14, 15])


# The content of batches.


def test_types_and_shapes(frames: list[Frame]) -> None:
    coarse = [dataclasses.replace(frame, coarse=frame.ground_truth) for frame in frames]
    (batch,) = take(1, coarse, near_reach=1)
    assert {key: (value.dtype, value.shape) for key, value in batch.items()} == {
        "image": (np.uint8, (4, 6, 8, 3)),
        "sparse_depth": (np.float32, (4, 6, 8, 1)),
        "ground_truth": (np.float32, (4, 6, 8, 1)),
        "coarse_depth": (np.float32, (4, 6, 8, 1)),
        "intrinsics": (np.float32, (4, 4)),
        "index": (np.int32, (4,)),
        "position": (np.int64, (4,)),
        "near_image": (np.uint8, (4, 6, 8, 3)),
        "rotation": (np.float32, (4, 3, 3)),
        "translation": (np.float32, (4, 3)),
    }


def test_a_file_damaged_since_the_start_is_named(frames: list[Frame], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(frames[1].sparse.read_bytes()[:200])
    damaged = [frames[0], dataclasses.replace(frames[1], sparse=broken), *frames[2:]]
    with pytest.raises(ValueError, match=f"{broken}.*; resume once the file is restored"):
        take(len(frames), damaged)


def test_crops_are_at_the_bottom_centre(frames: list[Frame]) -> None:
    (batch,) = take(1, frames)
    for row, index in enumerate(batch["index"]):
        frame = frames[index]
        np.testing.assert_array_equal(batch["image"][row], read_image(frame.image)[3:, 3:11])
        for key, path in (("sparse_depth", frame.sparse), ("ground_truth", frame.ground_truth)):
            np.testing.assert_array_equal(batch[key][row, ..., 0], read_depth(path)[3:, 3:11])
        fx, fy, cx, cy = tree.INTRINSICS
        np.testing.assert_array_equal(batch["intrinsics"][row], [fx, fy, cx - 3, cy - 3])


def test_random_crops_are_everywhere_and_calibrated(frames: list[Frame]) -> None:
    batches = take(60, frames[:1], random_crop=True)
    cx, cy = (np.concatenate([batch["intrinsics"][:, i] for batch in batches]) for i in (2, 3))
    corners = np.rint(np.stack([tree.INTRINSICS[3] - cy, tree.INTRINSICS[2] - cx], axis=1))
    image, depth = read_image(frames[0].image), read_depth(frames[0].sparse)
    found = np.concatenate([batch["image"] for batch in batches])
    sparse = np.concatenate([batch["sparse_depth"] for batch in batches])
    for (top, left), one, points in zip(corners.astype(int), found, sparse, strict=True):
        window = np.s_[top : top + 6, left : left + 8]
        np.testing.assert_array_equal(one, image[window])
        np.testing.assert_array_equal(points[..., 0], depth[window])
    counts = np.unique(corners, axis=0, return_counts=True)[1]
    # 240 crops at 4 x 8 places.
    assert len(counts) == 32
    assert counts.max() < 24


def test_an_offset_rounded_up_to_the_end_is_inside_the_image() -> None:
    maps = {"sparse_depth": tf.reshape(tf.range(600.0), (20, 30, 1)), "intrinsics": tf.ones(4)}
    example = maps | {"place": tf.constant([1.0, 1.0])}
    assert crop_anywhere((17, 28))(example)["sparse_depth"][0, 0, 0] == 3 * 30 + 2


def test_batches_contain_only_what_frames_have(frames: list[Frame]) -> None:
    bare = [dataclasses.replace(f, image=None, ground_truth=None, intrinsics=None) for f in frames]
    (batch,) = take(1, bare, random_crop=True)
    assert batch.keys() == {"sparse_depth", "intrinsics", "index", "position"}
    assert np.isnan(batch["intrinsics"]).all()


# Nearby frames.


def test_near_frames_and_their_poses(plane: list[Frame]) -> None:
    batches = take(3, plane, near_reach=2, crop=(160, 200), batch_size=5)
    seen = set()
    for batch in batches:
        for row, index in enumerate(batch["index"]):
            move = batch["translation"][row] / 0.3
            near = index - round(float(move[0]))
            np.testing.assert_allclose(move, (index - near, 0, 0), atol=0.15)
            np.testing.assert_allclose(batch["rotation"][row], np.eye(3), atol=5e-3)
            np.testing.assert_array_equal(batch["near_image"][row], read_image(plane[near].image))
            seen.add((int(index), near))
    assert {near for index, near in seen if index == 4} == {4}
    assert all(1 <= abs(index - near) <= 2 for index, near in seen if index < 4)
    assert len({near for index, near in seen if index == 1}) > 1


def test_near_frames_resume_and_are_cropped_alike(plane: list[Frame]) -> None:
    settings = {"near_reach": 1, "crop": (150, 190), "random_crop": True}
    expected = take(2, plane, **settings)[1]
    (found,) = take(1, plane, first_step=1, threads=1, **settings)
    assert_equal(found, expected)
    lonely = expected["index"] == 4
    assert lonely.any()
    np.testing.assert_array_equal(expected["near_image"][lonely], expected["image"][lonely])


def test_a_near_frame_of_another_size_is_named(tmp_path: Path) -> None:
    """Each of the two frames is sound."""
    tree.write_drive(tmp_path, "train", [0], size=(16, 30))
    tree.write_drive(tmp_path, "train", [1], size=(16, 32))
    with pytest.raises(ValueError, match=r"sizes differ .*png is 16x30, .*png is 16x32") as error:
        take(1, find_frames(tmp_path, "train"), near_reach=1)
    assert "/image_02/data/0000000001.png is 16x32" in str(error.value)


@pytest.mark.slow
def test_a_process_ends_cleanly_while_the_stream_is_open(plane: list[Frame]) -> None:
    folder = plane[0].sparse.parents[6]
    code = f"""
import sys
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.train_pipeline import make_train_dataset
frames = find_frames({str(folder)!r}, "train")
assert "tensorflow" not in sys.modules
batches = iter(make_train_dataset(
    frames, batch_size=2, crop=(9, 9), seed=0, near_reach=3))
next(batches)
raise SystemExit(3)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, timeout=120
    )
    assert result.returncode == 3, result.stderr[-2000:]


# Invalid arguments.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batches of 0 from 7 frames"),
        ({"process": (2, 2)}, "no process 2 among 2"),
        ({"process": (0, 3)}, "a batch of 4 is not divisible by the 3 processes: take 3 or 6"),
        ({"process": (0, 8)}, "a batch of 4 is not divisible by the 8 processes: take 8 or 8"),
        ({"seed": -1}, "seed and first_step must not be negative, got -1 and 0"),
        ({"first_step": -1}, "seed and first_step must not be negative, got 1 and -1"),
    ],
)
def test_invalid_requests_are_refused(frames: list[Frame], settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream(frames, **settings)


def test_no_frames() -> None:
    with pytest.raises(ValueError, match="batches of 4 from 0 frames"):
        stream([])


@pytest.mark.parametrize("kind", ["image", "ground_truth", "coarse"])
def test_all_frames_or_none_have_a_file(frames: list[Frame], kind: str) -> None:
    some = [dataclasses.replace(frame, coarse=frame.sparse) for frame in frames]
    some[2] = dataclasses.replace(some[2], **{kind: None})
    with pytest.raises(ValueError, match=f"1 of 7 frames have no {kind}"):
        stream(some)


def test_nearby_frames_need_neighbours_images_and_calibration(frames: list[Frame]) -> None:
    with pytest.raises(ValueError, match=r"none of the 3 frames has another .* within 2 frames"):
        stream(frames[::3], near_reach=2)
    blind = [*frames[1:], dataclasses.replace(frames[0], image=None)]
    with pytest.raises(ValueError, match=r"need images: 1 of 7 frames have none: .*0000000000"):
        stream(blind, near_reach=3)
    unknown = [*frames[1:], dataclasses.replace(frames[0], intrinsics=None)]
    with pytest.raises(ValueError, match=r"poses needs calibration: 1 of 7 .*0000000000"):
        stream(unknown, near_reach=3)


def test_train_without_ground_truth_is_refused_at_the_split(tmp_path: Path) -> None:
    tree.write_drive(tmp_path, "train")
    for path in tmp_path.glob("data_depth_annotated/**/*.png"):
        path.unlink()
    with pytest.raises(ValueError, match=r"3 of 3 train frames .* have no ground_truth"):
        find_frames(tmp_path, "train")
    assert len(find_frames(tmp_path, "train", require=("image",))) == 3


# Frames without files of their own.


def test_stored_frames_give_the_batches_of_their_files(plane: list[Frame]) -> None:
    settings = {"near_reach": 1, "crop": (150, 190), "random_crop": True}
    expected = take(2, plane, **settings)
    for found, wanted in zip(take(2, [*map(stored, plane)], **settings), expected, strict=True):
        assert_equal(found, wanted)


def test_a_record_damaged_since_the_start_is_named(frames: list[Frame]) -> None:
    damaged = [*map(stored, frames[:-1]), stored(frames[-1], "is damaged")]
    with pytest.raises(ValueError, match=r"train\.shard:\S+/sparse_depth is damaged; resume once"):
        take(len(frames), damaged)
