"""The command line: flags, settings, and the messages for invalid ones."""

import re

import pytest
from absl import logging

from fcfrnet_jax.commands.cli import flags


def parsed(*arguments):
    return flags.parse(arguments)


@pytest.mark.parametrize(
    ("argument", "name", "value"),
    [
        ("--config.split=val", "split", "val"),
        ("-config.batch_size=-8", "batch_size", -8),
        ("--config.crop=(96, 320)", "crop", (96, 320)),
        ("--config.crop=96,320", "crop", (96, 320)),
        ("--config.skip_bad_frames", "skip_bad_frames", True),
        ("--config.skip_bad_frames=TRUE", "skip_bad_frames", True),
        ("--noconfig.skip_bad_frames", "skip_bad_frames", False),
        ("--config.xla_flags=--xla_a=b --xla_c", "xla_flags", "--xla_a=b --xla_c"),
        ("--config.checkpoint=", "checkpoint", ""),
    ],
)
def test_settings_take_the_type_of_their_default(argument, name, value):
    assert parsed("--config=eval", argument).config[name] == value


def test_values_may_be_separate_arguments_in_any_order():
    line = parsed("--config.process", "-1", "--workdir", "out", "--config", "train")
    assert (line.config.process, line.workdir) == (-1, "out")


def test_a_nested_setting_and_a_tuple_of_one():
    config = parsed("--config=train", "--config.coarse.width=4", "--config.augmentation.beams=32")
    assert config.config.coarse.width == 4
    assert config.config.augmentation.beams == (32,)


def test_settings_that_a_config_leaves_open_have_the_type_of_their_task_s_default():
    arguments = ("--config.fine.width=4", "--noconfig.coarse.keep_measured")
    config = parsed("--config=finetune", *arguments).config
    assert (config.fine.width, config.coarse.keep_measured, config.stage) == (4, False, None)
    with pytest.raises(ValueError, match=r"fine\.width=a: expected an integer, such as the defaul"):
        parsed("--config=finetune", "--config.fine.width=a")


def test_integers_are_accepted_as_floats():
    assert parsed("--config=train", "--config.learning_rate=1").config.learning_rate == 1.0


def test_the_last_of_repeated_flags_counts():
    line = parsed("--config=eval", "--config.split=train", "--config.split=val")
    assert line.config.split == "val"


