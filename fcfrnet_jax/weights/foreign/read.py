"""Reads PaddlePaddle and PyTorch checkpoints as arrays, without either library.

The files are untrusted: nothing that they name is imported or called (see `pickle_reader`).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fcfrnet_jax.text import printable
from fcfrnet_jax.weights.foreign.budget import Budget
from fcfrnet_jax.weights.foreign.formats import describe
from fcfrnet_jax.weights.foreign.paddle import (
    PARAMETER_NAMES,
    SLICED_ARRAYS,
    decode_array,
    join_slices,
)
from fcfrnet_jax.weights.foreign.pickle_nodes import (
    CheckpointError,
    PickleContents,
    list_printable,
    printable_name,
)
from fcfrnet_jax.weights.foreign.pickle_reader import read_pickle
from fcfrnet_jax.weights.foreign.states import MAX_NAME, find_state, strip_prefixes
from fcfrnet_jax.weights.foreign.torch import LEGACY_MAGIC, read_legacy, read_zip

_HEAD = 4096
# The state dicts of these networks have at most 400 entries.
_DECODE_OPERATIONS = 16
_MAX_FAULTS = 20


@dataclass(frozen=True)
class ForeignState:
    """The state of a network from a PaddlePaddle or PyTorch checkpoint.

    Attributes:
      arrays: the entries by name, without the prefixes of wrappers. Floating-point entries are
        float32, others have the file's dtype; native byte order, possibly read-only.
      origin: "paddle" or "pytorch".
      notes: facts for a summary, such as "training checkpoint, epoch 3".
    """

    arrays: dict[str, np.ndarray]
    origin: str
    notes: list[str]


def read_state(
    path: str | os.PathLike,
    name: str | None = None,
    accept: Callable[[dict[str, np.ndarray]], object] | None = None,
) -> ForeignState:
    """Reads a network's state from a Paddle `.pdparams` or PyTorch `.pth` / `.pth.tar` file.

    The format is detected from the first bytes, not from the suffix. The file holds a state dict,
    or a training checkpoint with the state dict under a usual name, such as `model`. Paddle stores
    bfloat16 as uint16, which cannot be distinguished from integers and is not converted.

    Time and memory are bounded, see `Budget`: no file takes more than 250,000 operations and 40 MiB
    beyond its arrays.

    Args:
      path: the file.
      name: the entry that holds the state dict; None for the usual names.
      accept: called with the arrays before their conversion to float32, which may double their
        memory; raises ValueError for a state that is not wanted.

    Raises:
      FileNotFoundError: there is no such file.
      CheckpointError: (a ValueError) the file is damaged, in another format, names code that no
        checkpoint needs, or holds entries that are not arrays of plain numbers.
    """
    path = Path(path)
    shown = printable(path)
    if path.is_dir():
        kind = (
            "a model that needs no conversion" if (path / "model.json").exists() else "a directory"
        )
        raise CheckpointError(f"{shown}: {kind}, expected a checkpoint file")
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{shown}: a device or pipe, expected a checkpoint file")
    try:
        with path.open("rb") as file:
            return _read_open(file, path.suffix, name, accept)
    except ValueError as error:
        raise CheckpointError(f"{shown}: {error}") from error
    except MemoryError as error:
        raise CheckpointError(f"{shown}: needs more memory than is available") from error


def _read_open(
    file: BinaryIO,
    suffix: str,
    name: str | None,
    accept: Callable[[dict[str, np.ndarray]], object] | None,
) -> ForeignState:
    budget = Budget(file.seek(0, 2))
    origin, contents, decode = _open(file, suffix, budget)
    foreign = [name for name in contents.foreign if name.module.partition(".")[0] != "torch"]
    state, notes = find_state(contents.root, name)
    # `state` now has the only references to the text of protocol 2 arrays; decoding drops them one
    # by one, which saves memory.
    del contents
    state.pop(PARAMETER_NAMES, None)
    slices = state.pop(SLICED_ARRAYS, None)
    arrays = _decode_all(state, decode, budget)
    if slices is not None:
        arrays = join_slices(arrays, slices)
        notes.append(f"{len(slices)} sliced arrays joined")
    arrays = strip_prefixes(arrays, notes)
    if accept is not None:
        accept(arrays)
    arrays = _convert_all(arrays, notes)
    if foreign:
        notes.append(f"foreign classes ignored: {list_printable(foreign)}")
    return ForeignState(arrays, origin, notes)


def _open(
    file: BinaryIO, suffix: str, budget: Budget
) -> tuple[str, PickleContents, Callable[[Any], np.ndarray]]:
    """Detects the format from the first bytes; returns the origin, the contents and a decoder."""
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if head.startswith(b"PK"):
        archive = read_zip(file, budget)
        return "pytorch", archive.contents, archive.decode_tensor
    if LEGACY_MAGIC.to_bytes(10, "little") in head[:32]:
        archive = read_legacy(file, budget)
        return "pytorch", archive.contents, archive.decode_tensor
    if len(head) < 2 or head[0] != 0x80 or not 2 <= head[1] <= 5:
        raise CheckpointError(describe(head, suffix))
    contents = read_pickle(file, budget=budget)
    if file.read(1):
        raise CheckpointError("more data after the end of the pickle")
    return "paddle", contents, decode_array


def _decode_all(
    state: dict, decode: Callable[[Any], np.ndarray], budget: Budget
) -> dict[str, np.ndarray]:
    """Decodes every entry and reports failures together; empties `state` to free memory."""
    arrays: dict[str, np.ndarray] = {}
    faults = []
    for name in list(state):
        node = state.pop(name)
        budget.spend(_DECODE_OPERATIONS)
        try:
            if not isinstance(name, str):
                raise CheckpointError(f"a name of type {type(name).__name__}")
            if len(name) > MAX_NAME:
                raise CheckpointError(f"a name of {len(name)} characters")
            arrays[name] = decode(node)
        except CheckpointError as error:
            faults.append(f"{printable_name(name)} ({error})")
            if len(faults) == _MAX_FAULTS:
                break
            continue
        budget.copy(arrays[name].nbytes)
    if faults:
        count = f"{len(faults)}{' or more' if len(faults) == _MAX_FAULTS else ''}"
        raise CheckpointError(f"unusable entries ({count}): " + "; ".join(faults[:8]))
    if not arrays:
        raise CheckpointError("the state is empty")
    return arrays


def _convert_all(arrays: dict[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray]:
    dtypes = {array.dtype.name for array in arrays.values() if _is_float(array)}
    # Each array is freed when it has been converted.
    converted = {name: _convert(name, arrays.pop(name)) for name in list(arrays)}
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
        raise CheckpointError(f"{printable_name(name)} has values beyond the range of float32")
    return result
