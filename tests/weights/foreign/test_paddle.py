"""Arrays of PaddlePaddle files against the numbers of pickle, and hostile arrays."""

import collections
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError
from tests.weights.foreign.checkpoint_files import (
    FRESH,
    PADDLE_FILES,
    RECONSTRUCT,
    Made,
    array_of,
    assert_same,
    write,
)

encode = __import__("_codecs").encode


class TrustingUnpickler(pickle.Unpickler):
    """Python's own pickle for the files of this project, with a stub for the classes of others."""

    def find_class(self, module, name):
        if module == "utils.metric":
            return type(name, (), {})
        return super().find_class(module, name)


def as_numpy_1(data: bytes) -> bytes:
    """Renames numpy._core to numpy.core in a pickle of at most one frame."""
    for name in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + name, b"numpy.core." + name
        data = data.replace(bytes([len(new)]) + new, bytes([len(old)]) + old).replace(new, old)
    if data[2:3] == b"\x95":
        data = data[:3] + (len(data) - 11).to_bytes(8, "little") + data[11:]
    return data


@pytest.mark.parametrize("path", PADDLE_FILES, ids=lambda path: path.stem)
def test_files_of_paddle_equal_what_pickle_reads(path):
    with path.open("rb") as file:
        expected = TrustingUnpickler(file, encoding="latin1").load()
    if "model" in expected:
        # The call tuple((name, array)) gives the pair.
        expected = {name: array for name, (_, array) in expected["model"].items()}
    expected.pop("StructuredToParameterName@@", None)
    state = read_state(path)
    assert state.origin == "paddle"
    assert len(state.arrays) == 6
    assert_same(state.arrays, expected)


