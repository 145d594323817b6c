"""Processes that share work: order, errors, and what happens when one of them is killed."""

import os
import signal
import subprocess
import sys
import time

import pytest

from fcfrnet_jax.commands.recordings.pool import map_in_processes
from tests.conftest import ROOT


def slow_square(number):
    if number == 5:
        raise ValueError("five is refused")
    # Later items take less time.
    time.sleep(0.02 * (5 - number))
    return number * number, os.getpid()


def kill(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 5)])
def test_results_are_in_order_up_to_an_error_of_the_function(workers, ahead):
    taken = []
    results = map_in_processes(slow_square, (taken.append(i) or i for i in range(99)), workers)
    found = [next(results)]
    # Items are taken as they are needed.
    assert len(taken) == ahead
    found += [next(results) for _ in range(4)]
    squares, processes = zip(*found, strict=True)
    assert squares == (0, 1, 4, 9, 16)
    assert (os.getpid() in processes) == (workers == 1)
    with pytest.raises(ValueError, match="five is refused"):
        next(results)


@pytest.mark.slow
def test_a_process_that_was_killed_is_named():
    with pytest.raises(OSError, match="one of the processes has ended, perhaps for lack of memory"):
        list(map_in_processes(kill, [0], 2))


FOREVER = """
from fcfrnet_jax.commands.recordings.pool import map_in_processes
from tests.commands.recordings.test_pool import announce
if __name__ == "__main__":
    list(map_in_processes(announce, range(2), 2))
"""


def announce(number):
    # One write: print may write the line's end by itself, after the other process's number.
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(60)


@pytest.mark.slow
def test_processes_end_with_a_parent_that_was_killed(tmp_path):
    path = tmp_path / "forever.py"
    path.write_text(FOREVER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen(
        [sys.executable, str(path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    children = [int(parent.stdout.readline()) for _ in range(2)]
    parent.kill()
    parent.wait()
    assert len(set(children)) == 2
    # Their output is closed when the last of them has ended; they would sleep for a minute.
    assert parent.communicate(timeout=30)[0] == ""
