"""What goes to a machine without a network, and what comes back."""

import os
import sys

import pytest

from benchmarks.accelerators import archive, job, travel
from fcfrnet_jax.streets import sample
from fcfrnet_jax.training.journal import read_journal
from tests.commands.runs import COMMAND, SETTINGS, STREETS, newest
from tests.conftest import xla_flags
from tests.fresh_install import hide

STOPS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("started", flush=True)
time.sleep(60)
"""


def test_what_travels(tmp_path, capsys):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results.jsonl").write_text('{"key": "a"}\n')
    (tmp_path / "results" / "archive.tar.1of1").write_text("of an earlier journey")
    travel.gather(tmp_path / "travel", [], tmp_path / "results")
    found = {path.name for path in (tmp_path / "travel").rglob("*")}
    assert found == {"wheels", "results", "results.jsonl", "run.sh"}
    travel.check_size(tmp_path / "travel")
    assert "travel: 0.0 MiB" in capsys.readouterr().out
    (tmp_path / "travel" / "large").write_bytes(bytes(51 * 2**20))
    with pytest.raises(ValueError, match="has 51 MiB, at most 50 can travel"):
        travel.check_size(tmp_path / "travel")


@pytest.mark.parametrize(
    ("results", "message"), [("none", "has no results.jsonl"), ("travel/results", "is in ")]
)
def test_a_wrong_folder_of_results_deletes_nothing(results, message, tmp_path):
    kept = tmp_path / "travel" / "results" / "results.jsonl"
    kept.parent.mkdir(parents=True)
    kept.touch()
    with pytest.raises(ValueError, match=message):
        travel.gather(tmp_path / "travel", [], tmp_path / results)
    assert kept.exists()


def test_an_archive_in_pieces(tmp_path):
    workdir = tmp_path / "run"
    for name in ("tensorboard/events", "snapshots/9/state", "snapshots/10/state", "run.json"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(5000 * name)
    (workdir / ".fcfrnet.lock").touch()
    entries = archive.run_entries(workdir)
    assert entries.keys() == {"training/run.json", "training/snapshots/10"}
    pieces = archive.pack(entries, tmp_path / "pieces", piece=9_000)
    assert len(pieces) > 10
    assert max(path.stat().st_size for path in pieces) <= 9_000
    archive.unpack(tmp_path / "pieces", tmp_path / "back")
    state = tmp_path / "back" / "training" / "snapshots" / "10" / "state"
    assert state.read_text() == 5000 * "snapshots/10/state"
    with pytest.raises(ValueError, match="back exists; choose a new folder"):
        archive.unpack(tmp_path / "pieces", tmp_path / "back")
    # Pieces of an earlier archive in the same folder are not taken for those of the new one.
    for size in (30_000, 9_000):
        archive.pack(entries, tmp_path / "pieces", piece=size)
        archive.unpack(tmp_path / "pieces", tmp_path / f"pieces_of_{size}")
    pieces[3].write_bytes(bytes(100))
    pieces[0].write_bytes(b"damaged")
    with pytest.raises(ValueError, match="pieces is damaged: "):
        archive.unpack(tmp_path / "pieces", tmp_path / "damaged")
    pieces[3].unlink()
    with pytest.raises(ValueError, match="lacks pieces of an archive"):
        archive.unpack(tmp_path / "pieces", tmp_path / "other")


def test_a_command_is_asked_to_stop(tmp_path, capsys):
    with (tmp_path / "log").open("ab") as log:
        job.run_for(5, [sys.executable, "-c", STOPS], dict(os.environ), log.fileno())
    assert (tmp_path / "log").read_text() == "started\n"
    assert capsys.readouterr().out == "training ended with status 3\n"


@pytest.mark.nightly
def test_a_training_travels(tmp_path, monkeypatch):
    """There and back, where TensorFlow and tensorboardX are missing."""
    monkeypatch.setenv("XLA_FLAGS", xla_flags(1))
    monkeypatch.setenv("PYTHONPATH", hide(tmp_path / "site", ["tensorflow", "tensorboardX"]))
    sample.write_sample(tmp_path / "scenes", frames=1, height=40, width=120)
    settings = SETTINGS | COMMAND | STREETS | {"data_dir": tmp_path / "scenes"}
    settings |= {"save_every": 2, "validate_every": 2}

    def journey(workdir, name, steps):
        """Trains elsewhere up to a step."""
        travelled, output = tmp_path / f"{name}_travel", tmp_path / f"{name}_output"
        flags = [f"--config.{key}={value}" for key, value in (settings | {"steps": steps}).items()]
        travel.gather(travelled, [], None)
        travel.gather_training(travelled, workdir, ["--config=configs/train.py", *flags], None)
        output.mkdir()
        job.train(travelled, output, 300, "tests.quick_command")
        archive.unpack(output, tmp_path / name)
        return tmp_path / name / "training"

    whole = journey(tmp_path / "none", "whole", 4)
    parts = journey(journey(tmp_path / "none", "first", 2), "second", 4)
    assert newest(parts) == newest(whole)
    assert newest(whole)[0] == 4
    assert (parts / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert "val/coarse/rmse_mm" in read_journal(whole)[-1]
    assert "No TensorBoard files" in (tmp_path / "second" / "logs" / "training.log").read_text()
