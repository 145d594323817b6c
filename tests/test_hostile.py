"""Hostile checkpoints, of which `python -m tests.hostile` makes more."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.hostile.constructions import large, pickles
from tests.hostile.mutations import mutate


def test_the_same_number_makes_the_same_mutation():
    data = bytes(range(256))
    assert mutate(data, 7) == mutate(data, 7)
    assert len({mutate(data, number) for number in range(20)}) > 17


@pytest.mark.slow
def test_hostile_checkpoints_are_read_or_refused_within_the_bars():
    """Constructions against the archive, code and names, and the first mutations."""
    first = sum(1 for _ in (*pickles(), *large()))
    command = [sys.executable, "-m", "tests.hostile", f"--first={first}", "--cases=120"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "traceback 0, crash 0, unprintable 0, code run 0" in done.stdout
