"""Calibrated frames and their neighbours."""

import dataclasses
from pathlib import Path

import pytest

from fcfrnet_jax.data.frame import Frame, check_calibrated, neighbours

IMAGE = Path("image.png")


def frames_of(*names):
    return [Frame(name, IMAGE, Path("sparse.png"), None, None, (1, 1, 0, 0)) for name in names]


def test_neighbours_are_near_in_the_same_drive_and_camera():
    frames = frames_of("a/image_02/08", "a/image_02/10", "a/image_02/11", "a/image_03/09", "b/x/9")
    assert neighbours(frames, reach=2) == [[1], [0, 2], [1], [], []]
    assert neighbours(frames, reach=3) == [[1, 2], [0, 2], [0, 1], [], []]


def test_frames_without_an_image_or_a_number_are_not_neighbours():
    frames = frames_of("a/1", "a/2", "a/x", "1", "2")
    frames[0] = dataclasses.replace(frames[0], image=None)
    assert neighbours(frames) == [[1], [], [], [], []]


def test_frames_without_calibration_are_named():
    frames = frames_of(*"abcdef")
    check_calibrated(frames, "finding poses")
    frames[1:] = [dataclasses.replace(frame, intrinsics=None) for frame in frames[1:]]
    message = "finding poses needs calibration: 5 of 6 frames have none: b, c, d and 2 more; unpack"
    with pytest.raises(ValueError, match=message):
        check_calibrated(frames, "finding poses")
