"""Hostile checkpoints made by hand, each against one part of the reader."""

import _codecs
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from tests.weights.foreign.checkpoint_files import Made, array_of, tensor, values
from tests.weights.narrow_states import narrow_state

RUN = "import os; os.environ['FCFRNET_HOSTILE'] = 'ran'"
# Also used as names of files by the tests of the commands.
HOSTILE_NAMES = (
    "\x1b]0;title\x07", "\x1b[2J", "[/x]", "[red]", "\udcff", "\u202egnp", "a\nError: b", ":boom:",
)  # fmt: skip
SIZES = (1000, 8000, 100_000)
Files = Iterator[tuple[str, bytes]]


def state(value: object, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol)


def zipped(pickled: bytes, extra: dict[str, bytes] | None = None) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("model/data.pkl", pickled)
        for name, content in (extra or {"model/data/0": bytes(96)}).items():
            archive.writestr(name, content)
    return data.getvalue()


def pickles() -> Files:
    """Constructions against the pickle machine, in several sizes."""
    for n in SIZES:
        refer = b"\x80\x04](]\x94(" + b"]" * n + b"e"
        yield f"shared list {n}", refer + b"h\0" * n + b"e."
        yield f"sets {n}", b"\x80\x04" + b"\x8f" * n + b"."
        yield f"dicts {n}", b"\x80\x04](" + b"}X\1\0\0\0aNs" * n + b"e."
        yield f"marks {n}", b"\x80\x04" + b"(" * n + b"."
        yield f"deep {n}", b"\x80\x04" + b"]" * n + b"a" * (n - 1) + b"."
        yield f"pops {n}", b"\x80\x04" + b"N0" * n + b"N."
        yield f"calls {n}", b"\x80\x04](cm\nC\nq\0" + b"h\0)R" * n + b"e."
        yield f"names {n}", b"\x80\x04](" + b"".join(b"cm\nC%d\n" % i for i in range(n)) + b"e."
        yield f"memo {n}", b"\x80\x04](" + b"]\x94" * n + b"e."
        yield f"tuples {n}", b"\x80\x04(" + b"N" * n + b"tq\0](" + b"h\0\x85" * n + b"e."
        yield f"builds {n}", b"\x80\x04cm\nC\n)R" + b"}b" * n + b"."
        yield f"appends {n}", b"\x80\x04]" + b"(NNe" * n + b"."
        yield f"persistent {n}", zipped(b"\x80\x02](" + b"NQ" * n + b"e.")
        integers = b"".join(values(i << 40) + b"N" for i in range(n))
        yield f"integers {n}", b"\x80\x04}(" + integers + b"u."
        floats = b"".join(values(i + 0.5) for i in range(n))
        yield f"floats {n}", b"\x80\x04\x8f(" + floats + b"\x90."
        yield f"long line {n}", b"\x80\x02S'" + b"a" * 10 * n + b"'\n."
        yield f"digits {n}", b"\x80\x02I" + b"9" * n + b"\n."
        size = struct.pack("<i", 100 * n)
        yield f"long integer {n}", b"\x80\x02\x8b" + size + b"\xff" * 100 * n + b"."
        yield f"wide text {n}", state({"a": "a" * 100 * n + "\U0001f600"})
        yield f"foreign state {n}", state({"w" * n: 1, **{f"e{i}": i for i in range(n)}})
        yield f"entries {n}", state(dict.fromkeys((f"e{i}" for i in range(n)), array_of()))
        yield (
            f"text arrays {n}",
            state(dict.fromkeys((f"e{i}" for i in range(n // 100)), array_of(data="\xff" * n)), 2),
        )
        pairs = b"](" + b"](X\1\0\0\0aNe" * n + b"e"
        yield f"python 2 {n}", b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
        yield f"shape {n}", state({str(i): array_of(shape=(1,) * n) for i in range(20)})
    bomb = b"]q\0" + b"".join(b"0](h%ch%ceq%c" % (i, i, i + 1) for i in range(90))
    yield "doubled lists", b"\x80\x02" + bomb + b"."
    yield "cycle", b"\x80\x02}q\0X\1\0\0\0ah\0s."
    yield "10 GB", state({"w": array_of(shape=(50_000, 50_000))})
    yield "prefixes", state({"module." * 100_000 + "w": np.zeros(1)})


def archives() -> Files:
    """Constructions against the reader of zip archives."""
    for n in SIZES:
        entry = b"PK\1\2" + bytes(42)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, n & 0xFFFF, n & 0xFFFF, 46 * n, 0, 0)
        yield f"directory {n}", b"PK\3\4" + entry * n + end
        entries = {f"model/data/{i}": b"" for i in range(min(n, 8000))}
        yield f"storages {n}", zipped(tensor(), entries)
    for extra in (1000, 60_000):
        fields = b"\xff\xff\0\0" * (extra // 4)
        entry = b"PK\1\2" + bytes(24) + struct.pack("<HHH", 0, len(fields), 0) + bytes(12) + fields
        count = (1 << 20) // len(entry)
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(entry) * count, 0, 0)
        yield f"extra fields {extra}", b"PK\3\4" + entry * count + end
    comment = b"PK\3\4" + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0, 0, 0, 0, 65535) + b"a" * 65535
    yield "comment", comment
    yield "end records", b"PK\3\4" + b"PK\5\6" * 100_000
    yield "long names", zipped(tensor(), {f"{i}{'n' * 60_000}": b"" for i in range(10)})
    yield "10 GB expanded", zipped(tensor(sizes=(50_000, 50_000), strides=(0, 0)))
    yield "escape in a name", zipped(tensor(), {"\x1b[2Jmodel/x": b"", "model\n[/x]": b""})


def large() -> Files:
    """Files of several megabytes, whose data must not be copied for every entry."""
    view = tensor(sizes=(1,), strides=(1,), count=2 << 20, kind="BFloat16Storage")
    view = view[len(b"\x80\x02}" + values("w")) : -2]
    views = b"".join(values(f"e{i}") + view for i in range(1000))
    storage = {"model/data/0": bytes(4 << 20), "model/byteorder": b"big"}
    yield "views of bfloat16", zipped(b"\x80\x02}(" + views + b"u.", storage)
    half = {"w": np.zeros(10 << 20, np.float16)}
    yield "another network in half precision", state(half)
    yield "another network in text", state({"w": np.full(2 << 20, -1)}, 2)
    shared = Made(_codecs.encode, ("\xff" * (4 << 20), "latin1"))
    wrong = {f"e{i}": array_of(shape=(1 << 20,), data=shared) for i in range(8)}
    yield "shared text", state(wrong, 2)
    array = np.zeros(4 << 20, np.uint8)
    yield "shared bytes", state({f"e{i}": array for i in range(1000)})


def code() -> Files:
    """Pickles that run code where they are loaded by `pickle`."""
    for name in ("builtins\nexec", "os\nsystem", "posix\nsystem", "numpy.testing\nruntests"):
        call = f"c{name}\n(".encode() + values(RUN) + b"tR"
        yield f"code {name!r}", b"\x80\x02}" + values("w") + call + b"s."
        yield f"code {name!r} zipped", zipped(b"\x80\x02}" + values("w") + call + b"s.")
    yield "code in a persistent id", zipped(b"\x80\x02cbuiltins\nexec\n(" + values(RUN) + b"tRQ.")
    yield "code in BUILD", b"\x80\x02cm\nC\n)R}" + values("__setstate__") + b"cos\nsystem\nsb."
    yield "code by getattr", state(Made(getattr, (Made(dict, ()), "clear")))


def texts() -> Files:
    """Names that would write to the terminal, and networks that do not match."""
    for name in HOSTILE_NAMES:
        array = np.zeros(1, np.float32)
        yield f"entry {name[:9]!a}", state({name: array})
        yield f"bad entry {name[:9]!a}", state({name: 1})
        yield f"unknown entry {name[:9]!a}", state(narrow_state() | {name: array})
        yield f"bad state {name[:9]!a}", state({"model": {name: 1}, name: {name: array}})
        yield f"class {name[:9]!a}", b"\x80\x04" + values("m", name) + b"\x93)R."
    unknown = {f"unknown.{i}": np.zeros(0, np.float32) for i in range(2000)}
    yield "many unknown entries", state(narrow_state() | unknown)
    wide = np.zeros((1 << 30, 0, 3, 3), np.float32)
    yield "a network of width 2^30", state(narrow_state() | {"conv2.0.conv1.weight": wide})
    deep = {f"conv2.{'9' * 900}.conv1.weight": np.zeros(1)}
    yield "a network of many blocks", state(narrow_state() | deep)


def others() -> Files:
    """Files of other formats."""
    heads = b"<html>", b"\x93NUMPY", b"\x89HDF\r\n", b"\x1f\x8b", b"{", bytes(16), b"\x08\x07"
    for head in heads:
        yield f"head {head!r}", head + bytes(1000)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("\x1b[31mmodel.pdparams"), io.BytesIO())
    yield "tar", packed.getvalue()
    yield "empty", b""


FAMILIES: tuple[Callable[[], Files], ...] = (pickles, large, archives, code, texts, others)
