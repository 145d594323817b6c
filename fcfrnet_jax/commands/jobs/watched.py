"""The process of a job, as its watcher sees it; see `watcher`.

This module imports no jax: the watcher must fork before jax starts threads.
"""

import json
import os
import queue
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, NoReturn

from ml_collections import ConfigDict

from fcfrnet_jax.commands.jobs.watcher import Watcher
from fcfrnet_jax.process import launched

# Seconds in which the watcher answers, and in which it ends this process after a report.
_ANSWER, _END = 10.0, 20.0


class Watched:
    """This process and its watcher.

    What C++ writes to stderr goes through the watcher. Python writes to the real stderr, so that
    progress bars find a terminal.

    Args:
      orders, answers: the pipes to and from the watcher.
    """

    def __init__(self, orders: int, answers: int) -> None:
        self._orders, self._answers = orders, answers
        self._ports: queue.Queue[int] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def joining(self, name: str, waiting: str, causes: dict[str, str]) -> None:
        """Announces that this process starts to wait for the others.

        Args:
          name: of this process, for messages.
          waiting: what to print if it takes long.
          causes: why the process ends from C++ if it does, by a part of the log message.
        """
        self._send(joining={"name": name, "waiting": waiting, "causes": causes})

    def link(self, process: int, host: str, exchange: Callable[[Any], Any]) -> None:
        """Connects the watchers of all processes, which must all call this.

        Args:
          process: the index of this process.
          host: of the first process, as the others may know it; empty if this is unknown.
          exchange: returns the value of the first process, in all processes.
        """
        name, address = process_name(process), None
        if not process:
            token = secrets.token_hex(16)
            self._send(listen=token)
            own = socket.gethostname()
            hosts = [name for name in (host, own, *_addresses(own)) if name]
            port = self._ports.get(timeout=_ANSWER)
            address = {"hosts": hosts, "port": port, "token": token, "first": name}
        address = exchange(address)
        self._send(link={"name": name} | (address if process else {}))

    def fail(self, line: str, others: str, status: int, *, certain: bool = True) -> NoReturn:
        """Ends this process with one line on stderr, and all other processes of the job.

        Args:
          line: what the watcher prints.
          others: what it tells the other processes, after the name of this one.
          status: the exit status.
          certain: False if the failure of another process may be the cause, whose line is then
            printed instead.
        """
        # An orderly exit would wait for the other processes, which wait for this one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        sys.stderr.flush()
        self._send(report={"line": line, "others": others, "status": status, "certain": certain})
        threading.Event().wait(_END)  # `_listen` ends the process
        os._exit(status)

    def _send(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._orders, data) :]

    def _listen(self) -> None:
        for line in open(self._answers, encoding="utf-8"):  # noqa: SIM115
            answer = json.loads(line)
            if "end" in answer:
                os._exit(answer["end"])
            self._ports.put(answer["port"])
        os._exit(1)  # the watcher was killed


# A process has one stderr, and therefore at most one watcher.
_current: Watched | None = None


def is_of_job(config: ConfigDict) -> bool:
    """Whether this process belongs to a job of several processes.

    Raises:
      ValueError: the launcher's number of processes is not a number.
    """
    if "coordinator" not in config:
        return False
    return (config.processes if config.coordinator else launched(os.environ)[1]) > 1


def start(verbose: bool) -> None:
    """Goes on in a child process, which belongs to a job. This one becomes its watcher.

    The launcher's signals are forwarded to the child, which therefore has a session of its own: a
    terminal would send them to both.

    Args:
      verbose: show all log messages of the libraries.
    """
    global _current
    sys.stdout.flush()
    sys.stderr.flush()
    errors, orders, answers = os.pipe(), os.pipe(), os.pipe()
    child = os.fork()
    if child:
        for pipe in (errors[1], orders[1], answers[0]):
            os.close(pipe)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, partial(_forward, child))
        watcher = Watcher(child, errors[0], orders[0], answers[1], verbose=verbose)
        os._exit(watcher.run())
    for pipe in (errors[0], orders[0], answers[1]):
        os.close(pipe)
    os.setsid()
    sys.stderr = open(os.dup(2), "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    os.dup2(errors[1], 2)
    os.close(errors[1])
    _current = Watched(orders[1], answers[0])


def _forward(child: int, number: int, frame: object) -> None:
    del frame
    with suppress(ProcessLookupError):
        os.kill(child, number)


def current() -> Watched | None:
    """Returns this process if it has a watcher."""
    return _current


def process_name(process: int) -> str:
    """The name of this process in messages."""
    return f"process {process} on {socket.gethostname()}"


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(address[0]) for *_, address in found]
