"""Checking the files of frames before a run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcfrnet_jax.data.check import (
    check_density,
    check_frames,
    drop_bad_frames,
    raise_bad_files,
)
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.kitti import find_frames
from tests import kitti_tree as tree


@pytest.fixture
def frames(tmp_path: Path) -> list[Frame]:
    tree.write_val_selection(tmp_path)
    return find_frames(tmp_path, "val_selection")


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return rewrite


def eight_bits(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros(tree.SIZE, np.uint8))


def three_channels(path: Path) -> None:
    cv2.imwrite(str(path), np.zeros((*tree.SIZE, 3), np.uint16))


def without_pixels(data: bytes) -> bytes:
    """Keeps the signature, IHDR and IEND."""
    return data[:33] + data[-12:]


DAMAGE = {
    "cannot be read: No such file": Path.unlink,
    "is empty": rewritten(lambda data: b""),
    "is not a PNG file": rewritten(lambda data: b"no image at all"),
    "is 8-bit gray, expected a 16-bit single-channel": eight_bits,
    "is 16-bit RGB, expected a 16-bit single-channel": three_channels,
    "is truncated at byte 5, before": rewritten(lambda data: data[:5]),
    "is truncated at byte 4 of chunk IHDR": rewritten(lambda data: data[:20]),
    "is truncated at byte 10 of chunk IDAT": rewritten(
        lambda data: data[: data.index(b"IDAT") + 14]
    ),
    "is truncated at byte [0-9]+, before the end": rewritten(lambda data: data[:-12]),
    "is truncated at byte 2 of chunk IEND": rewritten(lambda data: data[:-2]),
    "wrong checksum of chunk IDAT": rewritten(
        lambda data: data[:70] + bytes([data[70] ^ 1]) + data[71:]
    ),
    "no PNG chunk begins here": rewritten(lambda data: data[:33] + bytes(40)),
    "has no IDAT chunk": rewritten(without_pixels),
}


@pytest.mark.parametrize("reason", DAMAGE)
@pytest.mark.parametrize("kind", ["sparse", "ground_truth"])
def test_a_damaged_depth_map_is_named(frames: list[Frame], kind: str, reason: str) -> None:
    path = getattr(frames[1], kind)
    DAMAGE[reason](path)
    (bad,) = check_frames(frames, crop=(8, 12))
    assert (bad.frame, bad.path) == (frames[1], path)
    with pytest.raises(
        ValueError, match=f"1 frame cannot be used: {path} .*{reason}.*skip_bad_frames=True leaves"
    ):
        raise_bad_files([bad])


def test_valid_files_pass(frames: list[Frame]) -> None:
    assert check_frames(frames, (0, 0)) == check_frames(frames, tree.SIZE) == []
    raise_bad_files([])


def test_bad_images(frames: list[Frame]) -> None:
    three_channels(frames[0].image)
    frames[1].image.write_bytes(b"GIF89a")
    frames[2].image.write_bytes(cv2.imencode(".jpg", np.zeros((*tree.SIZE, 3)))[1].tobytes()[:-2])
    reasons = [bad.reason for bad in check_frames(frames, (0, 0))]
    assert reasons[0] == "is 16-bit RGB, expected an image with 8 bits per channel"
    assert reasons[1] == "is neither a PNG nor a JPEG file"
    assert reasons[2].endswith("the JPEG has no end marker")


def test_sizes_within_a_frame_must_agree(frames: list[Frame]) -> None:
    tree.random_image(frames[1].image, (9, 16))
    (bad,) = check_frames(frames, crop=(8, 12))
    assert bad.path == frames[1].image
    assert bad.reason == f"is 9x16 (height x width), {frames[1].sparse} is 9x15 (height x width)"


def test_frames_must_be_as_large_as_the_crop(frames: list[Frame]) -> None:
    for path in (frames[1].image, frames[1].sparse, frames[1].ground_truth):
        write = tree.random_image if path == frames[1].image else tree.random_depth
        write(path, (8, 15))
    (bad,) = check_frames(frames, crop=(9, 15))
    assert bad.frame == frames[1]
    assert "is 8x15 (height x width), smaller than the crop 9x15" in bad.reason
    assert check_frames(frames, crop=(8, 15)) == []


def test_whole_frames_may_have_different_sizes(frames: list[Frame]) -> None:
    for path in (frames[1].image, frames[1].sparse, frames[1].ground_truth):
        (tree.random_image if path == frames[1].image else tree.random_depth)(path, (8, 15))
    assert check_frames(frames, crop=(0, 0)) == check_frames(frames, crop=(0, 15)) == []
    (bad,) = check_frames(frames, crop=(9, 0))
    assert bad.frame == frames[1]


def test_bad_frames_can_be_dropped(frames: list[Frame]) -> None:
    eight_bits(frames[1].sparse)
    eight_bits(frames[1].ground_truth)
    bad = check_frames(frames, (0, 0))
    assert len(bad) == 2
    assert drop_bad_frames(frames, bad) == [frames[0], frames[2]]
    with pytest.raises(ValueError, match=r"none of the 1 frames can be used: .* is 8-bit"):
        drop_bad_frames(frames[1:2], bad)


def test_sparse_and_dense_maps_in_each_other_s_place(frames: list[Frame]) -> None:
    frame = frames[0]
    dense = tree.random_depth(frame.sparse.with_name("dense.png"), density=0.6)
    check_density([dataclasses.replace(frame, coarse=dense)])
    with pytest.raises(ValueError, match=r"dense.png: 60% .* dense map.*coarse_dir=FOLDER"):
        check_density([frame, dataclasses.replace(frame, sparse=dense)])
    with pytest.raises(ValueError, match=r"png: only 20% .* not a coarse map.*coarse_dir=FOLDER"):
        check_density([dataclasses.replace(frame, coarse=frame.ground_truth)])


@pytest.mark.parametrize(
    ("split", "crop"), [("train", (0, 0)), ("val", (0, 0)), ("val_selection", (352, 1216))]
)
def test_real_frames_are_valid(kitti_real: Path, split: str, crop: tuple[int, int]) -> None:
    frames = find_frames(kitti_real, split)
    assert check_frames(frames, crop) == []
    check_density(frames)
