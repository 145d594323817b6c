"""Damage to any file that the commands read is detected, named and reported in one line."""

import random

import numpy as np
import pytest

from tests import corrupt, corruptible

DATA = bytes(range(200))


def bad(cases):
    return [case for case in cases if case.outcome in corrupt.FORBIDDEN]


@pytest.mark.usefixtures("short_resnet")
def test_some_damages_of_every_kind_of_file(tmp_path):
    cases = corrupt.run(48, seed=1, folder=tmp_path)
    assert bad(cases) == []
    assert len({case.kind for case in cases}) >= 12
    assert sum(case.outcome == "detected and named" for case in cases) >= 24


@pytest.mark.slow
@pytest.mark.usefixtures("short_resnet")
def test_six_hundred_damages(tmp_path):
    assert bad(corrupt.run(600, seed=0, folder=tmp_path)) == []


@pytest.mark.parametrize("name", corrupt.DAMAGES)
def test_every_damage_changes_the_file(name):
    for seed in range(20):
        assert corrupt.DAMAGES[name](DATA, random.Random(seed)) != DATA


def failing(kind, message):
    def read(folder):
        raise kind(message.format(folder))

    return read


@pytest.mark.parametrize(
    ("read", "protected", "expected"),
    [
        (lambda _: 1, True, "harmless"),
        (lambda _: 2, True, "silent"),
        (lambda _: np.arange(3), True, "silent"),
        (lambda _: 2, False, "silent, no checksum"),
        (failing(ValueError, "{}/a/file: is damaged"), True, "detected and named"),
        (failing(ValueError, "file: is damaged"), True, "unnamed"),
        (failing(ValueError, "{}/a/file: Expecting ',' delimiter"), True, "unnamed"),
        (failing(KeyError, "step"), True, "traceback"),
    ],
)
def test_outcomes_are_told_apart(read, protected, expected, tmp_path):
    intact = tmp_path / "intact" / "a"
    intact.mkdir(parents=True)
    (intact / "file").write_bytes(DATA)
    kind = corruptible.Kind("kind", intact.parent, "**/*", read, protected)
    case = corrupt.run_case(kind, 1, tmp_path / "copy", random.Random(0))
    assert (case.outcome, case.file) == (expected, "a/file")
