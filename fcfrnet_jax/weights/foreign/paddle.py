"""NumPy arrays as PaddlePaddle pickles them, decoded from inert nodes.

`paddle.save` writes a plain pickle. A parameter is a NumPy array in a state dict, and inside a
larger object the call `tuple((name, array))`. Before protocol 4, arrays beyond 1 GiB are split into
slices.
"""

import math
from typing import Any

import numpy as np

from fcfrnet_jax.weights.foreign.pickle_nodes import (
    Call,
    CheckpointError,
    Global,
    is_call,
    is_possible_shape,
    printable_name,
)

# Entries that Paddle adds to a state dict: the names of the parameters, and the sliced arrays.
PARAMETER_NAMES = "StructuredToParameterName@@"
SLICED_ARRAYS = "UnpackBigParamInfor@@"

_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


def decode_array(node: Any) -> np.ndarray:
    """Decodes one array in the byte order of the file; the result may be read-only.

    Accepts NumPy's two ways of pickling an array (`_reconstruct` with a state; `_frombuffer` of
    protocol 5), NumPy scalars, and Paddle's `tuple((name, array))`, of floats, integers or bools.

    Raises:
      CheckpointError: anything else, or data that do not fill the declared shape exactly.
    """
    if is_call(node, "builtins.tuple", "__builtin__.tuple") and node.is_plain():
        match node.arguments:
            case ((str(), value),) if isinstance(value, Call):
                if not is_call(value, "builtins.tuple", "__builtin__.tuple"):
                    return decode_array(value)
        raise CheckpointError("a tuple other than (name, array)")
    if is_call(node, *_numpy("multiarray._reconstruct")):
        return _from_state(node)
    if is_call(node, *_numpy("numeric._frombuffer")) and node.is_plain():
        return _from_buffer(node.arguments)
    if is_call(node, *_numpy("multiarray.scalar")) and node.is_plain() and len(node.arguments) == 2:
        return _view(node.arguments[1], node.arguments[0], (), "C")
    what = str(node.function) if isinstance(node, Call) else type(node).__name__
    raise CheckpointError(f"{printable_name(what)}, expected an array")


def join_slices(arrays: dict[str, np.ndarray], slices: Any) -> dict[str, np.ndarray]:
    """Joins sliced arrays, as Paddle's `_pack_loaded_dict` does.

    Args:
      arrays: the decoded entries of the state, including the slices.
      slices: the entry `UnpackBigParamInfor@@`: name -> {"OriginShape": tuple, "slices": [names]}.

    Raises:
      CheckpointError: an unusable entry, a missing or repeated slice, or sizes that do not add up.
    """
    joined = dict(arrays)
    if not isinstance(slices, dict):
        raise CheckpointError(f"{SLICED_ARRAYS} has type {type(slices).__name__}, expected a dict")
    for name, entry in slices.items():
        match entry:
            case {"OriginShape": tuple() as shape, "slices": [*parts]} if isinstance(name, str):
                pass
            case _:
                raise CheckpointError(
                    f"{SLICED_ARRAYS} has an unreadable entry {printable_name(str(name))!r}"
                )
        if name in joined or not parts or not all(isinstance(part, str) for part in parts):
            raise CheckpointError(f"the slices of {printable_name(name)} are unusable")
        missing = [part for part in parts if part not in joined]
        if missing or len({joined[part].dtype for part in parts}) > 1:
            raise CheckpointError(
                f"slices of {printable_name(name)} are missing or of different dtypes"
            )
        values = [joined.pop(part).ravel() for part in dict.fromkeys(parts)]
        if len(values) != len(parts) or sum(map(len, values)) != _count(shape):
            raise CheckpointError(f"the slices of {printable_name(name)} do not fill its shape")
        joined[name] = np.concatenate(values).reshape(shape)
    return joined


def _numpy(name: str) -> tuple[str, str]:
    """The name before and after NumPy 2 renamed its core."""
    return f"numpy.core.{name}", f"numpy._core.{name}"


def _from_state(node: Call) -> np.ndarray:
    match node.arguments:
        case (Global("numpy", "ndarray"), (0,), letter) if _data(letter, 1) == b"b":
            pass
        case _:
            raise CheckpointError("an array that is not made from numpy.ndarray")
    match node.state:
        case (1, tuple() as shape, dtype, bool() as fortran, data) if not (
            node.items or node.appended
        ):
            return _view(data, dtype, shape, "F" if fortran else "C")
    raise CheckpointError("an array without the state (1, shape, dtype, order, data)")


def _from_buffer(arguments: tuple) -> np.ndarray:
    match arguments:
        case (data, dtype, tuple() as shape, "C" | "F" as order):
            return _view(data, dtype, shape, order)
        case (data, dtype, tuple() as shape, "C" | "F" as order, None):
            return _view(data, dtype, shape, order)
        case (data, dtype, tuple() as shape, "K", tuple() as axes):
            array = _view(data, dtype, shape, "C")
            plain = len(axes) == array.ndim and all(type(axis) is int for axis in axes)
            if not plain or sorted(axes) != [*range(array.ndim)]:
                raise CheckpointError("an array whose axes are not a permutation")
            return array.transpose(axes)
    raise CheckpointError("an array buffer without (data, dtype, shape, order)")


def _view(data: Any, dtype_node: Any, shape: tuple, order: Any) -> np.ndarray:
    dtype = _dtype(dtype_node)
    size = _count(shape) * dtype.itemsize
    raw = _data(data, size)
    if len(raw) != size or isinstance(raw, str):
        raise CheckpointError(
            f"{len(raw)} bytes of data for {size} bytes of {dtype} {printable_name(str(shape))}"
        )
    return np.frombuffer(raw, dtype).reshape(shape, order=order)


def _count(shape: tuple) -> int:
    """Returns the number of elements of a valid shape."""
    if not is_possible_shape(shape):
        raise CheckpointError("an impossible array shape")
    return math.prod(shape)


def _dtype(node: Any) -> np.dtype:
    if is_call(node, "numpy.dtype") and not (node.items or node.appended):
        match node.arguments:
            case (str() as code, _, _) if code not in _DTYPES:
                raise CheckpointError(
                    f"dtype {printable_name(code)}, expected one of {' '.join(_DTYPES)}"
                )
            case (str() as code, _, _):
                match node.state:
                    case (3, "<" | ">" | "|" as order, None, None, None, -1, -1, 0):
                        return np.dtype(order + code)
    raise CheckpointError("an array dtype that is not a plain number")


def _data(node: Any, size: int) -> bytes | bytearray | str:
    """The bytes of an array: bytes, Python 2's str, or protocol 2's `_codecs.encode`.

    Text of another length than `size` is returned as text: thousands of arrays may share it.
    """
    if isinstance(node, bytes | bytearray):
        return node
    text = node
    if isinstance(node, Call):
        match node.arguments:
            case (str() as text, "latin1" | "latin-1") if is_call(node, "_codecs.encode"):
                pass
            case () if is_call(node, "builtins.bytes", "__builtin__.bytes"):
                return b""
            case _:
                what = printable_name(node.function)
                raise CheckpointError(f"array data from a call of {what}")
    if not isinstance(text, str):
        raise CheckpointError(f"array data of type {type(text).__name__}, expected bytes")
    if len(text) != size:
        return text
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise CheckpointError("array data with characters beyond one byte") from None
