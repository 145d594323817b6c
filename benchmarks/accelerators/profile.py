"""Reduces a profile of a compiled program to its most expensive operations."""

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData

CALLS = 3


def busiest(call: Callable[[], Any], text: str, count: int) -> list[dict[str, Any]]:
    """Profiles a few calls.

    Args:
      call: calls a program once.
      text: the compiled program, to say what its operations are.
      count: how many operations to return.

    Returns:
      The operations that take most time, with their share of the time of all operations, their
      milliseconds and kernel launches per call, their category, their kernels and their source in
      the network.

    Raises:
      RuntimeError: the profile has no operations.
    """
    planes: list[Any] = []
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready([call() for _ in range(CALLS)][-1])
        # The planes refer to their file.
        files = [ProfileData.from_file(str(path)) for path in Path(folder).rglob("*.xplane.pb")]
        for file in files:
            planes += file.planes
        return summary(planes, text, count)


def summary(planes: Iterable[Any], text: str, count: int) -> list[dict[str, Any]]:
    """Sums the events of `CALLS` calls by operation; see `busiest`."""
    seconds: Counter[str] = Counter()
    launches: Counter[str] = Counter()
    kernels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    planes = list(planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    on_device = any(True for plane in devices for line in plane.lines for _ in line.events)
    for plane in devices if on_device else planes:
        lines = list(plane.lines)
        # Other lines of a GPU repeat the events of its streams, summed up.
        streams = [line for line in lines if line.name.startswith("Stream")]
        for line in streams or lines:
            for event in line.events:
                name = dict(event.stats).get("hlo_op") or (event.name if streams else None)
                if name:
                    seconds[str(name)] += event.duration_ns / 1e9
                    launches[str(name)] += 1
                    kernels[str(name)][event.name[:100]] += event.duration_ns
    if not seconds:
        found = [f"{plane.name}: {[line.name for line in plane.lines]}" for plane in planes]
        raise RuntimeError(f"no operations in the profile: {found}")
    total = sum(seconds.values())
    categories, sources = _categories(text), _sources(text)
    return [
        {
            "name": name,
            "share": taken / total,
            "ms": 1e3 * taken / CALLS,
            "launches": launches[name] / CALLS,
            "category": categories.get(name, ""),
            "kernels": [kernel for kernel, _ in kernels[name].most_common(3)],
            "source": sources.get(name, ""),
        }
        for name, taken in seconds.most_common(count)
    ]


def _sources(text: str) -> dict[str, str]:
    """The source of every operation of an HLO text: the network's layer, from the metadata."""
    pattern = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = .*?op_name=\"([^\"]*)\"", re.MULTILINE)
    return dict(pattern.findall(text))


def _categories(text: str) -> dict[str, str]:
    """The kind of every operation of an HLO text, with the library call or kind of fusion."""
    pattern = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = .*? ([a-z][\w-]*)\(", re.MULTILINE)
    found = {}
    for line in text.splitlines():
        if match := pattern.match(line):
            detail = re.search(r'custom_call_target="([^"]*)"|kind=(\w+)', line)
            kinds = [match[2], *(group for group in (detail.groups() if detail else ()) if group)]
            found[match[1]] = " ".join(kinds)
    return found
