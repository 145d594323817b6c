"""Augmented batches of files against the pipeline's crops, augmented one by one."""

import dataclasses
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np
import pytest

from fcfrnet_jax import parallel
from fcfrnet_jax.data.augment import Augmentation, augment
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from fcfrnet_jax.training.file_batches import augmented_batches
from tests import kitti_tree

EVERYTHING = Augmentation(0.5, 0.2, 0.2, 0.2, True, 0.5, (32, 8), 0.5)
SEED = 5
Batch = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    folder = tmp_path_factory.mktemp("data")
    kitti_tree.write_drive(folder, "train", numbers=range(7))
    return find_frames(folder, "train")


def crops(frames: list[Frame], **changes: Any) -> Iterator[Batch]:
    settings = {"batch_size": 16, "crop": (6, 8), "seed": 1, "random_crop": True, "near_reach": 1}
    return iter(make_train_dataset(frames, **(settings | changes)))


def augmented(frames: list[Frame], count: int, **changes: Any) -> list[tuple[np.ndarray, Batch]]:
    batches = augmented_batches(crops(frames, **changes), EVERYTHING, SEED)
    return [(index, parallel.unshard(batch)) for index, batch in islice(batches, count)]


@pytest.fixture(scope="module")
def whole(frames: list[Frame]) -> list[tuple[np.ndarray, Batch]]:
    """The first batches, augmented on eight devices."""
    return augmented(frames, 3)


def assert_equal(found: Batch, expected: Batch) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_batches_are_the_crops_augmented_one_by_one(
    frames: list[Frame], whole: list[tuple[np.ndarray, Batch]]
) -> None:
    @jax.jit
    def augment_one(position: jax.Array, example: Batch) -> Batch:
        return augment(jax.random.fold_in(jax.random.key(SEED), position), example, EVERYTHING)

    changed = 0
    for crop, (index, batch) in zip(islice(crops(frames), 2), whole, strict=False):
        np.testing.assert_array_equal(index, crop.pop("index"))
        positions = crop.pop("position")
        for row, position in enumerate(positions):
            example = {name: leaf[row] for name, leaf in crop.items()}
            expected = augment_one(np.uint32(position), example)
            found = {name: leaf[row] for name, leaf in batch.items()}
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                # Other programs round colours differently.
                tolerance = 1 if "image" in name else 0
                np.testing.assert_allclose(found[name], value, atol=tolerance, err_msg=name)
            changed += not np.array_equal(found["image"], example["image"])
    assert changed == 32


def test_a_stream_opened_later_continues_exactly(
    frames: list[Frame], whole: list[tuple[np.ndarray, Batch]]
) -> None:
    ((index, batch),) = augmented(frames, 1, first_step=2)
    np.testing.assert_array_equal(index, whole[2][0])
    assert_equal(batch, whole[2][1])


def test_two_processes_share_a_batch(
    frames: list[Frame], whole: list[tuple[np.ndarray, Batch]]
) -> None:
    shares = [augmented(frames, 1, process=(i, 2))[0] for i in range(2)]
    np.testing.assert_array_equal(np.concatenate([index for index, _ in shares]), whole[0][0])
    joined = {name: np.concatenate([batch[name] for _, batch in shares]) for name in whole[0][1]}
    assert_equal(joined, whole[0][1])


def test_frames_with_only_sparse_depth(frames: list[Frame]) -> None:
    bare = [dataclasses.replace(frame, image=None, ground_truth=None) for frame in frames]
    _, batch = next(augmented_batches(crops(bare, near_reach=0), EVERYTHING, SEED))
    assert batch.keys() == {"sparse_depth", "intrinsics"}
    assert batch["sparse_depth"].shape == (8, 2, 6, 8, 1)
