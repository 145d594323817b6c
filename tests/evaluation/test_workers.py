"""Threads that handle what an evaluation found."""

import threading
import time

import pytest

from fcfrnet_jax.evaluation.batches import reading_threads
from fcfrnet_jax.evaluation.workers import Workers


def test_all_calls_have_returned_at_the_end():
    found = []
    with Workers() as workers:
        for i in range(200):
            workers.submit(found.append, i)
    assert sorted(found) == list(range(200))


def test_few_calls_wait():
    """Otherwise all arrays of an evaluation could be in memory."""
    go_on, begun = threading.Event(), []

    def work(number):
        begun.append(number)
        assert go_on.wait(60)

    with Workers() as workers:
        submitting = threading.Thread(target=lambda: [workers.submit(work, i) for i in range(500)])
        submitting.start()
        submitting.join(0.2)
        assert submitting.is_alive()
        assert len(begun) < 100
        go_on.set()
        submitting.join()
    assert len(begun) == 500


def fail(*_):
    raise OSError("disk full")


def test_an_error_is_raised_by_a_later_call_or_at_the_end():
    def submit_until_raised():
        with Workers() as workers:
            while True:
                workers.submit(fail)

    def submit_once():
        with Workers() as workers:
            workers.submit(fail)

    for work in (submit_until_raised, submit_once):
        with pytest.raises(OSError, match="disk full"):
            work()


def test_after_an_error_of_the_block_waiting_calls_are_dropped():
    begun = []

    def work(number):
        begun.append(number)
        time.sleep(0.1)

    def raise_while_calls_wait():
        with Workers() as workers:
            for i in range(2 * reading_threads()):
                workers.submit(work, i)
            raise KeyError

    with pytest.raises(KeyError):
        raise_while_calls_wait()
    assert len(begun) < 2 * reading_threads()
