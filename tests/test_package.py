"""The wheel: its content, and that it works in a new environment outside the checkout."""

import json
import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

import fcfrnet_jax
from tests import numbered_scenes
from tests.conftest import ROOT, xla_flags

# The variables of a shell in which this checkout is not on Python's path.
OUTSIDE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def generated(folder, names):
    """What .gitignore lists."""
    at_the_top = {"output"} if Path(folder) == ROOT else set()
    return at_the_top | shutil.ignore_patterns(".*", "__pycache__", "build", "*.egg-info")(
        folder, names
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, as setuptools leaves its intermediate files among the sources."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(ROOT, source, ignore=generated)
    target = source.parent / "wheels"
    line = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", target, source]
    subprocess.run(line, check=True)
    (path,) = target.iterdir()
    return path


@pytest.fixture(scope="module")
def contents(wheel):
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """A new environment with the wheel, and the tests' environment for what the wheel needs."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install"]
    subprocess.run([*install, "--quiet", "--no-deps", wheel], check=True, env=OUTSIDE)
    # Folders that a .pth file adds to sys.path are searched, but their own .pth files, such as the
    # one that would find this checkout, are not read.
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return folder


@pytest.fixture
def run(environment, tmp_path):
    """Runs a program of the environment in an empty folder, and returns what it printed."""

    def run(program, *arguments, **variables):
        done = subprocess.run(
            [environment / "bin" / program, *arguments],
            cwd=tmp_path,
            env=OUTSIDE | {"XDG_CACHE_HOME": str(tmp_path / "cache")} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def files_of(folder, pattern="**/*"):
    paths = (ROOT / folder).glob(pattern)
    return {str(path.relative_to(ROOT)) for path in paths if path.is_file()}


def test_the_wheel_holds_the_whole_package_and_nothing_else(contents):
    packaged = {name for name in contents if ".dist-info/" not in name}
    data = files_of("fcfrnet_jax/pretrained") | {"fcfrnet_jax/py.typed"}
    assert packaged == files_of("fcfrnet_jax", "**/*.py") | data
    assert "fcfrnet_jax/configs/train_joint.py" in packaged


def test_the_wheel_s_metadata(wheel, contents):
    information = f"fcfrnet_jax-{fcfrnet_jax.__version__}.dist-info"
    assert f"{information}/licenses/LICENSE" in contents
    with ZipFile(wheel) as archive:
        metadata = archive.read(f"{information}/METADATA").decode()
    assert f"\nVersion: {fcfrnet_jax.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    for requirement in (ROOT / "requirements.txt").read_text().split("\n"):
        assert requirement.split(";")[0].split(">")[0] in metadata


def test_the_programs_of_the_wheel(run, environment):
    code = "import fcfrnet_jax; print(fcfrnet_jax.__file__)"
    assert Path(run("python", "-c", code).strip()).is_relative_to(environment)
    version = f"fcfrnet_jax {fcfrnet_jax.__version__}\n"
    assert run("fcfrnet", "--version") == version
    assert run("python", "-m", "fcfrnet_jax", "--version") == version
    assert "fcfrnet --config=train" in run("fcfrnet", "--help")
    assert "usage: fcfrnet-convert" in run("fcfrnet-convert", "--help")


def test_a_config_of_the_user_starts_from_a_packaged_one(run, tmp_path):
    lines = ["from fcfrnet_jax.configs import train", "def get_config():"]
    lines += ["    config = train.get_config()", "    config.steps = 7", "    return config"]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    assert "--config.steps=7" in run("fcfrnet", "--config=mine.py", "--help")


def test_a_config_of_the_checkout_works_anywhere(run):
    path = ROOT / "configs" / "train_fine.py"
    assert "--config.stage=fine" in run("fcfrnet", f"--config={path}", "--help")


def test_the_evaluation_in_the_environment(run, tmp_path):
    """Without a network, which would take a minute to compile."""
    numbered_scenes.write_sample(tmp_path / "scenes", frames=1, height=48, width=160)
    settings = ["--config.data_dir=scenes", "--config.split=val", "--config.crop=32,64"]
    settings += ["--config.checkpoint=", "--workdir=out"]
    printed = run("fcfrnet", "--config=eval", *settings, XLA_FLAGS=xla_flags(1))
    assert "RMSE (mm)" in printed
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["frames"] == 1


@pytest.mark.slow
def test_the_main_job_in_the_environment(run, tmp_path):
    printed = run("fcfrnet", "--config=eval", XLA_FLAGS="")
    assert "trained for 8350 steps on rendered streets only" in printed
    result = json.loads((tmp_path / "output" / "metrics.json").read_text())
    assert result["frames"] == 6
    assert result["metrics"]["fine"]["rmse_mm"] < result["metrics"]["fill"]["rmse_mm"]
