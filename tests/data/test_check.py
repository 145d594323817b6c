"""Checking the files of frames before a run."""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from absl import logging

from fcfrnet_jax.data.check import (
    check_frames,
    largest_crop,
    log_left_out,
    raise_bad_files,
    without_bad,
)
from fcfrnet_jax.data.frame import Frame
from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.data.kitti import find_frames
from tests import kitti_tree as tree
from tests.data.pngs import png, undecodable_jpeg


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


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def pixels_of(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Writes a depth PNG with valid checksums whose compressed pixels are changed."""

    def write(path: Path) -> None:
        height, width = tree.SIZE
        rows = bytes([0, *[1] * (2 * width)]) * height
        path.write_bytes(png(tree.SIZE, 16, 0, change(rows)))

    return write


DAMAGE = {
    "cannot be read: No such file": Path.unlink,
    "is a folder": folder_instead,
    "is not a regular file": pipe_instead,
    "is empty: it has 0 bytes": rewritten(lambda data: b""),
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
    "is damaged: it has 100 of 279 bytes of pixels": pixels_of(
        lambda rows: zlib.compress(rows[:100])
    ),
    "is damaged: its pixels cannot be inflated": pixels_of(lambda rows: rows),
    "is damaged: its pixels have no end": pixels_of(lambda rows: zlib.compress(rows)[:-4]),
    "is damaged: unknown filter 7": pixels_of(lambda rows: zlib.compress(b"\7" + rows[1:])),
    "has no depth above 0.1 m": lambda path: write_depth(path, np.zeros(tree.SIZE)),
}


@pytest.mark.parametrize("reason", DAMAGE)
@pytest.mark.parametrize("kind", ["sparse", "ground_truth"])
def test_a_damaged_depth_map_is_named(frames: list[Frame], kind: str, reason: str) -> None:
    path = getattr(frames[1], kind)
    DAMAGE[reason](path)
    (bad,) = check_frames(frames, crop=(8, 12))
    assert (bad.frame, bad.path) == (frames[1], path)
    with pytest.raises(
        ValueError, match=f"1 frame cannot be used: {path} .*{reason}.*; leave it out"
    ):
        raise_bad_files([bad], ["leave it out"])


def test_reasons_with_commas_are_separated_by_semicolons(frames: list[Frame]) -> None:
    for frame in frames[:2]:
        eight_bits(frame.sparse)
    with pytest.raises(ValueError, match=rf"depth PNG; {frames[1].sparse} is 8-bit gray, expect"):
        raise_bad_files(check_frames(frames, (0, 0)))


def test_pixels_of_images_are_inflated_if_wanted(frames: list[Frame]) -> None:
    frames[1].image.write_bytes(png(tree.SIZE, 8, 0, zlib.compress(bytes(10))))
    assert check_frames(frames, (0, 0), image_pixels=False) == []
    (bad,) = check_frames(frames, (0, 0))
    assert bad.path == frames[1].image
    assert bad.reason.startswith("is damaged: it has 10 of ")


def test_jpegs_are_decoded_if_wanted(frames: list[Frame]) -> None:
    frames[0].image.write_bytes(cv2.imencode(".jpg", np.zeros((*tree.SIZE, 3)))[1].tobytes())
    frames[1].image.write_bytes(undecodable_jpeg(tree.SIZE))
    assert check_frames(frames, (0, 0), image_pixels=False) == []
    (bad,) = check_frames(frames, (0, 0))
    assert (bad.path, bad.reason) == (
        frames[1].image,
        "is damaged: its pixels cannot be decoded",
    )


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


def test_the_largest_crop_that_fits(frames: list[Frame]) -> None:
    bad = check_frames(frames, crop=(32, 15))
    assert [item.too_small for item in bad] == [tree.SIZE] * 3
    assert largest_crop(bad, (32, 15), multiple=4) == (8, 12)
    assert check_frames(frames, crop=(8, 12)) == []
    assert largest_crop(bad, (32, 0), multiple=4) == (8, 0)
    assert largest_crop(bad, (32, 15), multiple=16) is None


def test_the_largest_crop_fits_the_frames_that_were_large_enough(frames: list[Frame]) -> None:
    """Two frames are too narrow, and the height of the third allows no larger one."""
    for frame, size in zip(frames, [(75, 677), (170, 500), (165, 401)], strict=True):
        tree.random_image(frame.image, size)
        for path in (frame.sparse, frame.ground_truth):
            tree.random_depth(path, size)
    bad = check_frames(frames, (64, 672))
    assert largest_crop(bad, (64, 672), multiple=16) == (64, 400)
    assert check_frames(frames, (64, 400)) == []


def test_a_depth_map_must_have_a_depth_in_the_crop(frames: list[Frame]) -> None:
    depth = np.zeros(tree.SIZE)
    depth[0, 0] = depth[8, 0] = 5
    write_depth(frames[1].ground_truth, depth)
    assert check_frames(frames, (8, 15)) == check_frames(frames, (0, 0)) == []
    assert check_frames(frames, (8, 13), random_crop=True) == []
    (bad,) = check_frames(frames, crop=(8, 13))
    assert bad.path == frames[1].ground_truth
    assert "has no depth above 0.1 m in the crop of 8x13 (height x width)" in bad.reason


def test_depths_of_one_tenth_of_a_metre_are_missing(frames: list[Frame]) -> None:
    kinds = "sparse", "ground_truth", "sparse"
    for frame, kind, code in zip(frames, kinds, (25, 25, 26), strict=True):
        write_depth(getattr(frame, kind), np.full(tree.SIZE, code / 256))
    bad = check_frames(frames, (0, 0))
    assert [item.path for item in bad] == [frames[0].sparse, frames[1].ground_truth]
    assert {item.reason for item in bad} == {"has no depth above 0.1 m"}


def test_a_constant_depth_map_is_not_empty(frames: list[Frame]) -> None:
    write_depth(frames[1].ground_truth, np.full(tree.SIZE, 0.9))
    assert check_frames(frames, (8, 12)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator can read every file")
def test_a_file_without_permission_is_named(frames: list[Frame]) -> None:
    frames[1].sparse.chmod(0)
    (bad,) = check_frames(frames, (0, 0))
    assert (bad.path, bad.reason) == (frames[1].sparse, "cannot be read: Permission denied")


def test_bad_frames_can_be_left_out(frames: list[Frame], caplog: pytest.LogCaptureFixture) -> None:
    eight_bits(frames[1].sparse)
    eight_bits(frames[1].ground_truth)
    bad = check_frames(frames, (0, 0))
    assert len(bad) == 2
    assert without_bad(frames, bad) == [frames[0], frames[2]]
    with caplog.at_level("WARNING", logger=logging.get_absl_logger().name):
        log_left_out(bad * 20)
    assert f"{frames[1].name} is left out: {frames[1].sparse} is 8-bit gray" in caplog.text
    assert len(caplog.records) == 21
    assert "Frames left out: 1" in caplog.text


@pytest.mark.parametrize(
    ("split", "crop"), [("train", (0, 0)), ("val", (0, 0)), ("val_selection", (352, 1216))]
)
def test_real_frames_are_valid(kitti_real: Path, split: str, crop: tuple[int, int]) -> None:
    frames = find_frames(kitti_real, split)
    assert check_frames(frames, crop) == []
