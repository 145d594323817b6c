"""The connections between the watchers of a job: from the first one to each of the others.

A connection closes when its process ends, however it ends, so that the other side knows at once.
"""

import json
import selectors
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

Message = dict[str, Any]
# Bytes. A longer message is of another program.
_LONGEST = 1 << 16
# Seconds for connecting to one address, and for sending a message.
_TIMEOUT = 3.0
# Seconds without traffic, between probes, and the number of probes, before a host is lost.
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}


class Links:
    """The connections of one watcher.

    Args:
      selector: the sockets are registered there, with the data `LINKS`.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self._selector = selector
        self._listening: socket.socket | None = None
        self._token = ""
        # What has been received without its end, and the names of the processes.
        self._open: dict[socket.socket, bytes] = {}
        self._names: dict[socket.socket, str] = {}

    def listen(self, token: str) -> int:
        """Accepts connections of those who know the token; returns the port."""
        self._token = token
        try:
            self._listening = socket.create_server(
                ("", 0), family=socket.AF_INET6, dualstack_ipv6=True
            )
        except (OSError, ValueError):  # a host without IPv6
            self._listening = socket.create_server(("", 0))
        self._listening.settimeout(_TIMEOUT)
        self._selector.register(self._listening, selectors.EVENT_READ, self)
        return self._listening.getsockname()[1]

    def connect(self, hosts: Sequence[str], port: int, token: str, name: str, first: str) -> None:
        """Connects to the first watcher at one of its addresses, if one can be reached.

        Args:
          hosts: the names or addresses of its host.
          port, token: of `listen`.
          name: of this process.
          first: the name of the first process.
        """
        for host in hosts:
            with suppress(OSError):
                link = socket.create_connection((host, port), _TIMEOUT)
                self._add(link, first)
                self._send(link, {"token": token, "name": name})
                return

    def send(self, message: Message, *, beside: str = "") -> None:
        """Sends a message to all connected watchers, or to all but one."""
        for link in list(self._open):
            if self._names[link] and self._names[link] != beside:
                self._send(link, message)

    def read(self, link: socket.socket) -> list[tuple[str, Message | None]]:
        """Reads from a socket that is ready.

        Returns:
          Messages with the name of their sender; None in place of one if its connection has closed.
        """
        if link is self._listening:
            with suppress(OSError):
                self._add(link.accept()[0], "")
            return []
        try:
            data = link.recv(4096)
        except OSError:
            data = b""
        *lines, rest = (self._open[link] + data).split(b"\n")
        if not data or len(rest) > _LONGEST:
            return [(name, None)] if (name := self._remove(link)) else []
        self._open[link] = rest
        return [found for line in lines if (found := self._parse(link, line))]

    def _parse(self, link: socket.socket, line: bytes) -> tuple[str, Message] | None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if isinstance(message, dict) and self._names.get(link):
            return self._names[link], message
        if isinstance(message, dict) and message.get("token") == self._token:
            self._names[link] = str(message["name"])
        else:
            self._remove(link)
        return None

    def _add(self, link: socket.socket, name: str) -> None:
        link.settimeout(_TIMEOUT)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._open[link], self._names[link] = b"", name
        self._selector.register(link, selectors.EVENT_READ, self)

    def _remove(self, link: socket.socket) -> str:
        if link not in self._open:
            return ""
        del self._open[link]
        self._selector.unregister(link)
        link.close()
        return self._names.pop(link)

    def _send(self, link: socket.socket, message: Message) -> None:
        # The end of a connection is noticed when it is read.
        with suppress(OSError):
            link.sendall(json.dumps(message).encode() + b"\n")
