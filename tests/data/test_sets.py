"""Data sets in shards and in folders give the same frames and the same training batches."""

from itertools import islice

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict

from fcfrnet_jax.commands import dataset
from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.images import write_depth, write_image
from fcfrnet_jax.data.sets import open_folder
from fcfrnet_jax.data.train_pipeline import make_train_dataset
from tests import kitti_tree as tree
from tests.data.shards.building import build

NEEDED = ("image", "ground_truth")
SIZE = 200, 450


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A camera moves along a textured plane."""
    root = tmp_path_factory.mktemp("kitti")
    tree.write_drive(root, "train", numbers=range(5, 12), size=SIZE)
    noise = cv2.GaussianBlur(np.random.default_rng(0).random((200, 530, 3)), (0, 0), 2.0)
    texture = np.rint(255 * cv2.normalize(noise, None, 0, 1, cv2.NORM_MINMAX)).astype(np.uint8)
    for i, frame in enumerate(kitti.find_frames(root, "train")):
        write_image(frame.image, texture[:, 12 * i : 12 * i + 450])
        write_depth(frame.sparse, np.full(SIZE, 10.0))
    return root


@pytest.fixture(scope="module")
def shards_dir(folders, tmp_path_factory):
    return build(folders, tmp_path_factory.mktemp("shards"), "train")


def frames_of(folder, coarse_dir=None, require=NEEDED):
    return open_folder(folder).search("train", coarse_dir=coarse_dir, require=require)


def batches(folder, count=4, **settings):
    frames, bad = frames_of(folder)
    assert bad == []
    stream = make_train_dataset(
        frames, batch_size=4, crop=(160, 320), seed=3, random_crop=True, **settings
    )
    return list(islice(stream, count))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_batches_are_those_of_the_folders(folders, shards_dir):
    for found, expected in zip(batches(shards_dir), batches(folders), strict=True):
        assert_same(found, expected)


@pytest.mark.slow
def test_near_frames_are_those_of_the_folders(folders, shards_dir):
    """They are found by the names of the frames, see `frame.neighbours`."""
    found, expected = (batches(folder, 1, near_reach=2)[0] for folder in (shards_dir, folders))
    assert_same(found, expected)
    assert np.all(found["translation"][:, 0] != 0)


def test_a_stream_from_shards_resumes_at_any_step(shards_dir):
    [found] = batches(shards_dir, 1, first_step=2)
    assert_same(found, batches(shards_dir, 3)[2])


def test_processes_see_disjoint_halves(shards_dir):
    halves = [batches(shards_dir, 1, process=(index, 2))[0] for index in (0, 1)]
    [whole] = batches(shards_dir, 1)
    for name in ("image", "position"):
        np.testing.assert_array_equal(np.concatenate([h[name] for h in halves]), whole[name])


def test_models_without_images_have_them_in_panels(folders, shards_dir):
    drawn = []
    for folder in (folders, shards_dir):
        data = open_folder(folder)
        (frame, *_), _ = frames_of(folder, require=("ground_truth",))
        assert frame.image is None
        images = dataset.panel_images(ConfigDict({"panels": 1}), data, "train", [frame])
        example = dict.fromkeys(("sparse_depth", "ground_truth"), np.ones((16, 32, 1)))
        drawn += [
            dataset.panel(data, frame, example, {}, {}, found).tobytes() for found in (images, {})
        ]
    assert drawn[0] == drawn[2]
    assert drawn[0] != drawn[1]


def test_a_folder_with_two_data_sets_is_refused(shards_dir, tmp_path):
    (tmp_path / "kitti_depth_completion").mkdir()
    (tmp_path / "kitti_depth_completion" / "1.0.0").symlink_to(shards_dir)
    assert open_folder(tmp_path).name == "KITTI"
    (tmp_path / "nyudepthv2").mkdir()
    with pytest.raises(ValueError, match=r"has NYU Depth v2 and KITTI in shards; .*1\.0\.0"):
        open_folder(tmp_path)


def test_coarse_maps_are_files_beside_shards(shards_dir, tmp_path):
    frames, _ = frames_of(shards_dir)
    for frame in frames[1:]:
        write_depth(tmp_path / "train" / f"{frame.name}.png", np.full(SIZE, 5.0))
    found, [bad] = frames_of(shards_dir, str(tmp_path), (*NEEDED, "coarse"))
    assert [frame.name for frame in found] == [frame.name for frame in frames[1:]]
    assert bad.frame.name == frames[0].name
    assert all(frame.coarse.is_file() for frame in found)


def test_shards_without_coarse_maps_say_so(shards_dir, tmp_path):
    with pytest.raises(ValueError, match="shards hold no coarse depth; give the folder of maps"):
        frames_of(shards_dir, require=("coarse",))
    with pytest.raises(ValueError, match="has no coarse maps of train"):
        frames_of(shards_dir, str(tmp_path))
