"""The connections between the watchers of a job."""

import json
import selectors
import socket
from contextlib import closing, suppress

import pytest

from fcfrnet_jax.commands.jobs.links import Links


def connected():
    """A watcher that listens, its selector, and a connection to it."""
    selector = selectors.DefaultSelector()
    links = Links(selector)
    client = socket.create_connection(("127.0.0.1", links.listen("secret")), timeout=5)
    return links, selector, client


def heard(links, selector):
    """What a watcher hears until nothing is left to read."""
    found = []
    while ready := selector.select(0.05):
        for key, _ in ready:
            found += links.read(key.fileobj)
    return found


def test_those_who_know_the_token_are_heard_until_they_end():
    links, selector, client = connected()
    client.sendall(json.dumps({"token": "secret", "name": "process 1"}).encode() + b"\n")
    client.sendall(b'{"failed": "why"}\n')
    assert heard(links, selector) == [("process 1", {"failed": "why"})]
    client.close()
    assert heard(links, selector) == [("process 1", None)]


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\n", b'{"token": "other", "name": "a"}\n', b"x" * 70_000]
)
def test_strangers_are_disconnected(data):
    links, selector, client = connected()
    with closing(client):
        client.sendall(data)
        assert heard(links, selector) == []
        # The rest of the data may reset the connection.
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
