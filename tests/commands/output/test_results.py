"""The results in a workdir: replaced together, beside the files of others."""

import json
import subprocess
import sys
import threading

import pytest

from fcfrnet_jax.commands.output import results
from fcfrnet_jax.locks import lock_folder
from tests.commands.output.killed_results import found, names, write_set
from tests.conftest import ROOT

MOVE_AWAY = "move it away or choose another workdir"


def killed(folder, *options):
    program = [sys.executable, "-m", "tests.commands.output.killed_results", str(folder), *options]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sum(int(line.split()[-1]) for line in done.stdout.splitlines())


@pytest.mark.parametrize("options", [[], ["--steps"]])
def test_a_kill_leaves_a_complete_set(tmp_path, options):
    assert killed(tmp_path, *options) > 60


@pytest.mark.nightly
@pytest.mark.parametrize("options", [[], ["--steps"]])
def test_a_kill_of_the_run_after_a_kill_leaves_a_complete_set(tmp_path, options):
    assert killed(tmp_path, "--repeated", *options) > 2000


def test_a_new_set_replaces_the_old_one(tmp_path):
    for run, panels in (("first", 2), ("second", 1), ("third", 0), ("fourth", 1)):
        write_set(tmp_path, run, panels)
        assert found(tmp_path) == run
        assert not any(path.is_symlink() for path in tmp_path.iterdir())
        expected = {"metrics.json", "predictions"} | ({"panels"} if panels else set())
        assert set(names(tmp_path)) == expected


def test_a_set_of_an_older_version_is_replaced(tmp_path):
    write_set(tmp_path, "old", 2)
    path = tmp_path / "metrics.json"
    record = json.loads(path.read_text())
    del record["panels"]
    path.write_text(json.dumps(record))
    write_set(tmp_path, "new")
    assert found(tmp_path) == "new"


def test_leftovers_of_older_versions_are_removed(tmp_path):
    write_set(tmp_path, "old")
    leftover = tmp_path / ".incomplete-ab_3kq9z" / "predictions"
    leftover.mkdir(parents=True)
    (leftover / "0.png").touch()
    (tmp_path / f".metrics.{'0a' * 16}.json").touch()
    mine = [".incomplete-mine", ".incomplete-abcdefgh", ".metrics.mine.json", "config.json"]
    for name in mine:
        (tmp_path / name).touch()
    write_set(tmp_path, "new")
    assert names(tmp_path) == sorted([*mine, *results.NAMES])


@pytest.mark.parametrize("name", ["predictions", "panels"])
def test_folders_of_a_user_are_refused(tmp_path, name):
    mine = tmp_path / name / "mine.png"
    mine.parent.mkdir()
    mine.write_text("mine")
    message = (
        rf"{tmp_path / name} was not written by an evaluation, or its metrics\.json is missing"
    )
    with pytest.raises(ValueError, match=f"{message}; {MOVE_AWAY}"):
        write_set(tmp_path, "new")
    assert mine.read_text() == "mine"
    assert names(tmp_path) == [name]


def test_a_metrics_file_of_a_user_is_refused(tmp_path):
    (tmp_path / "metrics.json").write_text('{"accuracy": 0.9}')
    with pytest.raises(
        ValueError, match=rf"metrics\.json was not written by an evaluation; {MOVE_AWAY}"
    ):
        write_set(tmp_path, "new")
    (tmp_path / "metrics.json").write_text('{"per_frame": []}')
    with pytest.raises(ValueError, match=rf"metrics\.json lists no frames, .*; {MOVE_AWAY}"):
        write_set(tmp_path, "new")
    (tmp_path / "metrics.json").write_text("accuracy: 0.9")
    with pytest.raises(
        ValueError, match=rf"metrics\.json: is not valid JSON at line 1, .*; {MOVE_AWAY}"
    ):
        write_set(tmp_path, "new")
    assert names(tmp_path) == ["metrics.json"]


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_of_a_user_is_refused(tmp_path, target):
    (tmp_path / "elsewhere").mkdir()
    workdir = tmp_path / "workdir"
    write_set(workdir, "old", panels=0)
    (workdir / "panels").symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match=f"panels is a symbolic link to {tmp_path / target}; move"):
        write_set(workdir, "new")
    assert (workdir / "panels").is_symlink()
    assert json.loads((workdir / "metrics.json").read_text())["run"] == "old"


def test_a_file_of_a_user_among_the_results_is_refused(tmp_path):
    write_set(tmp_path, "old")
    (tmp_path / "predictions" / "drive" / "notes.txt").write_text("mine")
    (tmp_path / "predictions" / ".DS_Store").touch()
    message = "predictions/drive/notes.txt would be deleted with the old results; move it away"
    with pytest.raises(ValueError, match=message):
        write_set(tmp_path, "new")
    assert (tmp_path / "predictions" / "drive" / "notes.txt").read_text() == "mine"


def test_a_file_that_is_added_during_the_run_is_kept(tmp_path):
    write_set(tmp_path, "old")
    with results.new_results(tmp_path) as folder:
        results.write_metrics(folder, {"run": "new", "per_frame": [], "panels": []})
        (tmp_path / "panels" / "notes.txt").write_text("mine")
    (kept,) = tmp_path.glob("kept-*")
    assert (kept / "panels" / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "metrics.json").read_text())["run"] == "new"


def test_after_an_error_the_old_set_remains(tmp_path):
    write_set(tmp_path / "out", "old")
    for workdir in (tmp_path / "out", tmp_path / "fresh"):
        with pytest.raises(InterruptedError), results.new_results(workdir):
            raise InterruptedError
    assert found(tmp_path / "out") == "old"
    assert names(tmp_path / "out") == sorted(results.NAMES)
    assert not (tmp_path / "fresh").exists()


def test_the_second_of_two_runs_is_refused_at_once(tmp_path):
    with lock_folder(tmp_path), pytest.raises(BlockingIOError, match=f"{tmp_path} is in use by"):
        write_set(tmp_path, "second")
    write_set(tmp_path, "third")
    assert found(tmp_path) == "third"


def test_runs_that_finish_together(tmp_path):
    outcomes = []

    def run(number):
        try:
            write_set(tmp_path, str(number))
            outcomes.append("written")
        except BlockingIOError:
            outcomes.append("refused")
        except Exception as error:
            outcomes.append(repr(error))

    for _ in range(20):
        writers = [threading.Thread(target=run, args=(number,)) for number in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert found(tmp_path) in "0123"
        assert names(tmp_path) == sorted(results.NAMES)
    assert set(outcomes) <= {"written", "refused"}
    assert outcomes.count("written") >= 20
