"""Two processes with watchers, without jax: how one of them ends when the other one does."""

import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

# Exchanges the address of the first watcher through a file, as the processes of a job do with jax.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
import json
from fcfrnet_jax.commands.jobs import watched

index, folder, act = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def exchange(address):
    file = folder / "address"
    if address:
        file.with_suffix(".new").write_text(json.dumps(address))
        file.with_suffix(".new").rename(file)
    while not file.exists():
        time.sleep(0.01)
    return json.loads(file.read_text())

watched.start(verbose=False)
job = watched.current()
job.joining(f"process {index}", "Waiting", {})
job.link(index, "localhost", exchange)
(folder / f"linked{index}").touch()
while not all((folder / f"linked{i}").exists() for i in (0, 1)):
    time.sleep(0.01)
time.sleep(0.3)  # until the watchers are connected
if act == "fail":
    job.fail("Error: disk full", "failed: disk full", 1)
elif act == "suspect":
    job.fail("Error: UNKNOWN: connection closed", "failed: unknown", 1, certain=False)
elif act == "abort":
    os.write(2, b"F1127 18:58:40.35 31688 client.h:80] another task died: absl::Status: gone\\n")
    os.abort()
elif act == "wait":
    time.sleep(60)
elif act != "end":
    os.kill(os.getppid() if act == "orphan" else os.getpid(), signal.SIGKILL)
    time.sleep(60)
"""


def ends(tmp_path, *acts):
    """The exit status, stderr and the seconds of two processes."""
    since = time.monotonic()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(i), str(tmp_path), act],
            cwd=ROOT,
            text=True,
            stderr=subprocess.PIPE,
        )
        for i, act in enumerate(acts)
    ]
    errors = [process.communicate()[1] for process in processes]
    assert time.monotonic() - since < 30
    return [(process.returncode, text) for process, text in zip(processes, errors, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    ("act", "other", "status", "line", "cause"),
    [
        ("fail", "suspect", 1, "Error: disk full\n", "failed: disk full"),
        ("fail", "abort", 1, "Error: disk full\n", "failed: disk full"),
        ("kill", "suspect", 137, None, "was ended by SIGKILL"),
        ("kill", "abort", 137, None, "was ended by SIGKILL"),
        ("end", "end", 0, "", None),
    ],
)
def test_both_end_with_the_cause(first, act, other, status, line, cause, tmp_path):
    acts = (act, other) if first else (other, act)
    victim, survivor = ends(tmp_path, *acts)[:: 1 if first else -1]
    name = f"process {0 if first else 1} on "
    assert victim[0] == status
    assert victim[1].startswith(f"Error: {name}") if line is None else victim[1] == line
    assert survivor[0] == (1 if cause else 0)
    assert survivor[1].startswith(f"Error: {name}") if cause else not survivor[1]
    assert survivor[1].endswith(f" {cause}\n" if cause else "")


@pytest.mark.nightly
@pytest.mark.parametrize("act", ["fail", "orphan"])
def test_a_process_that_waits_is_ended(act, tmp_path):
    victim, survivor = ends(tmp_path, act, "wait")
    assert victim[0] == (1 if act == "fail" else -signal.SIGKILL)
    cause = "process 0 on" if act == "fail" else "the connection to process 0 on"
    assert survivor[0] == 1
    assert survivor[1].startswith(f"Error: {cause}")
    assert survivor[1].count("\n") == 1
