"""Changed copies of valid checkpoints: bytes, cuts, repeated parts, counts and opcodes."""

import pickletools
import random
import struct
from collections.abc import Callable

OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


def change_bytes(data: bytearray, source: random.Random) -> None:
    for _ in range(source.randint(1, 8)):
        data[source.randrange(len(data))] = source.randrange(256)


def change_opcodes(data: bytearray, source: random.Random) -> None:
    for _ in range(source.randint(1, 4)):
        data[source.randrange(len(data))] = source.choice(OPCODES)[0]


def change_numbers(data: bytearray, source: random.Random) -> None:
    place = source.randrange(max(len(data) - 4, 1))
    data[place : place + 4] = struct.pack("<I", source.choice(NUMBERS))


def cut(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data))
    del data[start : start + source.choice((1, 2, 8, 64, len(data)))]


def repeat(data: bytearray, source: random.Random) -> None:
    start = source.randrange(len(data))
    part = bytes(data[start : start + source.randint(1, 40)])
    data[start:start] = part * source.choice((1, 2, 100, 5000))


def insert(data: bytearray, source: random.Random) -> None:
    place = source.randrange(len(data))
    data[place:place] = b"".join(source.choices(OPCODES, k=source.randint(1, 6)))


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    change_bytes, change_opcodes, change_numbers, cut, repeat, insert,
)  # fmt: skip


def mutate(data: bytes, number: int) -> bytes:
    """Returns a changed copy; the same number makes the same changes."""
    source = random.Random(number)
    changed = bytearray(data)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        if changed:
            source.choice(CHANGES)(changed, source)
    return bytes(changed)
