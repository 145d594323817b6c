"""Every setting of every training config is classified."""

import re

import pytest

from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.effects import EFFECTS, changes, unused
from fcfrnet_jax.commands.train_check import RANGES
from tests.conftest import ROOT

TRAINING = [
    name for name in config_files.packaged() if config_files.load(name).config.task == "train"
]


@pytest.mark.parametrize("name", TRAINING)
def test_every_setting_is_classified(name):
    """A new setting needs a decision: does it change the sequence of updates?"""
    assert config_files.flat(config_files.load(name).config).keys() == EFFECTS.keys()


@pytest.mark.parametrize("name", TRAINING)
def test_every_number_has_a_range(name):
    """The specs of the networks check their own numbers."""
    settings = config_files.flat(config_files.load(name).config)
    numbers = {
        name
        for name, value in settings.items()
        if type(value) in (int, float, tuple) and not name.startswith(("coarse.", "fine."))
    }
    assert numbers == RANGES.keys()


def test_the_document_lists_every_setting_in_its_class():
    text = (ROOT / "docs" / "training.md").read_text()
    rows = [
        re.findall(r"`(\w+)`", line.split("|")[1])
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    expected: dict = {}
    for name, effect in EFFECTS.items():
        expected.setdefault(effect, set()).add(name.partition(".")[0])
    assert sorted(map(sorted, rows)) == sorted(map(sorted, expected.values()))


def settings_of(**settings):
    base = config_files.flat(config_files.load("train").config)
    return base | settings


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"source": "files"}, {"camera", "clutter", "misalignment", "pool_frames"}),
        ({"source": "synthetic"}, {"split"}),
        ({"schedule": "cosine"}, {"decay_epochs"}),
        ({"mode": "photo"}, {"depth_loss", "rmse_weight"}),
        ({"depth_loss": "l1"}, {"rmse_weight"}),
        ({"mode": "dense"}, {"photometric_weight", "smoothness_weight"}),
        ({"stage": "coarse"}, {"fine.width", "fine_weight", "coarse_weight"}),
        ({"stage": "fine"}, {"coarse.width", "fine_weight", "coarse_weight"}),
    ],
)
def test_settings_without_effect(settings, names):
    assert names <= unused(settings_of(**settings))


def test_settings_with_an_effect():
    used = settings_of(source="synthetic", schedule="step", mode="sparse+photo", stage="joint")
    used["depth_loss"] = "l1+rmse"
    assert unused(used) == {"split"}


@pytest.mark.parametrize("path", ["kitti/", "./kitti", "kitti/../kitti"])
def test_spellings_of_a_path_are_the_same(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = settings_of(data_dir="kitti")
    assert changes(before, settings_of(data_dir=path)) == {}
    assert changes(before, settings_of(data_dir=str(tmp_path / "kitti"))) == {}
    assert changes(before, settings_of(data_dir="other")) == {"data_dir": ("kitti", "other")}
