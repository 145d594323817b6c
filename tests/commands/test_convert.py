"""The converter's command line."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fcfrnet_jax.commands import convert
from fcfrnet_jax.locks import lock_beside
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
from tests.conftest import ROOT
from tests.hostile.constructions import HOSTILE_NAMES
from tests.weights.narrow_states import narrow_state


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    path = tmp_path_factory.mktemp("released") / "weights.pdparams"
    path.write_bytes(pickle.dumps(narrow_state(), protocol=4))
    return path


def test_a_table_describes_the_converted_model(released, tmp_path, capsys):
    convert.main([str(released), str(tmp_path / "model")])
    printed = capsys.readouterr().out
    for text in ("sparse_to_coarse", "skipped entries", f"converted model to {tmp_path}/model"):
        assert text in printed
    assert checkpoint.load_spec(tmp_path / "model") == SparseToCoarseSpec(18, width=4)


def test_a_model_is_replaced_only_on_request(released, tmp_path, capsys):
    arguments = [str(released), str(tmp_path / "model")]
    convert.main(arguments)
    with pytest.raises(SystemExit, match="choose a new folder or set --overwrite"):
        convert.main(arguments)
    convert.main([*arguments, "--overwrite"])


@pytest.mark.parametrize(
    ("name", "reason"), [("page", "a web page"), ("nowhere", "No such file or directory")]
)
def test_an_error_is_one_line_with_the_file(name, reason, tmp_path):
    (tmp_path / "page").write_text("<html>404</html>")
    with pytest.raises(SystemExit, match=rf"^Error: {tmp_path / name}: {reason}[^\n]*$"):
        convert.main([str(tmp_path / name), str(tmp_path / "model")])
    assert not (tmp_path / "model").exists()


def test_nothing_is_written_if_the_coarse_checkpoint_cannot_be_read(released, tmp_path):
    arguments = [str(released), str(tmp_path / "model"), "--coarse", str(tmp_path / "nowhere")]
    with pytest.raises(SystemExit, match=r"nowhere: No such file"):
        convert.main(arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_an_error_does_not_control_the_terminal(name, tmp_path, capsys):
    (tmp_path / name.replace("/", "")).write_bytes(pickle.dumps({name: 1}, protocol=4))
    for path in (tmp_path / name.replace("/", ""), tmp_path / "nowhere" / name):
        with pytest.raises(SystemExit) as ended:
            convert.main([str(path), str(tmp_path / "model")])
        assert str(ended.value).isprintable()
    with pytest.raises(SystemExit):
        convert.main([str(path), str(tmp_path / "model"), f"--{name}"])
    assert all(line.isprintable() for line in capsys.readouterr().err.split("\n"))


@pytest.mark.slow
def test_names_of_files_and_entries_are_printed_as_text(tmp_path, capsys):
    name = "\x1b[2J[x]:boom:\u202e"
    source = tmp_path / f"{name}\udcff"
    extra = {f"{name}\ud800\n{index}": np.ones(1, np.float32) for index in range(60)}
    state = {"model": narrow_state() | extra, "ema": narrow_state()}
    source.write_bytes(pickle.dumps(state, protocol=4))
    convert.main([str(source), str(tmp_path / "model" / name), "--state", "model"])
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.split("\n"))
    assert r"\x1b[2J[x]:boom:\u202e" in printed
    assert "took model; --state 'ema'" in " ".join(printed.replace("│", " ").split())
    with pytest.raises(SystemExit, match="60 entries do not match") as ended:
        convert.main([str(source), str(tmp_path / "other"), "--strict"])
    assert all(line.isprintable() for line in str(ended.value).split("\n"))
    assert str(ended.value).endswith("and 10 more of these")


def test_a_folder_that_orbax_cannot_write_is_refused_before_the_work(released, tmp_path):
    with pytest.raises(SystemExit, match=r"\\xff: the name is not valid UTF-8.*another folder"):
        convert.main([str(released), str(tmp_path / "\udcff")])
    assert list(tmp_path.iterdir()) == []


def test_strict_refuses_unknown_entries(tmp_path):
    state = narrow_state() | {"old_layer.weight": np.ones(3, np.float32)}
    (tmp_path / "weights.pdparams").write_bytes(pickle.dumps(state, protocol=4))
    arguments = [str(tmp_path / "weights.pdparams"), str(tmp_path / "model")]
    with pytest.raises(SystemExit, match=r"old_layer\.weight: the network has no such entry"):
        convert.main([*arguments, "--strict"])
    assert not (tmp_path / "model").exists()
    convert.main(arguments)


def test_a_second_conversion_to_a_folder_is_refused(released, tmp_path):
    with (
        lock_beside(tmp_path / "model"),
        pytest.raises(SystemExit, match=rf"^Error: {tmp_path / 'model'} is in use by process \d+"),
    ):
        convert.main([str(released), str(tmp_path / "model")])
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_conversion_are_removed(released, tmp_path):
    convert.main([str(released), str(tmp_path / "model")])
    unused = "0a" * 16
    (tmp_path / f".model.{unused}" / "variables").mkdir(parents=True)
    (tmp_path / "model" / f".model.{unused}.json").touch()
    (tmp_path / "model" / "notes.txt").touch()
    convert.main([str(released), str(tmp_path / "model"), "--overwrite"])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    names = {path.name.partition("-")[0] for path in (tmp_path / "model").iterdir()}
    assert names == {"model.json", "variables", "notes.txt"}


def script(*arguments, home):
    command = [sys.executable, ROOT / "convert_paddle_weights.py", *arguments]
    environment = os.environ | {"HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_script_in_the_repository_makes_a_two_stage_model(released, tmp_path):
    shutil.copy(released, tmp_path / "coarse.pdparams")
    fine = pickle.dumps(narrow_state("fcfrnet18_rgbd"), protocol=4)
    (tmp_path / "fine.pdparams").write_bytes(fine)
    coarse = ["--coarse", "~/coarse.pdparams", "--strict"]
    done = script("~/fine.pdparams", "~/model", *coarse, home=tmp_path)
    assert done.returncode == 0, done.stderr
    spec = checkpoint.load_spec(tmp_path / "model")
    fine = CoarseToFineSpec(18, width=4)
    assert spec == TwoStageSpec(SparseToCoarseSpec(18, width=4), fine)


def test_the_script_ends_with_one_line(tmp_path):
    done = script(tmp_path / "nowhere", tmp_path, home=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"Error: {tmp_path / 'nowhere'}: No such file or directory\n"
