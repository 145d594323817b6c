"""Evaluation in several processes, and what they tell each other."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import jax
import pytest

from fcfrnet_jax import parallel
from fcfrnet_jax.commands import dataset
from fcfrnet_jax.commands.output import results, shares
from fcfrnet_jax.data.frame import BadFile
from fcfrnet_jax.data.kitti import find_frames
from tests import kitti_tree
from tests.commands.evaluations import config_of
from tests.conftest import ROOT, xla_flags
from tests.free_port import free_address

# What a record says about the run, beside its results.
OF_THE_RUN = {"run", "started", "seconds", "processes", "devices", "batch_size"}


def start(workdirs, processes=1, **settings):
    """The processes of an evaluation with the fill alone, on one device each.

    `workdirs` is the workdir of all processes, or a list of one for each.
    """
    job = {"coordinator": free_address(), "processes": processes} if processes > 1 else {}
    program = [sys.executable, "-m", "tests.quick_command", "--config=configs/eval.py"]
    found = []
    workdirs = workdirs if isinstance(workdirs, list) else processes * [workdirs]
    for i, workdir in enumerate(workdirs):
        flat = {"checkpoint": ""} | settings | job | ({"process": i} if job else {})
        flags = [f"--config.{name}={value}" for name, value in flat.items()]
        found.append(
            subprocess.Popen(
                [*program, f"--workdir={workdir}", *flags],
                cwd=ROOT,
                env=os.environ | {"XLA_FLAGS": xla_flags(1)},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # A shell lets commands in the background ignore Ctrl-C, and these would inherit it.
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )
        )
    return found


def finish(processes):
    """The exit status, the output and the last line of the errors of each process."""
    ends = [process.communicate() for process in processes]
    return [
        (process.returncode, output, errors.strip().rpartition("\n")[2])
        for process, (output, errors) in zip(processes, ends, strict=True)
    ]


def results_of(workdir):
    metrics = json.loads((workdir / "metrics.json").read_text())
    pictures = {
        str(path.relative_to(workdir)): path.read_bytes() for path in workdir.rglob("*.png")
    }
    return {name: value for name, value in metrics.items() if name not in OF_THE_RUN}, pictures


@pytest.mark.slow
def test_two_processes_write_what_one_writes(kitti_real, tmp_path):
    settings = {"data_dir": kitti_real, "panels": 3}
    two = finish(start(tmp_path / "two", 2, **settings))
    (one,) = finish(start(tmp_path / "one", **settings))
    assert [status for status, _, _ in (*two, one)] == [0, 0, 0], two
    assert "Mean over the 6 frames" in two[0][1]
    assert "Mean" not in two[1][1]  # the first process prints
    assert results_of(tmp_path / "two") == results_of(tmp_path / "one")
    assert {path.name for path in (tmp_path / "two").iterdir()} == {
        "metrics.json",
        "predictions",
        "panels",
    }


@pytest.mark.slow
def test_a_bad_file_of_one_process_ends_both_or_is_left_out_by_both(tmp_path):
    data = tmp_path / "data"
    kitti_tree.write_drive(data, numbers=range(4), size=(48, 80))
    victim = find_frames(data, "val")[3].ground_truth
    victim.write_bytes(victim.read_bytes()[:-1])
    settings = {"data_dir": data, "split": "val", "crop": (32, 64), "check_depth": False}
    message = f"1 frame cannot be used: {victim} is truncated"
    first, second = finish(start(tmp_path / "out", 2, **settings))
    assert first[2].startswith(f"Error: process 1: {message}")
    assert second[2].startswith(f"Error: {message}")
    assert (first[0], second[0]) == (1, 1)
    assert not (tmp_path / "out").exists()
    for status, _, errors in finish(start(tmp_path / "out", 2, skip_bad_frames=True, **settings)):
        assert status == 0, errors
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["frames"], metrics["processes"]) == (3, 2)
    assert [item["path"] for item in metrics["skipped"]] == [str(victim)]


@pytest.mark.slow
def test_two_processes_need_the_same_workdir(tmp_path):
    kitti_tree.write_drive(tmp_path / "data", numbers=range(2), size=(48, 80))
    settings = {"data_dir": tmp_path / "data", "split": "val", "crop": (32, 64)}
    settings["check_depth"] = False
    workdirs = [tmp_path / "first", tmp_path / "second"]
    message = "the workdir of process 1 differs from that of process 0; all processes need the same"
    for status, _, error in finish(start(workdirs, 2, **settings)):
        assert (status, message in error) == (1, True), error
    assert not any(path.exists() for path in workdirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "ends"),
    [(0, signal.SIGINT), pytest.param(1, signal.SIGTERM, marks=pytest.mark.nightly)],
)
def test_all_end_when_one_is_interrupted(victim, ends, tmp_path):
    # Takes many seconds, so that it does not end before the signal.
    kitti_tree.write_drive(tmp_path / "data", numbers=range(600), size=(160, 320))
    settings = {"data_dir": tmp_path / "data", "split": "val", "crop": (160, 320)}
    processes = start(tmp_path / "out", 2, check_depth=False, **settings)
    predictions = results.new_folder(tmp_path / "out") / "predictions"
    while not any(predictions.rglob("*.png")):
        time.sleep(0.01)
        assert all(process.poll() is None for process in processes), finish(processes)
    processes[victim].send_signal(ends)
    try:
        # Without an end of its own, a job gives up after minutes.
        statuses = [process.wait(60) for process in processes]
    finally:
        for process in processes:
            process.kill()
        finish(processes)
    assert statuses[victim] in (130, 128 + signal.SIGTERM)
    assert statuses[1 - victim]


@pytest.fixture
def frames(tmp_path):
    kitti_tree.write_drive(tmp_path / "data", numbers=range(5))
    return find_frames(tmp_path / "data", "val")


def test_rows_and_bad_files_of_all_processes_are_in_the_order_of_the_frames(frames, monkeypatch):
    def rows(numbers):
        return [{"name": frames[i].name, "metrics": {"fill": {"mae_mm": i / 3}}} for i in numbers]

    bad = BadFile(frames[3], frames[3].sparse, "is small", (4, 5))
    other = BadFile(frames[1], frames[1].sparse, "is damaged")
    told = [(b.frame.name, str(b.path), b.reason, b.too_small) for b in (other, bad)]
    ours, theirs = [rows([0, 4]), told[1:]], [rows([2]), told[:1]]
    monkeypatch.setattr(
        parallel, "gather_json", lambda value: json.loads(json.dumps([value, theirs]))
    )
    assert shares.gather(frames, ours[0], [bad]) == (rows([0, 2, 4]), [other, bad])


def watched(frames, folder):
    config = config_of(data_dir=str(folder), crop=(0, 0))
    raise_bad = partial(dataset.raise_bad_files, config)
    return shares.watched(frames, folder, crop=(0, 0), raise_bad=raise_bad)


def test_a_process_ends_when_another_has_failed(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with watched(frames, tmp_path) as watch:
        watch.look()
        with pytest.raises(OSError, match="full"), watched(frames, tmp_path):
            raise OSError("disk full")
        with pytest.raises(parallel.OtherProcessFailedError):
            watch.look()


def test_damage_ends_a_run_before_the_file_is_read(frames, tmp_path):
    os.truncate(frames[4].image, 60)

    def look():
        with watched(frames, tmp_path) as watch:
            while True:
                watch.look()

    message = rf"{frames[4].image} is truncated .*skip_bad_frames=True"
    with pytest.raises(ValueError, match=message):
        look()
