"""The watcher of a process of a job: its parent, which outlives it.

When a process of a job ends, JAX ends the others from C++, at once or after minutes, with pages of
logs, and Python cannot intervene. The watcher is not affected. It reads what the process writes to
stderr, it is connected to the watchers of the other processes, and it prints the one line that
tells why the process ends. It uses the standard library only.

The process sends lines of JSON (`joining`, `listen`, `link` and `report`, see `watched`), and
gets lines of JSON: `port`, and `end` with the exit status.
"""

import json
import os
import re
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from fcfrnet_jax.commands.jobs.links import Links
from fcfrnet_jax.commands.jobs.logs import Log
from fcfrnet_jax.text import printable

# Seconds until a process that is waiting for others says so.
WAITING = 10.0
# Seconds that a process has for ending by itself after another one has failed.
GRACE = 10.0
# Seconds until a process that does not end is killed.
KILL = 5.0
# Seconds in which the cause of what may be a consequence should be known.
CAUSE = 3.0
_TICK = 0.1


class Watcher:
    """Watches over one process.

    Args:
      process: its process id.
      errors: the pipe that is its stderr.
      orders: the pipe with its messages.
      answers: the pipe for the answers.
      verbose: show all that it writes.
    """

    def __init__(
        self, process: int, errors: int, orders: int, answers: int, *, verbose: bool
    ) -> None:
        self._process, self._errors, self._answers = process, errors, answers
        self._selector = selectors.DefaultSelector()
        for pipe in (errors, orders):
            self._selector.register(pipe, selectors.EVENT_READ)
        self._links, self._log = Links(self._selector), Log(verbose)
        self._rest = b""
        self._name = "this process"
        self._joining: dict[str, Any] = {}
        self._report: dict[str, Any] = {}
        self._joined = self._told = False
        # Why another process has failed, and the processes that have ended or failed.
        self._other, self._gone = "", set[str]()
        self._since: dict[str, float] = {}

    def run(self) -> int:
        """Watches until the process has ended; returns the exit status."""
        status: int | None = None
        while True:
            if status is None:
                # Before the pipes are read for the last time.
                found, state = os.waitpid(self._process, os.WNOHANG)
                status = os.waitstatus_to_exitcode(state) if found else None
            for key, _ in self._selector.select(_TICK if status is None else 0):
                if key.data is self._links:
                    assert isinstance(key.fileobj, socket.socket)
                    for sender, message in self._links.read(key.fileobj):
                        self._hear(sender, message)
                elif key.fd == self._errors:
                    self._show(self._log.add(self._read(key.fd), time.monotonic()))
                else:
                    self._obey(self._read(key.fd))
            self._show(self._log.due(time.monotonic()))
            if self._told:
                if status is not None:
                    return self._status(status)
                self._end()
            elif status is not None and not self._failed(status):
                self._links.send({"bye": True})
                return status
            else:
                self._decide(status)

    def _failed(self, status: int) -> bool:
        """Whether a process that has ended has not done its work."""
        return status != 0 or bool(self._log.fatal)

    def _decide(self, status: int | None) -> None:
        """Tells why the process ends, if it must end and the cause is known."""
        report, other = self._report, self._other
        if report and (report["certain"] or other or self._passed("report", CAUSE)):
            if report["certain"] or not other:
                self._tell(report["line"], f"{self._name} {report['others']}")
            else:
                self._tell(f"Error: {other}")
        elif status is not None:
            # Otherwise C++ has ended the process because of another one, whose watcher tells why.
            at_once = not self._joined or "another task died" not in self._log.fatal
            if other:
                self._tell(f"Error: {other}")
            elif at_once or self._passed("death", CAUSE):
                self._tell(f"Error: {self._death(status)}", self._death(status))
        elif other and self._passed("other", GRACE):
            self._tell(f"Error: {other}")
        elif self._joining and not self._joined and self._passed("joining", WAITING):
            self._since["joining"] = float("inf")
            _print([self._joining["waiting"]])

    def _tell(self, line: str, others: str = "") -> None:
        """Prints the line of this process, and tells the other processes what has failed."""
        self._told = True
        if others:
            self._links.send({"failed": others})
        _print([line])

    def _end(self) -> None:
        """Ends the process, which has several seconds to do so."""
        if "end" not in self._since:
            self._answer({"end": self._report.get("status", 1)})
        if self._passed("end", KILL):
            os.kill(self._process, signal.SIGKILL)

    def _status(self, status: int) -> int:
        """The exit status of a process that has failed."""
        if self._report:
            return self._report["status"]
        # As a shell reports signals, except those by which C++ and this watcher end a process.
        ended = self._log.fatal or self._other
        return 128 - status if status < 0 and not ended else max(status, 1)

    def _death(self, status: int) -> str:
        """Describes the end of a process that has not told why."""
        fatal = self._log.fatal.rpartition("absl::Status: ")[2]
        if self._joining and not self._joined:
            for sign, cause in self._joining["causes"].items():
                if sign in f"{fatal} {self._log.error}":
                    return cause
        silent = re.search(r"stopped sending heartbeats\):\s+(\d[\d, ]*)", fatal)
        if silent:
            return f"process {silent[1].strip()} of the job has given no sign of life for too long"
        how = f"ended with status {status}" if status > 0 else f"was ended by {_signal(-status)}"
        return f"{self._name} {how}{': ' * bool(fatal)}{' '.join(fatal.split())}"

    def _obey(self, data: bytes) -> None:
        """Obeys the process."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            for name, value in json.loads(line).items():
                if name == "joining":
                    self._joining, self._name = value, value["name"]
                    self._passed("joining", 0)
                elif name == "listen":
                    self._answer({"port": self._links.listen(value)})
                elif name == "link":
                    self._joined, self._name = True, value.pop("name")
                    if value:
                        self._links.connect(**value, name=self._name)
                elif name == "report":
                    self._report = value
                    self._passed("report", 0)

    def _hear(self, sender: str, message: dict[str, Any] | None) -> None:
        """Hears from another watcher."""
        if message is not None and "bye" in message:
            self._gone.add(sender)
        elif message is not None and "failed" in message:
            self._fail(printable(message["failed"]), sender)
        elif message is None and sender not in self._gone:
            self._fail(f"the connection to {sender} was lost", sender)

    def _fail(self, cause: str, sender: str) -> None:
        self._gone.add(sender)
        if not self._other and not self._told:
            self._other = cause
            self._links.send({"failed": cause}, beside=sender)
            self._passed("other", 0)

    def _answer(self, message: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # the process has ended
            os.write(self._answers, json.dumps(message).encode() + b"\n")

    def _read(self, descriptor: int) -> bytes:
        data = os.read(descriptor, 65536)
        if not data:
            self._selector.unregister(descriptor)
        return data

    def _show(self, lines: list[str]) -> None:
        if not self._told:
            _print(lines)

    def _passed(self, event: str, seconds: float) -> bool:
        """Whether some seconds have passed since this was first asked about an event."""
        now = time.monotonic()
        return now >= self._since.setdefault(event, now) + seconds


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _print(lines: list[str]) -> None:
    for line in lines:
        with suppress(OSError):  # the terminal is gone
            print(printable(line), file=sys.stderr, flush=True)
