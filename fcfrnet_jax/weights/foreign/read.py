"""Reads PaddlePaddle and PyTorch checkpoints as arrays, without either library.

The files are untrusted: nothing that they name is imported or called (see `pickle_reader`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fcfrnet_jax.weights.foreign.paddle import (
    PARAMETER_NAMES,
    SLICED_ARRAYS,
    decode_array,
    join_slices,
)
from fcfrnet_jax.weights.foreign.pickle_nodes import (
    CheckpointError,
    PickleContents,
    is_call,
    list_printable,
    printable,
)
from fcfrnet_jax.weights.foreign.pickle_reader import read_pickle
from fcfrnet_jax.weights.foreign.torch import LEGACY_MAGIC, read_legacy, read_zip

# Prefixes that data-parallel training adds to every name.
_WRAPPERS = ("_layers.", "module.")
_STATE_ENTRIES = ("model", "state_dict")
_HEAD = 512
_KNOWN_CONTENT = {
    b"<": "a web page or XML",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"\x89HDF": "an HDF5 file",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
}


@dataclass(frozen=True)
class ForeignState:
    """The state of a network from a PaddlePaddle or PyTorch checkpoint.

    Attributes:
      arrays: the entries by name, without data-parallel prefixes. Floating-point entries are
        float32, others have the file's dtype; native byte order, possibly read-only.
      origin: "paddle" or "pytorch".
      notes: facts for a summary, such as "training checkpoint, epoch 3".
    """

    arrays: dict[str, np.ndarray]
    origin: str
    notes: list[str]


def read_state(path: str | os.PathLike) -> ForeignState:
    """Reads a network's state from a Paddle `.pdparams` or PyTorch `.pth` / `.pth.tar` file.

    The format is detected from the first bytes, not from the suffix. The file holds a state dict,
    or a training checkpoint with the state dict under `model` or `state_dict`. Paddle stores
    bfloat16 as uint16, which cannot be distinguished from integers and is not converted.

    Raises:
      FileNotFoundError: there is no such file.
      CheckpointError: (a ValueError) the file is damaged, in another format, names code that no
        checkpoint needs, or holds entries that are not arrays of plain numbers.
    """
    path = Path(path)
    if path.is_dir():
        kind = (
            "a model that needs no conversion" if (path / "model.json").exists() else "a directory"
        )
        raise CheckpointError(f"{path}: {kind}, expected a checkpoint file")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path}: a device or pipe, expected a checkpoint file")
    try:
        with path.open("rb") as file:
            return _read_open(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"{path}: needs more memory than is available") from error


def _read_open(file: BinaryIO) -> ForeignState:
    origin, contents, decode = _open(file)
    file_size = file.seek(0, 2)
    foreign = [str(name) for name in contents.foreign if name.module.partition(".")[0] != "torch"]
    state, notes = _find_state(contents.root)
    # `state` now has the only references to the text of protocol 2 arrays; decoding drops them one
    # by one, which saves memory.
    del contents
    state.pop(PARAMETER_NAMES, None)
    slices = state.pop(SLICED_ARRAYS, None)
    arrays = _decode_all(state, decode, 4 * file_size)
    if slices is not None:
        arrays = join_slices(arrays, slices)
        notes.append(f"{len(slices)} sliced arrays joined")
    arrays = _strip_prefixes(arrays, notes)
    arrays = _convert_all(arrays, notes)
    if foreign:
        notes.append(f"foreign classes ignored: {list_printable(foreign)}")
    return ForeignState(arrays, origin, notes)


def _open(file: BinaryIO) -> tuple[str, PickleContents, Callable[[Any], np.ndarray]]:
    """Detects the format from the first bytes; returns the origin, the contents and a decoder."""
    head = file.read(_HEAD)
    file.seek(0)
    if head.startswith(b"PK"):
        archive = read_zip(file)
        return "pytorch", archive.contents, archive.decode_tensor
    if LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
        archive = read_legacy(file)
        return "pytorch", archive.contents, archive.decode_tensor
    if head[257:262] == b"ustar":
        raise CheckpointError(
            "a tar archive of the first PyTorch releases; load it with PyTorch 1.6 or later on a "
            "machine where its code may run, and save its state dict with torch.save"
        )
    if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        raise CheckpointError(
            f"{_describe(head)}, expected a checkpoint of PaddlePaddle or PyTorch: a pickle of "
            "protocol 2 to 5, or a zip archive"
        )
    contents = read_pickle(file)
    if file.read(1):
        raise CheckpointError("more data after the end of the pickle")
    return "paddle", contents, decode_array


def _describe(head: bytes) -> str:
    if not head:
        return "an empty file"
    for start, name in _KNOWN_CONTENT.items():
        if head.lstrip().startswith(start):
            return name
    return f"begins with {head[:16]!r}"


def _find_state(root: Any) -> tuple[dict, list[str]]:
    """Returns a copy of the state dict in `root`, and notes on the other entries."""
    outer = _mapping(root)
    if outer is None:
        raise CheckpointError(f"found a {type(root).__name__}, expected a dict of names and arrays")
    found = [name for name in _STATE_ENTRIES if _mapping(outer.get(name)) is not None]
    if not found:
        return dict(outer), []
    if len(found) > 1:
        raise CheckpointError(f"both {found[0]} and {found[1]} hold a state")
    epoch = outer.get("epoch")
    notes = [f"training checkpoint, epoch {epoch}" if type(epoch) is int else "training checkpoint"]
    others = [
        str(name) for name in outer if isinstance(name, str) and name not in (*found, "epoch")
    ]
    if others:
        notes.append(f"entries ignored: {list_printable(others)}")
    return dict(_mapping(outer[found[0]]) or {}), notes


def _mapping(node: Any) -> dict | None:
    """The items of a dict or an OrderedDict; None for anything else."""
    if isinstance(node, dict):
        return node
    if not is_call(node, "collections.OrderedDict") or node.appended:
        return None
    match node.arguments:
        case ():
            return node.items
        case ([*pairs],) if not node.items:
            # Python 2 wrote one list of [key, value].
            lists = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2]
            names = {key for key, _ in lists if isinstance(key, str)}
            if len(names) == len(pairs):
                return dict(lists)
    return None


def _decode_all(
    state: dict, decode: Callable[[Any], np.ndarray], limit: int
) -> dict[str, np.ndarray]:
    """Decodes every entry and reports all failures together; empties `state` to free memory."""
    arrays: dict[str, np.ndarray] = {}
    faults = []
    total = 0
    for name in list(state):
        node = state.pop(name)
        try:
            if not isinstance(name, str):
                raise CheckpointError(f"a name of type {type(name).__name__}")
            arrays[name] = decode(node)
        except CheckpointError as error:
            faults.append(f"{printable(str(name))} ({error})")
            continue
        # Entries may share one block of data any number of times, and the conversion copies it.
        total += arrays[name].nbytes
        if total > limit:
            raise CheckpointError(
                "the entries share data: together they are more than 4 times the file's size"
            )
    if faults:
        raise CheckpointError(f"unusable entries ({len(faults)}): " + "; ".join(faults[:8]))
    if not arrays:
        raise CheckpointError("the state is empty")
    return arrays


def _strip_prefixes(arrays: dict[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray]:
    result: dict[str, np.ndarray] = {}
    stripped: dict[str, None] = {}
    twice = []
    for name, array in arrays.items():
        while name.startswith(_WRAPPERS):
            prefix, _, name = name.partition(".")
            stripped[f"{prefix}."] = None
        if name in result:
            twice.append(name)
        result[name] = array
    if twice:
        raise CheckpointError(f"entries with and without a prefix: {list_printable(twice)}")
    notes.extend(f"prefix {prefix} stripped" for prefix in stripped)
    return result


def _convert_all(arrays: dict[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray]:
    converted = {name: _convert(name, arrays[name]) for name in arrays}
    dtypes = {array.dtype.name for array in arrays.values() if _is_float(array)}
    notes.extend(f"{name} converted to float32" for name in sorted(dtypes - {"float32"}))
    return converted


def _is_float(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" or array.dtype.name == "bfloat16"


def _convert(name: str, array: np.ndarray) -> np.ndarray:
    """Converts to native byte order and C order, and floating point to float32."""
    if array.dtype.kind == "b":
        # Bytes other than 0 and 1 are not valid booleans.
        return np.asarray(array, order="C").view(np.uint8) != 0
    dtype = np.dtype(np.float32) if _is_float(array) else array.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):
        result = np.asarray(array, dtype=dtype, order="C")
    narrower = result.itemsize < array.itemsize
    if narrower and np.isinf(result).sum() > np.isinf(array).sum():
        raise CheckpointError(f"{printable(name)} has values beyond the range of float32")
    return result
