"""What may change when a run is resumed, by the records of the workdir."""

import json

import pytest

from fcfrnet_jax.commands import workdir
from fcfrnet_jax.commands.effects import EFFECTS, Effect
from fcfrnet_jax.data.sets import open_folder
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.weights import checkpoint
from tests import own_data
from tests.commands.workdirs import NAMES, compared, config_of, remove_settings, started
from tests.random_weights import random_variables

# Another valid value of each setting that changes the updates of a joint training.
OTHER = {
    "crop": (64, 64),
    "augmentation.flip": 0.1,
    "augmentation.brightness": 0.3,
    "augmentation.contrast": 0.3,
    "augmentation.saturation": 0.3,
    "augmentation.random_crop": False,
    "augmentation.beam_probability": 0.5,
    "augmentation.beams": (32,),
    "augmentation.point_dropout": 0.5,
    "augmentation.points": 100,
    "augmentation.scale": 1.5,
    "augmentation.rotation": 5.0,
    "coarse.layers": 34,
    "coarse.modality": "gd",
    "coarse.width": 16,
    "coarse.patch": 4,
    "coarse.base": "fill",
    "coarse.keep_measured": True,
    "coarse.min_depth": 0.1,
    "coarse.max_depth": 10.0,
    "fine.min_depth": 0.1,
    "fine.max_depth": 10.0,
    "fine.layers": 34,
    "fine.modality": "gd",
    "fine.width": 16,
    "fine.patch": 4,
    "fine.variant": "paper",
    "fine.window": 7,
    "mode": "sparse",
    "depth_loss": "l1",
    "rmse_weight": 1.0,
    "photometric_weight": 0.3,
    "smoothness_weight": 0.3,
    "exact_weight": 0.3,
    "edge_weight": 0.3,
    "scale_weight": 0.3,
    "coarse_weight": 0.3,
    "fine_weight": 0.3,
    "optimizer": "sgd",
    "learning_rate": 0.01,
    "schedule": "constant",
    "decay_epochs": 3,
    "warmup_steps": 3,
    "weight_decay": 0.1,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "batch_size": 16,
    "accumulate": 2,
    "dtype": "bfloat16",
    "sync_batchnorm": False,
    "freeze_batchnorm": True,
    "seed": 3,
    "stage": "coarse",
    "source": "synthetic",
    "split": "val",
}
ALL_USED = {
    "stage": "joint",
    "mode": "dense+photo",
    "depth_loss": "l1+rmse",
    "schedule": "step",
}
STREETS = {"camera": (96, 320), "pool_frames": 64, "clutter": 0.5, "misalignment": 1.0}


@pytest.mark.parametrize("name", [n for n, effect in EFFECTS.items() if effect is Effect.UPDATES])
def test_what_changes_the_updates_is_refused(name, tmp_path):
    base = ALL_USED | ({"source": "synthetic", "schedule": "cosine"} if name in STREETS else {})
    started(tmp_path, **base)
    with pytest.raises(ValueError, match=f"which the updates depend on: {name} was "):
        compared(tmp_path, **base | {name: (OTHER | STREETS)[name]})


def test_a_setting_without_effect_may_change(tmp_path):
    started(tmp_path)
    resumption = compared(tmp_path, camera=(64, 64), fine_weight=3.0, decay_epochs=3)
    assert resumption.changed.keys() == {"camera", "fine_weight", "decay_epochs"}
    assert resumption.notes == []


def test_everything_else_may_change_and_is_told(tmp_path):
    started(tmp_path)
    others = {
        "log_every": 7, "validate_every": 9, "save_every": 3, "keep": 9, "panels": 0, "threads": 2,
        "remat": True, "check_files": False, "skip_bad_frames": True, "xla_flags": "--xla_x=1",
    }  # fmt: skip
    resumption = compared(tmp_path, **others, coordinator="a:1", process=0, processes=1)
    (note,) = resumption.notes
    assert note.startswith("Continuing with ")
    for name, value in others.items():
        assert f"{name}={value!r} (was " in note
    assert "process" not in note
    assert resumption.facts_at(20)["changes"][0]["settings"]["keep"] == [3, 9]
    assert resumption.facts_at(20)["best_since"] == 0


def test_moved_data_resume(tmp_path):
    started(tmp_path)
    resumption = compared(tmp_path, data_dir="elsewhere")
    assert resumption.notes == ["Continuing with data_dir='elsewhere' (was 'kitti')."]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (NAMES[:15], "it had 20, now there are 15; drive2/image_02 has 5 frames, before it was 10"),
        (
            [*NAMES, "new/image_02/1"],
            "now there are 21; new/image_02 has 1 frames, before it was 0",
        ),
        ([*NAMES[:19], "drive2/image_02/77"], "as many in each drive, but with other names"),
    ],
)
def test_other_frames_are_refused(names, message, tmp_path):
    started(tmp_path)
    with pytest.raises(ValueError, match=f"has a run on other frames: .*{message}"):
        compared(tmp_path, names=names)


def test_frames_may_be_left_out_from_now_on(tmp_path):
    """As the message about a bad frame recommends; the length of an epoch stays the same."""
    settings = {"steps": 0, "epochs": 8}
    started(tmp_path, **settings)
    resumption = compared(
        tmp_path, names=NAMES[2:], left_out=NAMES[:2], skip_bad_frames=True, **settings
    )
    assert (resumption.epoch, resumption.ends) == (20, [40])
    assert resumption.notes[1].startswith("2 training frames are left out (was 0), so the updates")


