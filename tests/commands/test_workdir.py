"""Workdirs of this version and of older ones."""

import json

import pytest

from fcfrnet_jax.commands import workdir
from fcfrnet_jax.configs import train as train_config


def config_of(**settings):
    config = train_config.get_config()
    config.update(settings)
    return config.lock()


def claimed(folder, **changes):
    """Claims a folder, then changes what is recorded there: None removes a setting."""
    workdir.claim(folder, config_of())
    path = folder / "config.json"
    settings = json.loads(path.read_text())
    for name, value in changes.items():
        settings[name] = value
        if value is None:
            del settings[name]
    path.write_text(json.dumps(settings))


def test_the_same_config_is_accepted(tmp_path):
    claimed(tmp_path)
    workdir.claim(tmp_path, config_of())
    workdir.claim(tmp_path, config_of(threads=3, keep=1, save_every=7))


def test_another_config_is_refused(tmp_path):
    claimed(tmp_path)
    with pytest.raises(ValueError, match=r"another config: seed was 0, is 3; choose another"):
        workdir.claim(tmp_path, config_of(seed=3))


@pytest.mark.parametrize(("schedule", "free"), [("cosine", False), ("constant", True)])
def test_the_length_belongs_to_the_cosine_schedule(schedule, free, tmp_path):
    workdir.claim(tmp_path, config_of(schedule=schedule))
    longer = config_of(schedule=schedule, steps=99)
    if free:
        workdir.claim(tmp_path, longer)
        return
    with pytest.raises(ValueError, match="steps was 40, is 99"):
        workdir.claim(tmp_path, longer)


@pytest.mark.parametrize("name", ["clutter", "misalignment", "residual_share", "source", "camera"])
def test_a_setting_that_an_older_version_lacked_has_its_old_behaviour(name, tmp_path):
    claimed(tmp_path, **{name: None})
    workdir.claim(tmp_path, config_of())


def test_nested_settings_that_an_older_version_lacked(tmp_path):
    claimed(tmp_path, coarse={"layers": 18, "modality": "rgbd", "width": 8})
    workdir.claim(tmp_path, config_of())
    with pytest.raises(ValueError, match=r"coarse\.base was 'none', is 'fill'"):
        workdir.claim(tmp_path, config_of(coarse={"base": "fill"}))


def test_a_new_value_of_a_setting_that_an_older_version_lacked_is_refused(tmp_path):
    claimed(tmp_path, clutter=None)
    with pytest.raises(ValueError, match=r"clutter was 0\.0, is 0\.5"):
        workdir.claim(tmp_path, config_of(clutter=0.5))


def test_the_home_folder_in_an_older_version_s_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    claimed(tmp_path / "run", data_dir="~/kitti")
    workdir.claim(tmp_path / "run", config_of(data_dir=str(tmp_path / "me" / "kitti")))


def test_removed_settings(tmp_path):
    removed = {"fast": (False, "it gave wrong gradients")}
    path = tmp_path / "config.json"
    for settings in ({"seed": 1}, {"seed": 1, "fast": False}):
        upgraded = workdir.upgraded(settings, path, removed)
        assert upgraded["seed"] == 1
        assert "fast" not in upgraded
    with pytest.raises(
        ValueError, match=r"config\.json: the setting fast=True no longer exists: it"
    ):
        workdir.upgraded({"fast": True}, path, removed)
