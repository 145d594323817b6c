"""Config files: found by path or name, located errors, and the comments of settings."""

from types import ModuleType

import pytest

from fcfrnet_jax.commands.cli import config_files
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["eval", "eval.py"])
def test_a_packaged_config_is_found_by_name(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert config_files.find(name) == ROOT / "fcfrnet_jax" / "configs" / "eval.py"


def test_a_file_takes_precedence_over_a_packaged_config(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval.py").write_text("")
    assert config_files.find("eval.py").absolute() == tmp_path / "eval.py"
    assert config_files.find("eval").parent.name == "configs"


@pytest.mark.parametrize(
    ("name", "hint"), [("evall", "did you mean --config=eval"), ("my/trian.py", "--config=train")]
)
def test_a_missing_file(name, hint):
    with pytest.raises(ValueError, match=f"--config={name}: there is no such file; .*{hint}"):
        config_files.load(name)


def test_an_argument_is_passed_to_the_config(tmp_path):
    lines = "from ml_collections import ConfigDict\ndef get_config(x): return ConfigDict({'a': x})"
    (tmp_path / "mine.py").write_text(lines)
    assert config_files.load(f"{tmp_path}/mine.py:big").config.a == "big"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def get_config(:\n    pass\n", "mine.py, line 1: invalid syntax"),
        ("\nimport nowhere\n", "mine.py, line 2: ModuleNotFoundError: No module named 'nowhere'"),
        ("def get_config():\n    return 1 / 0\n", "mine.py, line 2: ZeroDivisionError: division"),
        ("x = 1\n", "mine.py.*defines no function get_config"),
        (
            "def get_config():\n    return {}\n",
            "mine.py: get_config must return .*ConfigDict, got dict",
        ),
        (
            "from fcfrnet_jax.configs import train\n\n\ndef get_config():\n"
            "    config = train.get_config()\n    config.coarse.width = 'wide'\n",
            "mine.py, line 6: TypeError: Could not override field 'width'",
        ),
    ],
)
def test_an_error_names_its_file_and_line(source, message, tmp_path):
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(ValueError, match=f"^{tmp_path}/{message}"):
        config_files.load(str(tmp_path / "mine.py"))


def test_a_config_file_in_another_encoding(tmp_path):
    text = "# coding: latin-1\ndef get_config():\n    # Höhe.\n    config.height = 1\n"
    (tmp_path / "mine.py").write_text(text, encoding="latin-1")
    module = ModuleType("mine")
    exec(
        compile((tmp_path / "mine.py").read_bytes(), str(tmp_path / "mine.py"), "exec"),
        vars(module),
    )
    assert config_files.comments(module) == {"height": "Höhe."}


def test_comments(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from fcfrnet_jax.configs import train\n"
        "def get_config():\n"
        "    config = train.get_config()\n"
        "    # How many steps\n"
        "    # of mine.\n"
        "    config.mine = 3\n"
        "    # Why here.\n"
        "    config.seed = 3\n"
        "    config.other = 4\n"
        "    return config\n"
    )
    comments = config_files.comments(config_files.load(str(tmp_path / "mine.py")).module)
    assert comments["mine"] == "How many steps of mine."
    assert comments["seed"].startswith("Seed of the")  # the description, not the reason
    assert comments["augmentation.flip"] == "Probability of a horizontal flip."
    assert "other" not in comments


@pytest.mark.parametrize("name", config_files.packaged())
def test_every_packaged_setting_has_a_comment(name):
    file = config_files.load(name)
    described = config_files.comments(file.module)
    assert config_files.flat(file.config).keys() == described.keys()


@pytest.mark.parametrize("name", config_files.packaged())
def test_the_checkout_s_configs_are_the_packaged_ones(name):
    file = config_files.load(str(ROOT / "configs" / f"{name}.py"))
    packaged = config_files.load(name)
    assert file.config == packaged.config
    assert config_files.comments(file.module) == config_files.comments(packaged.module)


def test_a_config_file_can_import_modules_beside_it(tmp_path):
    (tmp_path / "beside_the_config.py").write_text("PANELS = 5")
    lines = ["from fcfrnet_jax.configs import eval as base", "import beside_the_config"]
    lines += ["def get_config():", "    config = base.get_config()"]
    lines += ["    config.panels = beside_the_config.PANELS", "    return config"]
    (tmp_path / "mine.py").write_text("\n".join(lines))
    assert config_files.load(str(tmp_path / "mine.py")).config.panels == 5


def test_a_config_file_that_exits_is_reported(tmp_path):
    (tmp_path / "mine.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(ValueError, match=r"mine\.py, line 2: SystemExit: 3"):
        config_files.load(str(tmp_path / "mine.py"))
