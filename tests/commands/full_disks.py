"""Runs commands on disks that are too small; run as `python -m ... TASK FOLDER SMALL DISKS`.

SMALL is a folder on a small file system of its own. For each of several amounts of free space, a
command must end with one line that names a path there, a reader must find the complete old or new
result, and the command must succeed when there is space again. Prints the number of full disks.
"""

import atexit
import os
import shutil
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from fcfrnet_jax import main
from tests import numbered_scenes, tiny_networks
from tests.commands.killed_commands import CASES, Case, in_child
from tests.conftest import xla_flags

BLOCK = 4096


def size(folder: Path) -> int:
    """The blocks that the files of a folder take, and one for each folder."""
    return sum(1 + -(-path.lstat().st_size // BLOCK) for path in folder.rglob("*"))


def fill(disk: Path, free: int) -> Path:
    """Fills a disk except for some blocks; returns the file that fills it."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        space = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, (space.f_bavail - free) * space.f_frsize)
    return ballast


def reported(act: Callable[[], None], workdir: Path) -> tuple[int, str]:
    """Runs a command in a child, as the command line does; returns its status and its stderr."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            os.dup2(file.fileno(), 2)
            status = 0
            try:
                main.runner = lambda task: lambda config, folder: act()
                main.main(["--config=predict", f"--workdir={workdir}"])
            except SystemExit as ended:
                status = 1 if isinstance(ended.code, str) else ended.code or 0
                print(ended.code, file=sys.stderr)
            except BaseException:
                status = 2
                traceback.print_exc()
            # As at the end of the interpreter, when threads and libraries report what they have.
            threading._shutdown()
            atexit._run_exitfuncs()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        file.seek(0)
        return status, file.read().decode(errors="replace")


def faults(status: int, text: str, disk: Path) -> list[str]:
    """What is wrong with the end of a command on a full disk."""
    errors = [line for line in text.splitlines() if line.startswith("Error: ")]
    found = [] if status == 1 else [f"status {status}"]
    found += [] if len(errors) == 1 else [f"{len(errors)} errors"]
    found += [] if all(str(disk) in line for line in errors) else ["no path"]
    found += [] if all("No space left" in line for line in errors) else ["no cause"]
    found += [] if all("make room" in line for line in errors) else ["no remedy"]
    noise = [word for word in ("Traceback", "Exception", "ERROR") if word in text]
    return found + [f"noise: {word}" for word in noise]


def check(case: Case, folder: Path, disk: Path, disks: int) -> int:
    """Returns the number of times that the disk was full."""
    template, whole, work = folder / "template", folder / "whole", disk / "work"
    template.mkdir()
    in_child(lambda: case.prepare(template))
    shutil.copytree(template, whole)
    in_child(lambda: case.act(whole))
    allowed = [in_child(lambda path=path: case.read(path)) for path in (template, whole)]
    needed, full = size(whole), 0
    for i in range(disks):
        shutil.copytree(template, work)
        ballast = fill(disk, needed * i // disks)
        status, text = reported(lambda: case.act(work), work)
        if status:
            full += 1
            wrong = faults(status, text, disk)
            assert not wrong, f"{needed * i // disks} of {needed} blocks: {wrong}\n{text}"
            assert in_child(lambda: case.read(work)) in allowed
        ballast.unlink()
        in_child(lambda: case.act(work))
        assert in_child(lambda: case.read(work)) == allowed[1]
        shutil.rmtree(work)
    return full


if __name__ == "__main__":
    task, folder, disk, disks = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    os.environ["XLA_FLAGS"] = xla_flags(1)
    with pytest.MonkeyPatch.context() as monkeypatch:
        if task != "convert":
            tiny_networks.shorten_resnet(monkeypatch)
        numbered_scenes.put_in_place(monkeypatch)
        (folder / "shared").mkdir()
        in_child(lambda: CASES[task](folder / "shared") and None)
        full = check(CASES[task](folder / "shared"), folder, disk, disks)
    print(f"{task}: {full} full disks")
