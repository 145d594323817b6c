"""Maps a function over items in several processes of this machine."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


def map_in_processes(function: Callable[[S], T], items: Iterable[S], workers: int) -> Iterator[T]:
    """Yields the results in order; at most a few items per process are in work.

    Args:
      function: a function at the top of a module.
      items: what it is called with; they are taken as they are needed.
      workers: the number of processes; 1 calls the function in this process.

    Raises:
      Exception: that of the function.
      OSError: a process has been killed.
    """
    if workers == 1:
        yield from map(function, items)
        return
    # A fork would copy the threads' locks of the libraries in an unknown state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_follow_parent)
    results: deque[Future[T]] = deque()
    try:
        for item in items:
            results.append(pool.submit(function, item))
            if len(results) > 2 * workers:
                yield results.popleft().result()
        while results:
            yield results.popleft().result()
    except BrokenProcessPool as error:
        raise OSError(
            "one of the processes has ended, perhaps for lack of memory; repeat the command, with "
            "fewer workers if it happens again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """Leaves interrupts to the parent, and ends this process when the parent has been killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
