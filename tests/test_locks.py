"""Locks: they name their owner, and that of a killed process blocks nobody."""

import errno
import fcntl
import getpass
import re
import socket
import subprocess
import sys

import pytest

from fcfrnet_jax import locks
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from fcfrnet_jax.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `workdir`."""
    program = [sys.executable, "-c", HOLD, str(tmp_path / "workdir")]
    with subprocess.Popen(program, cwd=ROOT, text=True, stdout=subprocess.PIPE) as owner:
        assert owner.stdout.readline() == "locked\n"
        yield owner
        owner.kill()


def test_a_lock_names_its_owner(holder, tmp_path):
    owner = f"process {holder.pid} of {getpass.getuser()} on {socket.gethostname()} since 20"
    with (
        pytest.raises(BlockingIOError, match=rf"workdir is in use by {re.escape(owner)}.*; wait"),
        locks.lock_folder(tmp_path / "workdir"),
    ):
        pass
    assert [path.name for path in (tmp_path / "workdir").iterdir()] == [".fcfrnet.lock"]


def test_the_lock_of_a_killed_process_blocks_nobody(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / "workdir" / ".fcfrnet.lock").exists()
    cleaned = []
    with locks.lock_folder(tmp_path / "workdir", lambda: cleaned.append(True)):
        pass
    assert cleaned == [True]
    assert list((tmp_path / "workdir").iterdir()) == []


def test_shared_locks_clean_when_nobody_else_holds_one(tmp_path):
    path, cleaned = tmp_path / "lock", []

    def shared(name):
        return locks.lock(path, tmp_path, shared=True, clean=lambda: cleaned.append(name))

    with shared("first"):
        assert cleaned == []
        with (
            pytest.raises(BlockingIOError, match=f"{tmp_path} is in use by"),
            locks.lock(path, tmp_path),
        ):
            pass
        with shared("second"):
            pass
        assert cleaned == []
    assert cleaned == ["first"]
    assert not path.exists()


def test_where_files_cannot_be_locked_a_warning_says_so(tmp_path, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locks.lock_folder(tmp_path):
        assert f"{tmp_path}: files cannot be locked here (No locks available)" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_folder_that_was_created_leaves_no_empty_folder(tmp_path):
    with locks.lock_folder(tmp_path / "unused"):
        pass
    with locks.lock_folder(tmp_path / "used"):
        (tmp_path / "used" / "file").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["used"]


def test_a_lock_names_a_command_with_any_characters(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["fcfrnet", "--workdir=\udcff\x1b[2J"])
    with locks.lock_folder(tmp_path / "workdir"):
        written = (tmp_path / "workdir" / ".fcfrnet.lock").read_text()
    assert written.endswith(r"(fcfrnet --workdir=\xff\x1b[2J)")
