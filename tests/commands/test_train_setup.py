"""The length of a run, its learning rate, its files, and notes about the photometric loss."""

import shutil

import cv2
import numpy as np
import pytest

from fcfrnet_jax.commands import train_setup, trained_model, workdir
from fcfrnet_jax.commands.cli.config_files import flat
from fcfrnet_jax.commands.data import opening
from fcfrnet_jax.files import with_digest, write_json
from tests import kitti_tree, numbered_scenes
from tests.commands import runs
from tests.commands.workdirs import config_of, started


def ends_of(folder, *, schedule="cosine", recorded=None, **settings):
    """The ends of the schedule of a run of 40 steps, at step 20 unless another is given."""
    step = settings.pop("step", 20)
    started(folder, step, schedule=schedule)
    write_json(folder / "run.json", with_digest({"lengths": recorded or [40]}))
    config = flat(config_of(schedule=schedule, **settings))
    total = train_setup.total_steps(config, 20)
    return train_setup.lengths(workdir.read(folder), total, config, 40)


@pytest.mark.parametrize("schedule", ["constant", "step"])
@pytest.mark.parametrize("step", [20, 40])
def test_a_schedule_without_an_end_goes_on(schedule, step, tmp_path):
    assert ends_of(tmp_path, schedule=schedule, step=step, steps=90) == [90]


def test_epochs_are_compared_by_their_steps(tmp_path):
    assert ends_of(tmp_path, steps=0, epochs=8) == [40]


@pytest.mark.parametrize(
    ("step", "recorded", "steps", "expected"),
    [
        (40, [40], 40, [40]),
        (40, [40], 90, [40, 90]),
        (60, [40, 90], 90, [40, 90]),
        (90, [40, 90], 99, [40, 90, 99]),
        (40, [40, 90], 40, [40]),
        (40, [40, 90], 70, [40, 70]),  # no step of the extension was made
        (20, [40, 90], 90, [40, 90]),  # the newest snapshots were damaged
    ],
)
def test_a_finished_cosine_restarts(step, recorded, steps, expected, tmp_path):
    assert ends_of(tmp_path, step=step, recorded=recorded, steps=steps) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 19}, "is at step 20 already, and --config.steps=19 ends at step 19; give a len"),
        ({"steps": 0, "epochs": 1}, "--config.epochs=1 ends at step 5; give a length of at least"),
        ({"steps": 60}, "at step 20 of 40, and --config.steps=60 would end .*; finish it with 40"),
        ({"steps": 30}, "at step 20 of 40, and --config.steps=30 would end it at step 30: the le"),
        ({"step": 40, "steps": 45}, "the 5 added steps end before the warm-up .*warmup_steps=5"),
    ],
)
def test_a_length_that_does_not_fit_is_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        ends_of(tmp_path, **settings)


def test_the_learning_rate_restarts_with_its_warm_up():
    config = config_of(schedule="cosine", warmup_steps=2, learning_rate=1.0)
    restarted = train_setup.make_learning_rate(config, 20, [6, 16])
    first, second = (train_setup.make_learning_rate(config, 20, [n]) for n in (6, 10))
    rates = [float(restarted(step)) for step in range(16)]
    expected = [float(first(step)) for step in range(6)] + [float(second(s)) for s in range(10)]
    assert rates == expected
    assert rates[6] == 0.5


def test_a_cosine_needs_more_steps_than_its_warm_up():
    with pytest.raises(ValueError, match=r"a training of 5 steps ends before .*warmup_steps=5 are"):
        train_setup.make_learning_rate(config_of(schedule="cosine"), 20, [5])


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=4, height=48, width=160)
    return root


def notes_of(scenes, **settings):
    config = runs.config_of(scenes, **{"mode": "dense+photo"} | settings)
    objective = train_setup.make_objective(config)
    frames, _ = train_setup.training_frames(
        config, opening.open_data_set(config), trained_model.make_model(config), objective
    )
    return train_setup.photometric_notes(config, frames)


def test_frames_with_neighbours_are_counted(scenes):
    """The images are noise, in which no two frames match."""
    count, warning = notes_of(scenes)
    told = "Photometric loss: 2 of 2 frames have neighbours, at most 3 frames away in their drive."
    assert count == told
    assert warning.startswith("Warning: the photometric loss may stay 0. No pose was found for")
    assert "matches with a depth, at least 10 are needed" in warning
    assert notes_of(scenes, photometric_weight=0.0) == notes_of(scenes, mode="dense") == []


def test_a_pose_of_one_frame_is_enough(scenes, monkeypatch):
    monkeypatch.setattr(train_setup, "pose_failure", lambda *_: None)
    assert len(notes_of(scenes)) == 1


def test_a_standing_camera_is_the_reason(scenes, tmp_path):
    """Every image is the same photo-like pattern."""
    shutil.copytree(scenes, tmp_path / "data")
    noise = np.random.default_rng(0).integers(0, 256, (48, 160, 3), np.uint8)
    stretched = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)
    for path in (tmp_path / "data").rglob("image_02/data/*.png"):
        cv2.imwrite(str(path), stretched)
    assert "the camera moved by 0.00 m, at least 0.1 m are needed" in notes_of(tmp_path / "data")[1]


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
    return train_setup.training_frames(
        config, opening.open_data_set(config), trained_model.make_model(config), objective
    )[0]


def test_validation_of_a_depth_only_model_needs_no_images(data):
    config = depth_only(data, "sparse+photo")
    frames, _ = train_setup.validation_frames(
        config, opening.open_data_set(config), trained_model.make_model(config)
    )
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
