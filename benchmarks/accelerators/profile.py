"""Reduces a profile of a compiled program to its most expensive operations."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData

CALLS = 3


def busiest(call: Callable[[], Any], compiled: jax.stages.Compiled, count: int) -> list[dict]:
    """Profiles a few calls.

    Args:
      call: calls the program once.
      compiled: the program, to say what its operations are.
      count: how many operations to return.

    Returns:
      The operations that take most time, with their share of the time of all operations, their
      milliseconds per call and their source in the network.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready([call() for _ in range(CALLS)][-1])
        seconds: Counter[str] = Counter()
        for path in Path(folder).rglob("*.xplane.pb"):
            seconds.update(_operations(path))
    total = sum(seconds.values()) or 1.0
    sources = _sources(compiled.as_text() or "")
    return [
        {
            "name": name,
            "share": taken / total,
            "ms": 1e3 * taken / CALLS,
            "source": sources.get(name, ""),
        }
        for name, taken in seconds.most_common(count)
    ]


def _operations(path: Path) -> Counter[str]:
    """Seconds of the operations of a program, by name."""
    seconds: Counter[str] = Counter()
    for plane in ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op")
                if name:
                    seconds[str(name)] += event.duration_ns / 1e9
    return seconds


def _sources(text: str) -> dict[str, str]:
    """The source of every operation of an HLO text: the network's layer, from the metadata."""
    pattern = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name=\"([^\"]*)\"", re.MULTILINE)
    return dict(pattern.findall(text))
