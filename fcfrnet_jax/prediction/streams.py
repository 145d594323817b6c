"""Iterates in a thread, so that the next item is made while one is in use."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def one_ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yields the items in order, and takes the next one in a thread meanwhile.

    An error is raised in the place of its item, which ends the iteration. When the generator is
    closed, it waits for the item that is being made, and closes `items` if they are a generator.
    """
    end = object()
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="fcfrnet-stream") as pool:
            following = pool.submit(next, items, end)
            while (item := following.result()) is not end:
                following = pool.submit(next, items, end)
                yield item  # type: ignore[misc]
    finally:
        if isinstance(items, Generator):
            items.close()


def pairs_of(items: Iterable[tuple[S, T]], name: str, kind: str) -> Iterator[tuple[S, T]]:
    """Yields pairs; other items, such as the numbers of a single pair, raise TypeError."""
    for item in items:
        if not isinstance(item, Sequence) or len(item) != 2:
            found = f"{len(item)} items" if isinstance(item, Sequence) else type(item).__name__
            raise TypeError(f"{name} must be pairs {kind}, got {found}")
        yield item
