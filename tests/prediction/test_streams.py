"""Iteration in a thread."""

import threading

import pytest

from fcfrnet_jax.prediction.streams import one_ahead, pairs_of


def alive():
    return [thread for thread in threading.enumerate() if "fcfrnet-stream" in thread.name]


def test_the_next_item_is_made_while_one_is_in_use():
    made, second = [], threading.Event()

    def items():
        for i in range(4):
            made.append(i)
            if i == 1:
                second.set()
            yield i

    iterator = one_ahead(items())
    assert made == []
    assert next(iterator) == 0
    assert second.wait(10)
    assert made == [0, 1]
    assert list(iterator) == [1, 2, 3]
    assert alive() == []


def test_an_error_takes_the_place_of_its_item():
    def items():
        yield 0
        raise ValueError("the second one")

    iterator = one_ahead(items())
    assert next(iterator) == 0
    with pytest.raises(ValueError, match="the second one"):
        next(iterator)
    assert list(iterator) == []
    assert alive() == []


def test_what_is_no_pair_is_refused_in_its_place():
    pairs = pairs_of([(1, 2), (3,)], "sizes", "(height, width)")
    assert next(pairs) == (1, 2)
    with pytest.raises(TypeError, match=r"^sizes must be pairs \(height, width\), got 1 items"):
        next(pairs)
    with pytest.raises(TypeError, match=r"got int$"):
        next(pairs_of((96, 160), "sizes", "(height, width)"))


def test_closing_ends_the_threads_and_the_items():
    closed = []

    def items():
        try:
            yield from range(100)
        finally:
            closed.append(True)

    iterator = one_ahead(one_ahead(items()))
    assert next(iterator) == 0
    assert len(alive()) == 2
    iterator.close()
    assert alive() == []
    assert closed == [True]
