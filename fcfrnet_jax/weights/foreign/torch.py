"""Tensors as PyTorch saves them, decoded from inert nodes, in both of its file formats.

Since PyTorch 1.6 a checkpoint is a zip archive with the pickle `<name>/data.pkl` and one
uncompressed entry `<name>/data/<key>` per storage. The older format has five consecutive pickles
(magic number, version, machine, content, storage keys), then each storage as an int64 count and its
data. A tensor refers to its storage by a persistent id ("storage", type, key, location, elements).
"""

import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from fcfrnet_jax.weights.foreign.archive import check_entries, open_archive, zip_errors
from fcfrnet_jax.weights.foreign.budget import Budget
from fcfrnet_jax.weights.foreign.formats import describe_archive
from fcfrnet_jax.weights.foreign.pickle_nodes import (
    AGAIN,
    MAX_AXES,
    CheckpointError,
    Global,
    PersistentId,
    PickleContents,
    is_call,
    is_possible_shape,
    printable_name,
)
from fcfrnet_jax.weights.foreign.pickle_reader import read_pickle

# torch.serialization.MAGIC_NUMBER and PROTOCOL_VERSION of the format before 1.6.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001

_STORAGES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}


class TorchFile:
    """A PyTorch checkpoint; a storage is read when the first tensor that uses it is decoded.

    Attributes:
      contents: the pickle.
    """

    def __init__(self, contents: PickleContents, read: Callable[[str], bytes], order: str):
        """Stores the pickle, a function from a storage's key to its bytes, and their byte order."""
        self.contents = contents
        self._read = read
        self._order = order
        self._storages: dict[str, bytes] = {}

    def decode_tensor(self, node: Any) -> np.ndarray:
        """Decodes one tensor as a read-only view of its storage.

        Raises:
          CheckpointError: not a tensor, an unknown dtype, or a view beyond the storage.
        """
        if is_call(node, "torch._utils._rebuild_parameter") and node.arguments and node.is_plain():
            node = node.arguments[0]
        names = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
        if not (is_call(node, *names) and node.is_plain()):
            what = str(node.function) if hasattr(node, "function") else type(node).__name__
            raise CheckpointError(f"{printable_name(what)}, expected a tensor")
        match node.arguments:
            case (
                PersistentId(value=identity),
                int() as offset,
                tuple() as sizes,
                tuple() as strides,
                *_,
            ):
                values = _strided(self._storage(identity), offset, sizes, strides)
                if _parse_identity(identity)[1] == "bfloat16":
                    # NumPy has no bfloat16 of the other byte order.
                    return values.astype(np.uint16, copy=False).view(ml_dtypes.bfloat16)
                return values
        raise CheckpointError("a tensor without (storage, offset, sizes, strides)")

    def _storage(self, identity: Any) -> np.ndarray:
        key, dtype, count, view = _parse_identity(identity)
        if key not in self._storages:
            self._storages[key] = self._read(key)
        data = self._storages[key]
        code = "u2" if dtype == "bfloat16" else dtype
        if count * np.dtype(code).itemsize != len(data):
            raise CheckpointError(
                f"storage {printable_name(key)} has {len(data)} bytes "
                f"for {printable_name(str(count))} x {dtype}"
            )
        values = np.frombuffer(data, self._order + code)
        if view is not None:
            start, size = view
            if not (start >= 0 and size >= 0 and start + size <= count):
                raise CheckpointError(f"a view beyond storage {printable_name(key)}")
            values = values[start : start + size]
        return values


def _parse_identity(identity: Any) -> tuple[str, str, int, tuple[int, int] | None]:
    """Returns (key, dtype code, elements, view); the view is None or (offset, elements)."""
    # Thousands of tensors may share one huge tuple.
    if isinstance(identity, tuple) and len(identity) > 6:
        raise CheckpointError("a storage that is not (type, key, location, elements)")
    match identity:
        case (
            "storage",
            Global("torch" | "torch.cuda", kind),
            str() as key,
            str(),
            int() as count,
            *more,
        ):
            if kind not in _STORAGES:
                raise CheckpointError(f"a storage of type torch.{printable_name(kind)}")
            match more:
                case [] | [None]:
                    return key, _STORAGES[kind], count, None
                case [(str(), int() as start, int() as size)]:
                    return key, _STORAGES[kind], count, (start, size)
        case ("module", *_):
            raise CheckpointError(
                "a whole pickled module; save its state_dict() with torch.save instead"
            )
    raise CheckpointError("a storage that is not (type, key, location, elements)")


