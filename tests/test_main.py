"""The program: help, version, errors of one line, and imports."""

import errno
import re
import subprocess
import sys

import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax import main
from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.commands.cli.tasks import TASKS
from tests.conftest import ROOT
from tests.hostile.constructions import HOSTILE_NAMES


def python(*arguments):
    line = [sys.executable, *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def printed(capsys, *arguments):
    main.main(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("flag", ["{}", "--{}", "--config={}", "--config=eval --config.{}=1"])
def test_an_error_does_not_control_the_terminal(flag, name):
    with pytest.raises(SystemExit) as ended:
        main.main([part.format(name) for part in flag.split()])
    assert str(ended.value).startswith("Error: ")
    assert str(ended.value).isprintable()


PATHS = {
    **dict.fromkeys(["check_data", "eval", "train_fine", "submit", "coarse_maps"], "data_dir"),
    "predict": "image",
    "project": "scans",
    "build_shards": "data_dir",
    "render": "x",
}


@pytest.mark.parametrize(
    "config",
    [*PATHS][:1] + [pytest.param(config, marks=pytest.mark.slow) for config in [*PATHS][1:]],
)
def test_no_task_writes_the_names_of_its_paths_to_the_terminal(config, tmp_path, capsys):
    folder = f"{tmp_path}/\x1b[2J[/x]\udcff\u202e\n"
    flag = f"--config.{PATHS[config]}={folder}"
    with pytest.raises(SystemExit) as ended:
        main.main([f"--config={config}", f"--workdir={folder}", flag])
    assert str(ended.value).startswith("Error: ")
    assert str(ended.value).isprintable()
    assert all(line.isprintable() for line in capsys.readouterr().err.split("\n"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--config is missing; try --config=eval, or --help"),
        (["extra"], "unexpected argument 'extra'"),
        (["--config=nowhere.py"], "--config=nowhere.py: there is no such file"),
        (["--config=eval", "--config.craop=3"], "did you mean --config.crop?"),
        (["--config=eval", "--config.xla_flags=fast"], "flags look like --xla_NAME=VALUE"),
        (["--config=eval", "--config.data_dir=/nowhere"], "/nowhere"),
    ],
)
def test_an_error_is_one_line(arguments, message, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main.main([*arguments, f"--workdir={tmp_path / 'out'}"])
    assert str(ended.value.code).startswith("Error: ")
    assert message in str(ended.value.code)
    assert "\n" not in str(ended.value.code)
    assert not (tmp_path / "out").exists()


def test_a_wrong_flag_does_not_wait_for_jax():
    program = """
import sys
from fcfrnet_jax.main import main
try:
    main(["--config=train_fine", "--config.stpes=3"])
finally:
    print("jax" in sys.modules, "numpy" in sys.modules)
"""
    done = python("-c", program)
    assert done.returncode == 1
    assert done.stdout.split() == ["False", "False"]
    (line,) = done.stderr.splitlines()
    assert line.endswith("did you mean --config.steps?")


def test_verbosity_shows_the_traceback():
    done = python("-m", "fcfrnet_jax", "--verbosity=1", "--config=configs/eval.py:argument")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "takes 0 positional arguments" in done.stderr.splitlines()[-1]


def test_help_lists_the_tasks_first(capsys):
    text = printed(capsys, "--help")
    head, flags = text.split("Flags:")
    for name, task in TASKS.items():
        assert f"{name} " in head
        assert task.summary in head
        assert task.example in head
    assert "fcfrnet-convert" in head
    for flag in ("--config=FILE", "--workdir=FOLDER", "--verbosity=1", "XDG_CACHE_HOME"):
        assert flag in flags
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("name", ["eval", "train_joint"])
def test_help_lists_every_setting_with_its_default_and_comment(name, capsys):
    file = config_files.load(name)
    comments = config_files.comments(file.module)
    settings = printed(capsys, f"--config={name}", "--help").split(f"Settings of {name}")[1]
    words = " ".join(settings.split())
    for setting, value in config_files.flat(file.config).items():
        assert f" --config.{setting}={value} {comments[setting]}" in words


def test_help_lists_the_settings_that_a_config_file_leaves_out(capsys, tmp_path):
    lines = ["from ml_collections import ConfigDict", "def get_config():"]
    lines.append("    return ConfigDict({'task': 'evaluate', 'panels': 3})")
    (tmp_path / "mine.py").write_text("\n".join(lines))
    words = " ".join(printed(capsys, f"--config={tmp_path}/mine.py", "--help").split())
    assert " --config.panels=3 Number of frames, from the first one" in words
    assert " --config.split=val_selection The split to evaluate" in words


def test_the_examples_of_the_help_parse():
    for task in TASKS.values():
        program, *arguments = task.example.split()
        assert program == "fcfrnet"
        assert main.flags.parse(arguments).config.task in TASKS


def test_version(capsys):
    assert printed(capsys, "--version") == f"fcfrnet_jax {fcfrnet_jax.__version__}\n"
    assert f"version: {fcfrnet_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_importing_the_package_and_its_configs_imports_no_jax():
    program = """
import sys
import fcfrnet_jax
from fcfrnet_jax.configs import eval, pretrain_compact, render, train_fine, train_joint
assert eval.get_config().checkpoint == "compact"
assert {"load", "Predictor", "COMPACT", "convert_paddle"} <= set(dir(fcfrnet_jax))
assert "jax" not in sys.modules
from fcfrnet_jax import Predictor, convert_paddle, load
assert "jax" in sys.modules
"""
    done = python("-c", program)
    assert done.returncode == 0, done.stderr


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="module 'fcfrnet_jax' has no attribute 'laod'"):
        _ = fcfrnet_jax.laod


def test_a_workdir_that_cannot_be_created_is_named(tmp_path):
    np.save(tmp_path / "depth.npy", np.full((16, 16), 5.0))
    (tmp_path / "file").write_text("")
    # A link that leads nowhere does not exist, but it cannot become a folder either.
    workdir = tmp_path / "link"
    workdir.symlink_to(tmp_path / "file" / "below")
    command = ["--config=predict", "--config.checkpoint=", f"--config.depth={tmp_path}/depth.npy"]
    with pytest.raises(SystemExit) as ended:
        main.main([*command, f"--workdir={workdir}"])
    assert str(ended.value.code).startswith(f"Error: {workdir}")
    assert f"; --workdir={workdir} must be a folder that can be created" in str(ended.value.code)


def test_a_full_disk_needs_room_or_another_workdir(tmp_path, monkeypatch):
    def write(config, workdir):
        raise OSError(errno.ENOSPC, "No space left on device", f"{workdir}/a.png")

    monkeypatch.setattr(main, "runner", lambda task: write)
    with pytest.raises(SystemExit) as ended:
        main.main(["--config=predict", f"--workdir={tmp_path}"])
    expected = f"Error: {tmp_path}/a.png: No space left on device; make room and repeat the command"
    assert str(ended.value.code).startswith(expected)


def test_an_unexpected_error_is_one_line(tmp_path, monkeypatch):
    def fail(config, workdir):
        raise IndexError("a\nb")

    monkeypatch.setattr(main, "runner", lambda task: fail)
    with pytest.raises(SystemExit) as ended:
        main.main(["--config=predict", f"--workdir={tmp_path}"])
    expected = r"Error: unexpected IndexError in fcfrnet_jax.main.py, line \d+: a; --verbosity=1 "
    assert re.fullmatch(expected + "prints the traceback", ended.value.code)
