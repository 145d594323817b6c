"""The records of a training run, damaged and intact."""

import sys

import numpy as np
import pytest

from fcfrnet_jax.training.journal import Journal, read_journal

GOOD = b'{"step": 10, "loss": 1.5}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"step": 1\n' + GOOD, "line 1 is not valid JSON at line 1, column 11"),
        (GOOD + b"\xff\n", "line 2 is not valid JSON: byte 0 is not UTF-8"),
        (GOOD + b'{"loss": 1.0}\n', "line 2 has the step None, expected an integer"),
        (GOOD + b'{"step": 9.5}\n', "line 2 has the step 9.5, expected an integer"),
        (GOOD + b'{"step": 9}\n', "line 2 has the step 9 after step 10"),
        (GOOD + b'{"step": 11, "loss": "x"}\n', "line 2 has the value 'x' for loss, expected a nu"),
        (GOOD + b'{"step": 11, "loss": NaN}\n', "line 2 is not valid JSON"),
        (GOOD + b"\n" + GOOD, "line 2 is empty"),
        (b"[3]\n", "line 1 holds a JSON list"),
        (GOOD + b'{"step": \r 1x}\n', "line 2 is not valid JSON"),
    ],
)
def test_a_damaged_line_is_named(content, message, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    for read in (read_journal, lambda folder: Journal(folder, 10)):
        with pytest.raises(ValueError, match=rf"metrics.jsonl: {message}.*; remove this line or"):
            read(tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == content


@pytest.mark.parametrize("end", [b'{"step": 11, "lo', b"\xff", b""])
def test_an_unfinished_last_line_is_removed(end, tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(GOOD + end)
    assert read_journal(tmp_path) == [{"step": 10, "loss": 1.5}]
    Journal(tmp_path, 10).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == GOOD


def test_without_tensorboardx_the_records_are_written_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    journal = Journal(tmp_path, 0)
    journal.record(1, {"loss": 1.5})
    journal.image(1, "a", np.zeros((2, 2, 3), np.uint8))
    journal.close()
    assert read_journal(tmp_path) == [{"step": 1, "loss": 1.5}]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