def test_the_config_is_locked():
    with pytest.raises(AttributeError, match="craop"):
        parsed("--config=eval").config.craop = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.craop=3"], "eval has no such setting; did you mean --config.crop?"),
        (["--config.crop=3,x"], "expected integers, such as the default (352, 1216)"),
        (["--config.crop=(16, 'x')"], "expected integers, such as"),
        (["--config.crop=32.5,64"], "expected integers, such as"),
        (["--config.batch_size=many"], "--config.batch_size=many: expected an integer, such as"),
        (["--config.batch_size=1.5"], "--config.batch_size=1.5: expected an integer, such as"),
        (["--config.skip_bad_frames=7"], "expected true or false, such as the default False"),
        (["--config.split"], "Missing value for flag --config.split"),
        (["--noconfig.split"], "--noconfig.split: only settings that are true or false have"),
        (["--confg=eval"], "--confg: there is no such flag; did you mean --config?"),
        (["--quite"], "--quite: there is no such flag; --help lists all flags"),
        (["extra"], "unexpected argument 'extra'; flags look like --config=FILE"),
        (["--workdir"], "Missing value for flag --workdir"),
        (["--version=3"], "--version=3: expected true or false"),
        (["--verbosity=loud"], "--verbosity: invalid int value: 'loud'"),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed("--config=eval", *arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("width", "did you mean --config.coarse.width or --config.fine.width?"),
        ("coarse.widht", "did you mean --config.coarse.width?"),
        ("coarse", "a group of settings; give one of them, such as --config.coarse.base"),
        ("qqqq", "train has no such setting; --help lists all"),
    ],
)
def test_nested_settings_are_suggested(name, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed("--config=train", f"--config.{name}=4")


def test_the_home_folder_is_expanded_in_every_path(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text("from fcfrnet_jax.configs.eval import get_config")
    names = ("data_dir", "checkpoint", "coarse_checkpoint", "coarse_dir")
    paths = [f"--config.{name}=~/{name}" for name in names]
    line = parsed("--config=~/mine.py", "--workdir=~/out", *paths)
    assert {name: line.config[name] for name in names} == {
        name: str(tmp_path / name) for name in names
    }
    assert line.workdir == str(tmp_path / "out")
    joined = parsed("--config", "~/mine.py", "--config.data_dir=~/kitti", "--workdir", "~")
    assert (joined.config.data_dir, joined.workdir) == (str(tmp_path / "kitti"), str(tmp_path))


def test_verbosity():
    before = logging.get_verbosity()
    try:
        parsed("--verbosity=1")
        assert logging.get_verbosity() == logging.DEBUG
    finally:
        logging.set_verbosity(before)


def write(path, *lines):
    head = ["from fcfrnet_jax.configs import eval as base", "def get_config():"]
    path.write_text("\n".join([*head, "    config = base.get_config()", *lines]) + "\n")
    return f"--config={path}"


def test_a_config_file_of_the_user(tmp_path):
    file = write(tmp_path / "mine.py", "    config.panels = 3", "    return config")
    line = parsed(file, "--config.batch_size=8")
    assert (line.config.panels, line.config.batch_size) == (3, 8)


def test_settings_that_a_config_file_lacks_have_their_defaults(tmp_path):
    file = write(tmp_path / "mine.py", "    del config.crop", "    return config")
    assert parsed(file).config.crop == parsed("--config=eval").config.crop


def test_a_setting_needs_a_config():
    with pytest.raises(ValueError, match=r"--config\.crop needs a config; add --config=eval"):
        parsed("--config.crop=3,4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "config.task = 'dance'",
            "/mine.py: config.task must be one of predict, project, submit, coarse_maps, evaluate, "
            "train, check_data, build_shards, render, got",
        ),
        ("config.craop = 3", "/mine.py: config.craop: the task evaluate has no such setting; did"),
    ],
)
def test_a_config_file_has_a_task_and_its_settings(change, message, tmp_path):
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed(write(tmp_path / "mine.py", f"    {change}", "    return config"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            "'batch_size': 'four'",
            "/mine.py: config.batch_size='four': expected an integer, such as",
        ),
        ("'crop': 'x'", "/mine.py: config.crop='x': expected integers, such as the default (352"),
        (
            "'data_dir': None",
            "/mine.py: config.data_dir=None: expected text, such as the default ''",
        ),
    ],
)
def test_a_config_file_has_values_of_the_right_type(value, message, tmp_path):
    lines = ["from ml_collections import ConfigDict", "def get_config():"]
    lines.append(f"    return ConfigDict({{'task': 'evaluate', {value}}})")
    (tmp_path / "mine.py").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=re.escape(message)):
        parsed(f"--config={tmp_path}/mine.py")


def test_the_task_is_the_config_s():
    with pytest.raises(ValueError, match=r"--config\.task=train: the config selects the task"):
        parsed("--config=eval", "--config.task=train")


def test_arguments_that_an_error_names_become_flags():
    message = "/x/data_dir=1: data_dir=3 has no mode=4; coarse_dir=x or --config.data_dir=None"
    assert flags.name_flags(message) == (
        "/x/data_dir=1: --config.data_dir=3 has no mode=4; --config.coarse_dir=x or "
        "--config.data_dir=None"
    )


@pytest.mark.parametrize(
    ("workdir", "message"),
    [
        ("", "--workdir= is empty; name a folder"),
        ("file", "--workdir=.*/file is a file, expected a folder"),
        ("file/run", "--workdir=.*/file/run is inside the file .*/file, expected a folder"),
    ],
)
def test_a_workdir_is_a_folder(workdir, message, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match=message):
        parsed("--config=train", f"--workdir={tmp_path / workdir if workdir else ''}")