LAYOUTS = {
    "c": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "permuted": np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(1, 2, 0),
    "strided": np.arange(10, dtype=np.float32)[::3],
    "big_endian": np.arange(3, dtype=">f4"),
    "scalar_array": np.array(2.5, np.float32),
    "scalar": np.float64(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "int64": np.array([1, -(2**62)]),
    "uint16_big_endian": np.array([1, 65535], ">u2"),
    "bool": np.array([True, False]),
}


@pytest.mark.parametrize("rename", [bytes, as_numpy_1], ids=["numpy2", "numpy1"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_layouts_and_protocols(tmp_path, protocol, rename):
    path = tmp_path / "state.pdparams"
    data = rename(pickle.dumps(LAYOUTS, protocol))
    assert (b"numpy._core" in data) == (rename is bytes)
    path.write_bytes(data)
    expected = {
        name: np.asarray(
            array, np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("=")
        )
        for name, array in LAYOUTS.items()
    }
    assert_same(read_state(path).arrays, expected)


@settings(max_examples=80)
@given(
    arrays_of.arrays(
        st.sampled_from(["<f2", "<f4", ">f8", "<i8", ">i4", "|u1", "|b1"]),
        arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4),
        elements=st.integers(0, 1),
    ),
    st.integers(2, 5),
)
def test_any_array(tmp_path_factory, array, protocol):
    path = write(tmp_path_factory.getbasetemp() / "any.pdparams", {"a": array}, protocol)
    read = read_state(path).arrays["a"]
    np.testing.assert_array_equal(read, array)
    assert read.dtype == (np.float32 if array.dtype.kind == "f" else array.dtype.newbyteorder("="))


def test_protocol_2_of_python_2(tmp_path):
    data = pickle.dumps({"a": np.float32([1, -2])}, 2)
    text = "X" + "\x06\x00\x00\x00" + "latin1"
    assert text.encode() in data
    raw = b"U\x08" + np.float32([1, -2]).tobytes()
    start = data.index(b"\x89h") + 1
    path = tmp_path / "python2.pdparams"
    path.write_bytes(data[:start] + raw + data[data.rindex(b"t", 0, -4) :])
    np.testing.assert_array_equal(read_state(path).arrays["a"], [1, -2])


def test_sliced_arrays_are_joined(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    state = {f"w@@.{i}": whole.ravel()[5 * i : 5 * i + 5] for i in range(3)}
    info = {"w": {"OriginShape": (3, 4), "slices": list(state)}}
    read = read_state(
        write(tmp_path / "a", {"b": np.ones(1), **state, "UnpackBigParamInfor@@": info}, 2)
    )
    assert read.notes[0] == "1 sliced arrays joined"
    assert_same(read.arrays, {"b": np.ones(1, np.float32), "w": whole})


SLICES = "UnpackBigParamInfor@@"
UNUSABLE_SLICES = [
    (3, f"{SLICES} has type int, expected a dict"),
    ({"w": 3}, f"{SLICES} has an unreadable entry 'w'"),
    ({3: {"OriginShape": (2,), "slices": ["p"]}}, f"{SLICES} has an unreadable entry '3'"),
    ({"w": {"OriginShape": (3,), "slices": ["p"]}}, "the slices of w do not fill its shape"),
    ({"w": {"OriginShape": (4,), "slices": ["p", "p"]}}, "the slices of w do not fill its shape"),
    ({"w": {"OriginShape": (-2, -1), "slices": ["p"]}}, "an impossible array shape"),
    ({"w": {"OriginShape": (2,), "slices": ["q"]}}, "slices of w are missing or of different"),
    ({"w": {"OriginShape": (0,), "slices": []}}, "the slices of w are unusable"),
    ({"p": {"OriginShape": (2,), "slices": ["p"]}}, "the slices of p are unusable"),
]


@pytest.mark.parametrize(("info", "message"), UNUSABLE_SLICES)
def test_unusable_slices_are_refused(tmp_path, info, message):
    path = write(tmp_path / "a", {"p": np.zeros(2), SLICES: info})
    with pytest.raises(CheckpointError, match=message):
        read_state(path)


SHAPE = "an impossible array shape"
STATE = "an array without the state"
PLAIN = "an array dtype that is not a plain number"
CALL = "array data from a call of _codecs.encode"
PAIR = r"a tuple other than \(name, array\)"
OLD_DTYPE = Made(np.dtype, ("f4", 0, 1))
HOSTILE_ARRAYS = {
    "too large": (array_of(shape=(50_000, 50_000)), "8 bytes of data for 10000000000 bytes"),
    "overflowing": (array_of(shape=(2**32, 2**32), data=b""), SHAPE),
    "hidden by a zero": (array_of(shape=(0, 2**62, 2**62), data=b""), SHAPE),
    "negative": (array_of(shape=(-1, -2)), SHAPE),
    "bool size": (array_of(shape=(True, 2)), SHAPE),
    "many axes": (array_of(shape=(1,) * 70, data=b"\0" * 4), SHAPE),
    "list shape": (array_of(shape=[2]), STATE),
    "short data": (array_of(data=b"\0" * 7), "7 bytes of data for 8 bytes of float32"),
    "long data": (array_of(data=b"\0" * 9), "9 bytes of data for 8 bytes of float32"),
    "wide text": (array_of(data="\u1234" * 8), "array data with characters beyond one byte"),
    "number data": (array_of(data=8), "array data of type int, expected bytes"),
    "object dtype": (array_of("O"), "dtype O, expected"),
    "structured dtype": (np.zeros(2, [("a", "f4")]), "dtype V4, expected"),
    "string dtype": (array_of("S4"), "dtype S4, expected"),
    "long double": (array_of("f16", shape=(1,), data=b"\0" * 16), "dtype f16, expected"),
    "dtype from a class": (array_of(np.ndarray), PLAIN),
    "dtype without state": (
        Made(RECONSTRUCT, FRESH, (1, (2,), OLD_DTYPE, False, b"\0" * 8)), PLAIN),
    "no dtype": (Made(RECONSTRUCT, FRESH, (1, (2,), "f4", False, b"\0" * 8)), PLAIN),
    "objects": (np.array([{}, 1], object), "dtype O8, expected"),
    "no state": (Made(RECONSTRUCT, FRESH), STATE),
    "another class": (
        Made(RECONSTRUCT, (collections.OrderedDict, (0,), b"b"), (1, (2,), 0, False, b"")),
        "an array that is not made from numpy.ndarray"),
    "a codec": (array_of(data=Made(encode, ("abc", "rot13"))), CALL),
    "a codec error handler": (array_of(data=Made(encode, ("a" * 8, "latin1", "x"))), CALL),
    "tuple of three": (Made(tuple, (("a", np.zeros(1), 1),)), PAIR),
    "tuple in a tuple": (Made(tuple, (("a", Made(tuple, (("b", np.zeros(1)),))),)), PAIR),
    "bare dtype": (np.dtype("f4"), "numpy.dtype, expected an array"),
    "ordered dict with arguments": (
        Made(collections.OrderedDict, ([1, 2],)), "collections.OrderedDict, expected an array"),
    "datetime": (np.array(["2020-01-01"], "M8[D]"), "dtype M8, expected"),
    "complex": (np.zeros(2, complex), "dtype c16, expected"),
}  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", HOSTILE_ARRAYS)
def test_hostile_arrays_are_refused_by_entry(tmp_path, kind, protocol):
    array, message = HOSTILE_ARRAYS[kind]
    path = write(tmp_path / "a.pdparams", {"poison": array}, protocol)
    assert path.stat().st_size < 1024
    match = rf"a\.pdparams: unusable entries \(1\): poison \({message}"
    with pytest.raises(CheckpointError, match=match):
        read_state(path)


def test_the_valid_array_of_these_tests_is_accepted(tmp_path):
    state = read_state(write(tmp_path / "a", {"good": array_of()}))
    np.testing.assert_array_equal(state.arrays["good"], np.zeros(2))