def test_left_out_frames_do_not_come_back_silently(tmp_path):
    started(tmp_path)
    resumption = compared(tmp_path, names=NAMES[2:], left_out=NAMES[:2], skip_bad_frames=True)
    workdir.claim(workdir.read(tmp_path), config_of(skip_bad_frames=True), resumption.facts_at(20))
    with pytest.raises(
        ValueError, match=r"left out 2 of its 20 frames .* set --config.skip_bad_fr"
    ):
        compared(tmp_path)
    assert compared(tmp_path, skip_bad_frames=True).epoch == 20


def test_the_frozen_network_is_compared_by_its_weights(tmp_path):
    frozen = {"stage": "fine", "coarse_checkpoint": "coarse/best"}
    started(tmp_path, weights="abc", **frozen)
    compared(tmp_path, weights="abc", **frozen | {"coarse_checkpoint": "moved"})
    with pytest.raises(ValueError, match="frozen coarse network with other weights"):
        compared(tmp_path, weights="def", **frozen)
    maps = {"stage": "fine", "coarse_dir": "maps"}
    with pytest.raises(ValueError, match="depend on: coarse_dir was '', is 'maps'"):
        compared(tmp_path, **maps)


def test_another_unit_of_depth_is_refused(tmp_path):
    own_data.write(tmp_path / "data", depth_scale={"ground_truth": 1000})
    own_data.write(tmp_path / "moved", depth_scale={"ground_truth": 1000.0})
    own_data.write(tmp_path / "other", depth_scale=500)
    first, moved, other = (open_folder(tmp_path / n).reading for n in ("data", "moved", "other"))
    started(tmp_path / "run", reading=first)
    compared(tmp_path / "run", reading=moved)
    with pytest.raises(ValueError, match=r'is now read with \{"depth_scale": .* 500.0\}'):
        compared(tmp_path / "run", reading=other)


def test_the_number_of_points_matters_only_where_points_are_drawn(tmp_path):
    (tmp_path / "nyudepthv2").mkdir()
    first, other = (open_folder(tmp_path, points).reading for points in (500, 300))
    started(tmp_path / "rooms", reading=first)
    with pytest.raises(
        ValueError, match=r'read with {"points": 500}, and is now .* {"points": 300}'
    ):
        compared(tmp_path / "rooms", reading=other, points=300)
    compared(started(tmp_path / "streets"), points=300)


@pytest.mark.parametrize("name", ["checkpoint", "init"])
def test_the_start_may_change_once_there_is_a_snapshot(name, tmp_path):
    started(tmp_path)
    other = {name: "reference"}
    notes = compared(tmp_path, **other).notes
    assert notes == [f"Not used, because the run continues from a snapshot: {name}."]
    (tmp_path / "snapshots" / "20").rmdir()
    with pytest.raises(ValueError, match=f"depend on: {name} was "):
        compared(tmp_path, **other)


@pytest.mark.parametrize("change", [{"val_split": "train"}, {"val_names": ["val/image_02/2"]}])
def test_another_validation_selects_best_again(change, tmp_path):
    resumption = compared(started(tmp_path), **change)
    assert "The model best is selected again" in resumption.notes[-1]
    assert resumption.facts_at(20)["best_since"] == 20
    assert resumption.facts_at(20)["selection"] == 1


@pytest.mark.parametrize(("grouping", "refused"), [({}, False), ({"accumulate": 2}, True)])
def test_another_number_of_devices(grouping, refused, tmp_path):
    started(tmp_path, **grouping)
    if not refused:
        notes = compared(tmp_path, devices=4, **grouping).notes
        assert notes == ["Continuing on 4 devices (was 8); sums differ by rounding."]
        return
    with pytest.raises(
        ValueError, match=r"on 8 devices, and these are 4: with --config.accumulate=2"
    ):
        compared(tmp_path, devices=4, **grouping)


def old(folder):
    """A workdir of an older version, without run.json."""
    started(folder)
    (folder / "run.json").unlink()
    remove_settings(folder, "clutter", "source")
    return folder


def test_an_old_workdir_resumes(tmp_path):
    resumption = compared(old(tmp_path))
    assert (resumption.ends, resumption.epoch) == ([40], 20)
    assert resumption.notes == []


def test_the_data_of_an_old_workdir_cannot_be_compared(tmp_path):
    message = "did not record what data_dir contains: data_dir was 'kitti', is 'moved'; resume once"
    with pytest.raises(ValueError, match=message):
        compared(old(tmp_path), data_dir="moved")


def test_a_setting_that_an_older_version_lacked_has_its_old_behaviour(tmp_path):
    streets = {"source": "synthetic", "clutter": 0.5}
    started(tmp_path, **streets)
    remove_settings(tmp_path, "clutter")
    with pytest.raises(ValueError, match=r"clutter was 0\.0, is 0\.5"):
        compared(tmp_path, **streets)


def test_a_run_without_updates_leaves_the_workdir_to_any_config(tmp_path):
    """After a run that failed in its first step, e.g. because the batch was too large."""
    workdir.claim(workdir.read(tmp_path), config_of(), compared(tmp_path).facts_at(0))
    assert json.loads((tmp_path / "config.json").read_text())["batch_size"] == 4
    assert compared(tmp_path, batch_size=16, names=NAMES[:3]).changed == {}


def test_other_networks_cannot_start_from_the_weights(tmp_path):
    started(tmp_path)
    spec = SparseToCoarseSpec(18, width=4)
    checkpoint.save_model(tmp_path / "last", spec, random_variables(spec), provenance={})
    with pytest.raises(ValueError, match=r"seed was .*last starts from its weights$"):
        compared(tmp_path, seed=7)
    with pytest.raises(ValueError, match=r"coarse\.width was .* or choose another --workdir$"):
        compared(tmp_path, **{"coarse.width": 16})
