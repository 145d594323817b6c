"""The records of a training run, damaged and intact."""

import sys
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from tensorboardX.proto import event_pb2

from fcfrnet_jax.training.journal import Journal, read_journal
from tests.small_files import files_of_at_most

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


def test_a_record_that_cannot_be_written_names_its_file(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    journal = Journal(tmp_path, 0)
    write = partial(journal.record, 1, {f"loss {i}": i / 7 for i in range(20)})
    with files_of_at_most(1000):
        write()
        with pytest.raises(OSError, match="File too large") as raised:
            write()
    journal.close()
    assert raised.value.filename == str(tmp_path / "metrics.jsonl")
    # What is left of the last line is ignored.
    assert len(read_journal(tmp_path)) == 1


def test_an_event_file_that_cannot_be_written_is_named(tmp_path):
    journal = Journal(tmp_path, 0)
    noise = np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)
    with files_of_at_most(2000), pytest.raises(OSError, match="File too large") as raised:
        journal.image(1, "a", noise)
    journal.close()
    assert f"{tmp_path}/tensorboard/events.out" in raised.value.filename


def test_tensorflow_reads_the_event_files(tmp_path):
    for step in (0, 20):
        journal = Journal(tmp_path, step)
        journal.record(step + 1, {"loss": 1.5})
        journal.image(30, "a", np.zeros((4, 4, 3), np.uint8))
        journal.close()
    events = [
        event
        for path in (tmp_path / "tensorboard").iterdir()
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
        for event in [event_pb2.Event.FromString(record)]
    ]
    values = [(event.step, value.tag) for event in events for value in event.summary.value]
    assert values == [(1, "loss"), (30, "a"), (21, "loss"), (30, "a")]
    starts = [event.step for event in events if event.HasField("session_log")]
    assert starts == [21]
