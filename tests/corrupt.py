"""Damages files of every kind that the commands read, and prints what their readers say.

python -m tests.corrupt --cases 600 --seed 0

Every case changes one file of a fresh copy and reads it as a command does, in this process. The
exit code is 1 if damage is silent although a checksum covers the file, if an error does not name
the file, or if there is a traceback.
"""

import argparse
import contextlib
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from rich.console import Console
from rich.table import Table

from fcfrnet_jax.files import describe
from tests import corruptible

OUTCOMES = (
    "detected and named",
    "unnamed",
    "silent",
    "silent, no checksum",
    "harmless",
    "traceback",
)
FORBIDDEN = ("unnamed", "silent", "traceback")
# Text of parsers and libraries, which tells users nothing.
RAW = (
    "Expecting ",
    "codec can't",
    "DATA_LOSS",
    "OUT_OF_RANGE",
    "NOT_FOUND",
    "Errno",
    "object has no",
)


@dataclass(frozen=True)
class Case:
    """What happened to a damaged file."""

    kind: str
    damage: str
    file: str
    outcome: str
    message: str


def flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def replace(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ draw.randint(1, 255)]) + data[at + 1 :]


def remove(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + data[at + draw.randint(1, 16) :]


def truncate(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


DAMAGES = {"flip": flip, "replace": replace, "remove": remove, "truncate": truncate}
WEIGHTS = {"flip": 10, "replace": 3, "remove": 3, "truncate": 3, "delete": 2, "folder": 1}


def damage(path: Path, draw: random.Random) -> str:
    """Damages a file in a random way; returns the name of the damage."""
    name = draw.choices([*WEIGHTS], [*WEIGHTS.values()])[0]
    data = path.read_bytes()
    if name in DAMAGES:
        path.write_bytes(DAMAGES[name](data, draw) if data else b"x")
        return name
    path.unlink()
    if name == "folder":
        path.mkdir()
    return name


@contextlib.contextmanager
def captured_stderr() -> Iterator[list[str]]:
    """Collects what is written to the file descriptor, which libraries in C++ use."""
    texts: list[str] = []
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield texts
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))


def same(one: Any, other: Any) -> bool:
    """Whether two trees of arrays and plain values are equal."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


def outcome(read: Callable[[], Any], names: list[str], expected: Any) -> tuple[str, str]:
    """Runs a reader; returns one of `OUTCOMES` (with "silent" if the value differs), and why."""
    with captured_stderr() as printed:
        try:
            found, message = read(), ""
        except (ValueError, OSError) as error:
            found, message = None, " ".join(describe(error).split())
        except Exception as error:
            return "traceback", repr(error)
    if any(word in printed[0] for word in ("Traceback", "Exception ignored")):
        return "traceback", printed[0]
    if message:
        named = any(name in message for name in names) and not any(raw in message for raw in RAW)
        return ("detected and named" if named else "unnamed"), message
    return ("harmless" if same(found, expected) else "silent"), printed[0]


def run_case(kind: corruptible.Kind, expected: Any, folder: Path, draw: random.Random) -> Case:
    """Damages a copy of a kind's files and reads it."""
    shutil.copytree(kind.folder, folder)
    victims = sorted(path for path in folder.glob(kind.files) if path.is_file())
    # Large files hold the values, but small ones must not be left out.
    victim = draw.choices(victims, [1 + path.stat().st_size ** 0.5 for path in victims])[0]
    how = damage(victim, draw)
    result, message = outcome(lambda: kind.read(folder), kind.names(folder, victim), expected)
    if result == "silent" and not kind.protected:
        result = "silent, no checksum"
    shutil.rmtree(folder)
    return Case(kind.name, how, str(victim.relative_to(folder)), result, message)


def run(cases: int, seed: int, folder: Path, names: list[str] | None = None) -> list[Case]:
    """Runs cases, spread evenly over all kinds or those with the given names."""
    kinds = corruptible.make_kinds(folder / "intact")
    kinds = [kind for kind in kinds if not names or kind.name in names]
    expected = {kind.name: kind.read(kind.folder) for kind in kinds}
    done = []
    for number in range(cases):
        kind = kinds[number % len(kinds)]
        draw = random.Random(f"{seed} {number}")
        done.append(run_case(kind, expected[kind.name], folder / "damaged", draw))
    return done


def table(cases: list[Case]) -> Table:
    """Counts the outcomes of each kind of file."""
    counted = Counter((case.kind, case.outcome) for case in cases)
    drawn = Table("kind", "cases", *OUTCOMES)
    for kind in [*dict.fromkeys(case.kind for case in cases), None]:
        numbers = [
            sum(n for (k, o), n in counted.items() if kind in (k, None) and o == name)
            for name in OUTCOMES
        ]
        drawn.add_row(kind or "all", str(sum(numbers)), *map(str, numbers))
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=600)
    parser.add_argument("--kinds", nargs="*", help="the kinds to damage; all by default")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.use_absl_handler()
    logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, corruptible.short_networks():
        cases = run(options.cases, options.seed, Path(folder), options.kinds)
    Console(width=160).print(table(cases))
    bad = [case for case in cases if case.outcome in FORBIDDEN]
    for case in bad:
        print(f"{case.outcome}: {case.damage} of {case.file}: {case.message}")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
