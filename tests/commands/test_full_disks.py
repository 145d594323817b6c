"""Commands whose disk is full end with one line, lose nothing, and can be repeated."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.killed_commands import CASES
from tests.conftest import ROOT


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.nightly
@pytest.mark.parametrize("task", CASES)
def test_a_command_on_full_disks(task, disk, tmp_path):
    (tmp_path / "work").mkdir()
    command = ["-m", "tests.commands.full_disks", task, str(tmp_path / "work"), str(disk), "8"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    full = re.search(rf"{task}: (\d+) full disks\n", done.stdout)
    assert full, done.stderr
    assert int(full[1]) >= 2
