"""Threads that handle what an evaluation found while the devices go on."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from fcfrnet_jax.evaluation.batches import reading_threads


class Workers:
    """Calls functions in threads; a context that ends when all calls have returned.

    After an exception, calls that have not begun are dropped.
    """

    def __init__(self) -> None:
        threads = reading_threads()
        # Waiting calls keep their arrays.
        self._most = 2 * threads + 2
        self._pool = ThreadPoolExecutor(threads)
        self._calls: deque[Future[Any]] = deque()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Calls a function; waits while too many calls have not returned.

        Raises:
          Exception: that of an earlier call.
        """
        self._calls.append(self._pool.submit(function, *arguments))
        while len(self._calls) > self._most or (self._calls and self._calls[0].done()):
            self._calls.popleft().result()

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while self._calls and error is None:
                self._calls.popleft().result()
        finally:
            self._pool.shutdown(cancel_futures=True)