def _strided(storage: np.ndarray, offset: int, sizes: tuple, strides: tuple) -> np.ndarray:
    """Returns the view of `storage` with these sizes and strides, both in elements."""
    if len(strides) > MAX_AXES:
        raise CheckpointError("a tensor with impossible sizes or strides")
    plain = all(type(value) is int and value >= 0 for value in (offset, *strides))
    if not plain or len(sizes) != len(strides) or not is_possible_shape(sizes):
        raise CheckpointError("a tensor with impossible sizes or strides")
    count = math.prod(sizes)
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    # An expanded tensor (stride 0) could declare any size; no network's state holds one.
    if count > len(storage) or (count and last >= len(storage)):
        raise CheckpointError(
            f"a tensor of {printable_name(str(sizes))} beyond a storage of {len(storage)}"
        )
    if count == 0:
        return np.zeros(sizes, storage.dtype)
    steps = [
        stride * storage.itemsize if size > 1 else 0
        for size, stride in zip(sizes, strides, strict=True)
    ]
    return np.lib.stride_tricks.as_strided(storage[offset:], sizes, steps, writeable=False)


def read_zip(file: BinaryIO, budget: Budget) -> TorchFile:
    """Reads the archive that PyTorch 1.6 and later write; `file` must stay open.

    Raises:
      CheckpointError: another kind of archive, TorchScript, or a damaged or compressed archive.
    """
    archive = open_archive(file)
    entries = archive.namelist()
    root = _archive_root(entries)
    check_entries(archive, file.seek(0, 2))
    with zip_errors():
        pickled = io.BytesIO(archive.read(f"{root}/data.pkl"))
        contents = read_pickle(pickled, allow_persistent_ids=True, budget=budget)
        order = f"{root}/byteorder"
        big = order in entries and archive.read(order).strip() == b"big"

    def read(key: str) -> bytes:
        with zip_errors():
            return archive.read(f"{root}/data/{key}")

    return TorchFile(contents, read, ">" if big else "<")


def _archive_root(names: list[str]) -> str:
    roots = [name[: -len("/data.pkl")] for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1 or "/" in roots[0] or any(n.endswith("/constants.pkl") for n in names):
        raise CheckpointError(describe_archive(names))
    return roots[0]


def read_legacy(file: BinaryIO, budget: Budget) -> TorchFile:
    """Reads the consecutive pickles that PyTorch wrote before 1.6.

    Raises:
      CheckpointError: another version of the format, or a damaged file.
    """
    read = partial(read_pickle, file, budget=budget)
    if read().root != LEGACY_MAGIC or read().root != _LEGACY_VERSION:
        raise CheckpointError(f"expected version {_LEGACY_VERSION} of PyTorch's format before 1.6")
    if not isinstance(read().root, dict):
        raise CheckpointError("PyTorch's description of the machine is missing")
    contents = read(allow_persistent_ids=True)
    dtypes: dict[str, str] = {}
    for item in contents.persistent_ids:
        key, dtype, _, _ = _parse_identity(item.value)
        if dtypes.setdefault(key, dtype) != dtype:
            raise CheckpointError(f"storage {printable_name(key)} has two types")
    keys = read().root
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("the list of storages is missing")
    if len(set(keys)) != len(keys) or set(keys) != set(dtypes):
        raise CheckpointError("the list of storages does not match the tensors")
    spans = _legacy_spans(file, keys, dtypes)

    def read_storage(key: str) -> bytes:
        start, size = spans[key]
        file.seek(start)
        return file.read(size)

    return TorchFile(contents, read_storage, "<")


def _legacy_spans(
    file: BinaryIO, keys: list[str], dtypes: dict[str, str]
) -> dict[str, tuple[int, int]]:
    """Returns (first byte, size) of each storage; the last one must end with the file."""
    position = file.tell()
    end = file.seek(0, 2)
    spans = {}
    for key in keys:
        file.seek(position)
        count = int.from_bytes(file.read(8), "little")
        size = count * (2 if dtypes[key] == "bfloat16" else np.dtype(dtypes[key]).itemsize)
        spans[key] = (position + 8, size)
        position += 8 + size
        if position > end:
            raise CheckpointError(
                f"truncated at byte {end}, in storage {printable_name(key)}; {AGAIN}"
            )
    if position != end:
        raise CheckpointError(f"{end - position} bytes after the last storage")
    return spans
