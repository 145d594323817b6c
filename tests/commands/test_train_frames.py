"""The files that training and validation need: those that they read, and no others."""

import pytest

from fcfrnet_jax.commands import train_setup
from fcfrnet_jax.commands.trained_model import make_model
from tests import kitti_tree
from tests.commands.workdirs import config_of


@pytest.fixture
def data(tmp_path):
    """Three frames of train and of val, without images and calibration."""
    for split, drive in (("train", kitti_tree.DRIVE), ("val", "2011_09_26_drive_0011_sync")):
        kitti_tree.write_drive(tmp_path, split, drive=drive, size=(40, 80))
    (tmp_path / "raw").rename(tmp_path / "elsewhere")
    return tmp_path


def depth_only(data, mode):
    """A config that trains a network without an image."""
    settings = {"coarse.modality": "d", "crop": (32, 64), "check_depth": False}
    return config_of(data_dir=str(data), mode=mode, **settings)


def training_frames(config):
    objective = train_setup.make_objective(config)
    return train_setup.training_frames(config, make_model(config), objective)[0]


def test_validation_of_a_depth_only_model_needs_no_images(data):
    config = depth_only(data, "sparse+photo")
    frames, _ = train_setup.validation_frames(config, make_model(config))
    assert [frame.image for frame in frames] == [None] * 3


@pytest.mark.parametrize("mode", ["dense", "sparse"])
def test_training_of_a_depth_only_model_needs_no_images(mode, data):
    assert [frame.image for frame in training_frames(depth_only(data, mode))] == [None] * 3


def test_the_photometric_loss_needs_images(data):
    with pytest.raises(ValueError, match=r"3 of 3 train frames under .* have no image"):
        training_frames(depth_only(data, "sparse+photo"))


def test_sparse_supervision_needs_no_ground_truth(data):
    (data / "data_depth_annotated" / "train").rename(data / "truth")
    frames = training_frames(depth_only(data, "sparse"))
    assert [frame.ground_truth for frame in frames] == [None] * 3
    with pytest.raises(ValueError, match=r"3 of 3 train frames under .* have no ground_truth"):
        training_frames(depth_only(data, "dense"))
