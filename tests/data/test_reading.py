"""The arrays of frames with and without files of their own."""

import dataclasses

import numpy as np
import pytest

from fcfrnet_jax.data.check import check_frames, read_frame, scan_frames
from fcfrnet_jax.data.frame import RecordError
from fcfrnet_jax.data.images import write_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.data.reading import read_arrays
from tests import kitti_tree as tree
from tests.stored_frames import InMemory, stored

NAMES = ("image", "sparse_depth", "coarse_depth", "ground_truth")


@pytest.fixture
def frame(tmp_path):
    tree.write_drive(tmp_path, "val", numbers=[5])
    [found] = find_frames(tmp_path, "val")
    coarse = tmp_path / "coarse.png"
    write_depth(coarse, np.full(tree.SIZE, 5.0))
    return dataclasses.replace(found, coarse=coarse)


@pytest.mark.parametrize("crop", [(0, 0), (6, 8)])
def test_a_stored_frame_is_read_as_its_files(frame, crop):
    expected, none = read_frame(frame, crop)
    found, bad = read_frame(stored(frame), crop)
    assert none == bad == []
    assert found.keys() == expected.keys() == {*NAMES}
    for name in NAMES:
        assert found[name].dtype == expected[name].dtype
        np.testing.assert_array_equal(found[name], expected[name])


def test_arrays_that_a_frame_does_not_have_are_left_out(frame):
    without = dataclasses.replace(frame, image=None)
    assert read_arrays(without, NAMES).keys() == {*NAMES} - {"image"}
    assert read_arrays(stored(without), NAMES).keys() == {*NAMES} - {"image"}


def test_a_message_names_the_record(frame):
    broken = stored(frame, "is damaged")
    with pytest.raises(ValueError, match=rf"^train\.shard:{frame.name}/image is damaged$"):
        read_arrays(broken, ["image"])


def test_a_message_on_the_whole_record_names_it(frame):
    class Broken(InMemory):
        def read(self, names):
            raise RecordError("is damaged")

    broken = dataclasses.replace(stored(frame), stored=Broken({}))
    [bad] = check_frames([broken], (0, 0))
    assert (str(bad.path), bad.reason) == (f"train.shard:{frame.name}", "is damaged")
    with pytest.raises(ValueError, match=rf"^train\.shard:{frame.name} is damaged$"):
        read_arrays(broken, ["image"])


def test_each_array_of_a_record_is_checked(frame):
    broken, whole = stored(frame, "is damaged"), stored(frame)
    arrays = whole.stored.arrays
    empty = InMemory(arrays | {"sparse_depth": np.zeros_like(arrays["sparse_depth"])})
    small = InMemory(arrays | {"image": arrays["image"][1:]})
    frames = [whole, broken, *(dataclasses.replace(whole, stored=s) for s in (empty, small))]
    found = {(bad.path.name, bad.reason.split(",")[0]) for bad in check_frames(frames, (0, 0))}
    height, width = tree.SIZE
    assert found == {
        ("sparse_depth", "is damaged"),
        ("sparse_depth", "has no depth above 0.1 m"),
        ("image", f"is {height - 1}x{width} (height x width)"),
    }


def test_what_only_decoding_could_check_is_not_scanned(frame):
    assert scan_frames([stored(frame, "is damaged")], (0, 0)) == []


def test_a_crop_larger_than_a_record_is_refused(frame):
    [bad] = check_frames([stored(frame)], (999, 8))
    assert bad.too_small == tree.SIZE
