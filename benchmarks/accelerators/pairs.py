"""Cases that both frameworks prepare, call in turns and compare; used by the calls of a worker."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peer_worker import Call, Task, Wait


class Cases:
    """Prepared cases by name.

    Args:
      contenders: prepares a task, by the name of the contender.
      to_array: converts a result to a NumPy array.
    """

    def __init__(
        self,
        contenders: dict[str, Callable[[Task], tuple[Call, Wait]]],
        to_array: Callable[[Any], np.ndarray],
    ):
        self._contenders = contenders
        self._to_array = to_array
        self._cases: dict[str, tuple[Call, Wait]] = {}

    def prepare(
        self, name: str, contender: str, task: dict[str, Any], output: str
    ) -> dict[str, float]:
        """Prepares a contender as case `name` and saves the output of its first call."""
        described = Task(task | {"name": contender, "output": output})
        start = time.perf_counter()
        call, wait = self._contenders[contender](described)
        first = self._to_array(wait(call())).squeeze()
        seconds = time.perf_counter() - start
        # Compare the residual only: errors would be small relative to the depth.
        base = described.depth.squeeze() if described.mode == "predict" else np.float32(0)
        np.save(Path(output), first - base)
        self._cases[name] = call, wait
        return {"first_call_s": seconds}

    def settle(self, name: str) -> None:
        """Warms a case up, with nothing else running."""
        call, wait = self._cases[name]
        for _ in range(3):
            wait(call())

    def call(self, name: str, repeats: int) -> float:
        """Seconds per call of `repeats` calls, of which only the last is waited for."""
        call, wait = self._cases[name]
        start = time.perf_counter()
        for _ in range(repeats):
            result = call()
        wait(result)
        return (time.perf_counter() - start) / repeats

    def latencies(self, name: str, repeats: int) -> list[float]:
        """Seconds of single calls, each waited for."""
        call, wait = self._cases[name]
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            wait(call())
            seconds.append(time.perf_counter() - start)
        return seconds

    def drop(self, name: str) -> None:
        self._cases.pop(name, None)

    def __len__(self) -> int:
        return len(self._cases)
