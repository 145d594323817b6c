"""Kills a training run repeatedly and compares its result with that of an uninterrupted run.

  python -m tests.kill_training --kills 10 --steps 60

A longer version of the test in tests/commands/test_train.py. Every kill is a SIGKILL at a random
moment, possibly while a snapshot is being written.
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from fcfrnet_jax.training.journal import read_journal
from tests import numbered_scenes
from tests.commands.runs import finish, newest, start, wait_for_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="random seed of the moments")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        scenes, whole, killed = (Path(folder) / name for name in ("scenes", "whole", "killed"))
        numbered_scenes.write_sample(scenes, frames=3, height=48, width=160)
        settings = {"steps": arguments.steps, "save_every": 4, "validate_every": 12}
        finish(start(whole, scenes, **settings))
        for kill in range(arguments.kills):
            process = start(killed, scenes, **settings)
            done = [line["step"] for line in read_journal(killed)] or [0]
            # Few steps at a time, so that all kills happen before the end.
            ahead = max(1, (arguments.steps - done[-1]) // (arguments.kills - kill))
            wait_for_step(killed, process, done[-1] + moments.randint(1, ahead))
            time.sleep(0.3 * moments.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            lines = read_journal(killed)
            print(f"kill {kill + 1}: after step {lines[-1]['step'] if lines else 0}", flush=True)
        finish(start(killed, scenes, **settings))
        same = newest(whole) == newest(killed)
        journals = (path / "metrics.jsonl" for path in (whole, killed))
        same_journal = len({path.read_bytes() for path in journals}) == 1
    print(f"parameters, statistics, optimizer: {'identical' if same else 'DIFFERENT'}")
    print(f"metrics.jsonl: {'identical' if same_journal else 'DIFFERENT'}")
    sys.exit(not (same and same_journal))


if __name__ == "__main__":
    main()
