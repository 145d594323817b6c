"""Kills a process of a training in two processes; run as `python -m ... --cases 20`.

Each case kills one of the processes at a random moment: while they start, join, compile, train,
validate, save or end. The other one must end within 30 seconds, with an exit status that is not 0
and exactly one line on stderr beside the progress, which begins with `Error:`. The same command
must then end with the same snapshot, bit for bit, as an uninterrupted run.

Prints a table, and ends with the status 1 if a bar is missed.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests import numbered_scenes
from tests.commands.runs import finish, newest, start, wait_for_step
from tests.free_port import free_address

# Seconds for the join, and for the survivor.
JOIN, BAR = 15, 30
SETTINGS = {
    "batch_size": 2,
    "steps": 24,
    "save_every": 2,
    "validate_every": 8,
    "join_timeout": JOIN,
    "panels": 0,
    "check_depth": False,
}
# Lines that a training prints as it goes.
PROGRESS = re.compile(
    r"(Step|Resuming|Training|Continuing|The run ended|Waiting for|Interrupted;)\b"
)


class Kill(NamedTuple):
    """What happens to a job.

    Attributes:
      victim: the index of the process.
      beside: whether its watcher gets the signal, and not the process itself.
      number: the signal that it gets.
      step: the step after which it gets the signal; None to count from the start.
      delay: seconds from the step or the start to the signal.
    """

    victim: int
    beside: bool
    number: int
    step: int | None
    delay: float

    def __str__(self) -> str:
        moment = "the start" if self.step is None else f"step {self.step}"
        name, who = signal.Signals(self.number).name, "watcher" if self.beside else "process"
        return f"{name} to {who} {self.victim}, {moment} + {self.delay:.2f} s"


class End(NamedTuple):
    """The end of the process that was not killed.

    Attributes:
      seconds: from the kill.
      status: its exit status.
      errors: the lines that begin with `Error:`.
      others: the lines that are neither errors nor progress.
    """

    seconds: float
    status: int
    errors: list[str]
    others: list[str]

    def faults(self, complete: bool) -> list[str]:
        """What is wrong, where the run may have been complete before the kill."""
        success = self.status == 0
        checks = {
            f"ended after {self.seconds:.1f} s": self.seconds > BAR,
            "ended in success": success and not complete,
            f"{len(self.errors)} error lines": len(self.errors) != (not success),
            f"{len(self.others)} other lines: {self.others}": bool(self.others),
        }
        return [fault for fault, holds in checks.items() if holds]


def start_two(workdir: Path, scenes: Path, **settings: object) -> list[subprocess.Popen]:
    job = SETTINGS | {"coordinator": free_address(), "processes": 2} | settings
    return [start(workdir, scenes, **job, process=process) for process in (0, 1)]


def send(watcher: int, kill: Kill) -> None:
    """Sends the signal to the watcher or to its child."""
    children = Path(f"/proc/{watcher}/task/{watcher}/children")
    found = children.read_text().split() if not kill.beside and children.exists() else []
    with suppress(ProcessLookupError):
        os.kill(int(found[0]) if found else watcher, kill.number)


def killed(workdir: Path, scenes: Path, kill: Kill) -> End | None:
    """Runs a job and kills a process; None if it had ended before."""
    processes = start_two(workdir, scenes)
    if kill.step is not None:
        wait_for_step(workdir, processes[0], kill.step)
    time.sleep(kill.delay)
    since = time.monotonic()
    in_time = all(process.poll() is None for process in processes)
    send(processes[kill.victim].pid, kill)
    survivor = processes[1 - kill.victim]
    try:
        survivor.wait(4 * BAR)
        seconds = time.monotonic() - since
    except subprocess.TimeoutExpired:
        seconds = float("inf")
    for process in processes:
        process.kill()
    processes[kill.victim].communicate()
    _, text = survivor.communicate()
    lines = [line for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error:")]
    others = [line for line in lines if line not in errors and not PROGRESS.match(line)]
    return End(seconds, survivor.returncode, errors, others) if in_time else None


def check(kill: Kill, scenes: Path, workdir: Path, whole: tuple[int, str]) -> tuple[str, list[str]]:
    """Kills a process and repeats the command; returns the row of the table and what is wrong."""
    end = killed(workdir, scenes, kill)
    complete = (workdir / "last").exists() and newest(workdir) == whole
    for process in start_two(workdir, scenes):
        finish(process)
    same = newest(workdir) == whole
    faults = [
        *(end.faults(complete) if end else []),
        *([] if same else ["the resumed run differs"]),
    ]
    if end is None:
        return f"{kill!s:52} ended before {'yes' if same else 'NO':>23}", faults
    row = f"{kill!s:52} {end.seconds:6.1f} s {end.status:5} {len(end.errors):6} {len(end.others):6}"
    reason = "; ".join(end.errors)[:110]
    return f"{row} {'yes' if same else 'NO':>6}  {reason}", faults


def draw(random_: random.Random, seconds: float, number: int) -> Kill:
    """A random kill of a run that takes so long: half of them at a time, half of them at a step."""
    who = random_.randrange(2), random_.random() < 0.5
    if random_.random() < 0.5:
        return Kill(*who, number, None, random_.uniform(0, seconds))
    return Kill(*who, number, random_.randint(1, int(SETTINGS["steps"])), random_.random() / 2)


def main() -> int:
    """Runs the cases of the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--signal", default="SIGKILL")
    options = parser.parse_args()
    random_, number = random.Random(options.seed), signal.Signals[options.signal]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        scenes = Path(folder, "scenes")
        numbered_scenes.write_sample(scenes, frames=3, height=48, width=160)
        for process in start_two(Path(folder, "first"), scenes):  # compiles
            finish(process)
        since = time.monotonic()
        for process in start_two(Path(folder, "whole"), scenes):
            finish(process)
        seconds, whole = time.monotonic() - since, newest(Path(folder, "whole"))
        assert newest(Path(folder, "first")) == whole
        print(f"{'kill':52} {'ended':>8} {'exit':>5} {'errors':>6} {'others':>6} {'resume':>6}")
        for case in range(options.cases):
            workdir = Path(folder, str(case))
            row, faults = check(draw(random_, seconds, number), scenes, workdir, whole)
            print(row, *(f"MISSED: {fault}" for fault in faults), sep="  ", flush=True)
            missed += bool(faults)
            shutil.rmtree(workdir)
    print(f"{options.cases} cases, {missed} missed a bar")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
