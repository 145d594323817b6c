"""What a process of a job writes to stderr."""

import pytest

from fcfrnet_jax.commands.jobs.logs import Log

FATAL = "F1127 18:58:40.350629   31688 client.h:80] Terminating process because: {}"
ERROR = "E1127 18:58:40.350579   31688 coordination_service_agent.cc:289] Polled an error"


def added(log, *lines, now=0.0):
    return log.add("".join(f"{line}\n" for line in lines).encode(), now)


@pytest.mark.parametrize(
    "line", ["a note", "W1127 18:58:40.350579 31688 loop.py:28] slow", "E1127 is no log.cc:3] line"]
)
def test_lines_are_shown_at_once(line):
    log = Log()
    assert log.add(line[:3].encode(), 0) == []
    assert added(log, line[3:]) == [line]


def test_what_leads_to_the_end_is_dropped():
    log = Log()
    shown = added(
        log, "a note", ERROR, "of the other task", FATAL.format("it died:"), "1", "*** trace"
    )
    assert shown == ["a note"]
    assert log.due(100) == added(log, "    @ 0x7fcdc2040634 frame", now=101) == []
    assert (log.fatal, log.error) == ("Terminating process because: it died: 1", "Polled an error")


def test_an_error_that_the_process_outlives_is_shown_later():
    log = Log()
    assert added(log, ERROR, "its second line", now=1) == log.due(2.9) == []
    assert log.due(3) == [ERROR, "its second line"]
    assert added(log, "a note", now=4) == ["a note"]


def test_everything_is_shown_on_request():
    lines = [ERROR, FATAL.format("it died"), "*** trace"]
    assert added(Log(verbose=True), *lines) == lines
