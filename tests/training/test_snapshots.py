"""Snapshots and journal of a training run: exact, verified, and intact after a kill."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from fcfrnet_jax import process
from fcfrnet_jax.training.journal import Journal, read_journal
from fcfrnet_jax.training.snapshots import Snapshots
from tests.conftest import ROOT
from tests.small_files import files_of_at_most
from tests.training.states import state_of


def saved(folder, *steps, keep=3):
    snapshots = Snapshots(folder, keep)
    for step in steps:
        snapshots.save(step, state_of(step))
    snapshots.wait()
    return snapshots


def equal(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    return True


def damage(folder, step):
    """Inverts one byte in the middle of the largest file."""
    files = [path for path in (folder / str(step)).rglob("*") if path.is_file()]
    victim = max(files, key=lambda path: path.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 0xFF
    victim.write_bytes(data)


def test_the_newest_snapshot_is_restored_exactly(tmp_path):
    saved(tmp_path / "run", 10, 20).close()
    assert equal(Snapshots(tmp_path / "run", 3).restore(state_of(0)), state_of(20))


def test_no_snapshot_restores_none(tmp_path):
    assert Snapshots(tmp_path / "run", 3).restore(state_of(0)) is None


def test_only_the_newest_are_kept(tmp_path):
    assert saved(tmp_path / "run", 1, 2, 3, 4, keep=2).steps() == [3, 4]


def test_a_damaged_snapshot_is_skipped(tmp_path, caplog):
    saved(tmp_path / "run", 10, 20).close()
    damage(tmp_path / "run", 20)
    snapshots = Snapshots(tmp_path / "run", 3)
    assert equal(snapshots.restore(state_of(0)), state_of(10))
    for text in ("step 20 is damaged", "run/20", "continues from step 10", "kept as", "damaged-20"):
        assert text in caplog.text
    # Step 20 can be saved again, and the damaged files are kept.
    assert snapshots.steps() == [10]
    snapshots.save(20, state_of(20))
    snapshots.close()
    assert (tmp_path / "run" / "damaged-20").is_dir()
    assert equal(Snapshots(tmp_path / "run", 3).restore(state_of(0)), state_of(20))


def test_a_step_whose_snapshot_is_damaged_twice(tmp_path):
    for _ in range(2):
        saved(tmp_path / "run", 10, 20).close()
        damage(tmp_path / "run", 20)
        snapshots = Snapshots(tmp_path / "run", 3)
        assert equal(snapshots.restore(state_of(0)), state_of(10))
        snapshots.close()
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"10", "damaged-20", "damaged-20-again"}


def test_all_damaged(tmp_path):
    saved(tmp_path / "run", 10).close()
    damage(tmp_path / "run", 10)
    message = rf"run: no snapshot can be read \({tmp_path}/run/10.*\); restore one from a copy, or"
    with pytest.raises(ValueError, match=message):
        Snapshots(tmp_path / "run", 3).restore(state_of(0))


def test_a_snapshot_that_cannot_be_read_now_is_not_set_aside(tmp_path):
    saved(tmp_path / "run", 10, 20).close()
    manifest = tmp_path / "run" / "20" / "state" / "manifest.ocdbt"
    intact = manifest.read_bytes()
    for path in manifest.parent.rglob("d/*"):
        path.unlink()
        path.symlink_to(path.name)  # the system refuses a link to itself
    with pytest.raises(OSError, match=r"Too many levels of symbolic links: '.*run/20/state'"):
        Snapshots(tmp_path / "run", 3).restore(state_of(0))
    assert manifest.read_bytes() == intact


def test_a_truncated_snapshot_prints_no_traceback(tmp_path, capfd):
    saved(tmp_path / "run", 10).close()
    for path in (tmp_path / "run" / "10" / "state").rglob("*"):
        if path.parent.name == "d":
            path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"run/10/state: the index of its arrays is damaged"):
        Snapshots(tmp_path / "run", 3).restore(state_of(0))
    assert capfd.readouterr().err == ""


def test_another_structure_is_refused(tmp_path):
    saved(tmp_path / "run", 10).close()
    other = {"params": {"kernel": np.zeros((3, 7), np.float32), "bias": np.zeros(7, np.float32)}}
    message = (
        r"the snapshot of step 10 does not match the model: params.bias is missing, expected "
        r"float32 \(7,\), params.kernel is float32 \(100, 7\), expected float32 \(3, 7\), step is "
        r"int32 \(\), expected nothing"
    )
    with pytest.raises(ValueError, match=message):
        Snapshots(tmp_path / "run", 3).restore(other)
    assert Snapshots(tmp_path / "run", 3).steps() == [10]


def test_a_full_disk(tmp_path, monkeypatch):
    snapshots = saved(tmp_path / "run", 10)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ocp.CheckpointManager, "save", full)
    message = r"No space left.*the snapshot of step 20 cannot be saved; snapshots kept: 10"
    with pytest.raises(OSError, match=message) as raised:
        snapshots.save(20, state_of(20))
    assert raised.value.filename == str(tmp_path / "run")


def test_a_snapshot_that_cannot_be_written(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    process.quiet_orbax()
    snapshots = saved(tmp_path / "run", 10)
    with files_of_at_most(1000):
        snapshots.save(20, state_of(20))
        with pytest.raises(OSError, match="File too large") as raised:
            snapshots.wait()
    assert raised.value.filename == str(tmp_path / "run")
    assert raised.value.strerror.endswith("snapshot cannot be saved; snapshots kept: 10")
    assert capfd.readouterr().err == ""
    assert equal(Snapshots(tmp_path / "run", 3).restore(state_of(0)), state_of(10))


SAVE_FOREVER = """
import sys, itertools
from fcfrnet_jax.training.snapshots import Snapshots
from tests.training.states import state_of
snapshots = Snapshots(sys.argv[1], 2)
for step in itertools.count(1):
    snapshots.save(step, state_of(step, 100_000))
    print(step, flush=True)
"""


def test_killed_while_saving(tmp_path):
    """A kill at any moment leaves the newest finished snapshot readable."""
    command = [sys.executable, "-c", SAVE_FOREVER, str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    for line in process.stdout:
        if int(line) == 4:
            time.sleep(0.02)
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    restored = Snapshots(tmp_path / "run", 2).restore(state_of(0, 100_000))
    assert int(restored["step"]) >= 3
    assert equal(restored, state_of(int(restored["step"]), 100_000))


def test_the_journal_removes_lines_after_the_snapshot(tmp_path):
    journal = Journal(tmp_path, 0)
    for step in (10, 20, 30):
        journal.record(step, {"loss": step / 7})
    journal.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')
    journal = Journal(tmp_path, 20)
    journal.record(30, {"loss": 1.0})
    journal.close()
    assert [line["step"] for line in read_journal(tmp_path)] == [10, 20, 30]
    assert read_journal(tmp_path)[-1]["loss"] == 1.0


def test_the_journal_refuses_numbers_that_are_not_finite(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Journal(tmp_path, 0).record(1, {"loss": float("nan")})
    assert json.loads("[" + (tmp_path / "metrics.jsonl").read_text() + "]") == []
