"""Foreign checkpoints against the numbers of the libraries that wrote them, and hostile ones."""

import collections
import contextlib
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError
from fcfrnet_jax.weights.foreign.read import read_state

DATA = Path(__file__).parents[2] / "fixtures"
PADDLE_FILES = sorted((DATA / "paddle").glob("*.pdparams"))
TORCH_FILES = sorted([*(DATA / "torch").glob("*_zip.pth.tar"), *(DATA / "torch").glob("*.pth")])
RECONSTRUCT = np.zeros(1).__reduce__()[0]
FRESH = (np.ndarray, (0,), b"b")


class TrustingUnpickler(pickle.Unpickler):
    """Python's own pickle for the files of this project, with a stub for the classes of others."""

    def find_class(self, module, name):
        if module == "utils.metric":
            return type(name, (), {})
        return super().find_class(module, name)


class Made:
    """Pickles as a call of `function` with `arguments`, followed by BUILD with `state`."""

    def __init__(self, function, arguments, state=None):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def write(path: Path, value, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def as_numpy_1(data: bytes) -> bytes:
    """Renames numpy._core to numpy.core in a pickle of at most one frame."""
    for name in (b"multiarray", b"numeric"):
        new, old = b"numpy._core." + name, b"numpy.core." + name
        data = data.replace(bytes([len(new)]) + new, bytes([len(old)]) + old).replace(new, old)
    if data[2:3] == b"\x95":
        data = data[:3] + (len(data) - 11).to_bytes(8, "little") + data[11:]
    return data


def assert_same(actual: dict, expected: dict):
    assert list(actual) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name], strict=True, err_msg=name)
        assert actual[name].dtype.isnative


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


def test_notes_of_a_paddle_training_checkpoint():
    assert read_state(DATA / "paddle" / "tiny_train.pdparams").notes == [
        "training checkpoint, epoch 3",
        "entries ignored: best_result, optimizer, args",
        "foreign classes ignored: utils.metric.Result",
    ]


@pytest.mark.parametrize("path", TORCH_FILES, ids=lambda path: path.name)
def test_files_of_torch_equal_what_torch_has(path):
    with np.load(path.with_name(path.name.split("_")[0] + ".npz")) as file:
        expected = {name.removeprefix("module."): file[name] for name in file.files}
    state = read_state(path)
    assert state.origin == "pytorch"
    assert_same(state.arrays, expected)


@pytest.mark.parametrize("kind", ["zip.pth.tar", "legacy.pth"])
def test_notes_of_torch_files(kind):
    assert read_state(DATA / "torch" / f"training_{kind}").notes == [
        "training checkpoint, epoch 7",
        "entries ignored: optimizer, args",
        "prefix module. stripped",
    ]
    assert read_state(DATA / "torch" / f"odd_{kind}").notes == [
        f"{name} converted to float32" for name in ("bfloat16", "float16", "float64")
    ]


def test_neither_library_is_imported():
    source = (
        "import sys; sys.modules.update(torch=None, paddle=None, utils=None)\n"
        "from fcfrnet_jax.weights.foreign.read import read_state\n"
        "before = set(sys.modules)\n"
        "for path in sys.argv[1:]: read_state(path)\n"
        "print(sorted(set(sys.modules) - before))"
    )
    files = [*map(str, PADDLE_FILES), *map(str, TORCH_FILES)]
    done = subprocess.run([sys.executable, "-c", source, *files], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


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


@settings(max_examples=80, deadline=None)
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


def test_ordered_dict_of_python_2(tmp_path):
    value = Made(collections.OrderedDict, ([["a", np.zeros(2)], ["b", np.ones(1)]],))
    assert list(read_state(write(tmp_path / "a", {"state_dict": value})).arrays) == ["a", "b"]


def test_sliced_arrays_are_joined(tmp_path):
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    state = {f"w@@.{i}": whole.ravel()[5 * i : 5 * i + 5] for i in range(3)}
    info = {"w": {"OriginShape": (3, 4), "slices": list(state)}}
    read = read_state(
        write(tmp_path / "a", {"b": np.ones(1), **state, "UnpackBigParamInfor@@": info}, 2)
    )
    assert read.notes[0] == "1 sliced arrays joined"
    assert_same(read.arrays, {"b": np.ones(1, np.float32), "w": whole})


@pytest.mark.parametrize(
    "info",
    [
        3,
        {"w": 3},
        {"w": {"OriginShape": (3,), "slices": ["p"]}},
        {"w": {"OriginShape": (4,), "slices": ["p", "p"]}},
        {"w": {"OriginShape": (2,), "slices": ["q"]}},
        {"w": {"OriginShape": (0,), "slices": []}},
        {"w": {"OriginShape": (-2, -1), "slices": ["p"]}},
        {"p": {"OriginShape": (2,), "slices": ["p"]}},
        {3: {"OriginShape": (2,), "slices": ["p"]}},
    ],
)
def test_unusable_slices_are_refused(tmp_path, info):
    path = write(tmp_path / "a", {"p": np.zeros(2), "UnpackBigParamInfor@@": info})
    with pytest.raises(CheckpointError, match=r"slices|UnpackBig|shape"):
        read_state(path)


def test_prefixes_are_stripped_wherever_they_stand(tmp_path):
    names = ["module.a", "_layers.module.b.module.c", "d"]
    state = read_state(write(tmp_path / "a", dict.fromkeys(names, np.zeros(1))))
    assert list(state.arrays) == ["a", "b.module.c", "d"]
    assert {"prefix module. stripped", "prefix _layers. stripped"} <= set(state.notes)
    with pytest.raises(CheckpointError, match="with and without a prefix: a"):
        read_state(write(tmp_path / "a", {"a": np.zeros(1), "module.a": np.ones(1)}))


def test_float64_beyond_float32_is_refused(tmp_path):
    np.testing.assert_array_equal(
        read_state(write(tmp_path / "a", {"w": np.array([np.inf, 1e-300])})).arrays["w"],
        [np.inf, 0],
    )
    with pytest.raises(CheckpointError, match="w has values beyond"):
        read_state(write(tmp_path / "a", {"w": np.array([1e300])}))


def test_all_unusable_entries_are_named_at_once(tmp_path):
    path = write(tmp_path / "a.pdparams", {"x": 1, "y": np.zeros(1), "z": np.array(["text"])})
    with pytest.raises(
        CheckpointError, match=r"a\.pdparams: unusable entries .2.: x \(int.*z \(dtype U4"
    ):
        read_state(path)


def array_of(dtype="f4", shape=(2,), data=b"\0" * 8, order=False):
    dtype = Made(np.dtype, (dtype, False, True), (3, "<", None, None, None, -1, -1, 0))
    return Made(RECONSTRUCT, FRESH, (1, shape, dtype, order, data))


HOSTILE_ARRAYS = {
    "too large": array_of(shape=(50_000, 50_000)),
    "overflowing": array_of(shape=(2**32, 2**32), data=b""),
    "hidden by a zero": array_of(shape=(0, 2**62, 2**62), data=b""),
    "negative": array_of(shape=(-1, -2)),
    "bool size": array_of(shape=(True, 2)),
    "many axes": array_of(shape=(1,) * 70, data=b"\0" * 4),
    "list shape": array_of(shape=[2]),
    "short data": array_of(data=b"\0" * 7),
    "long data": array_of(data=b"\0" * 9),
    "wide text": array_of(data="\u1234" * 8),
    "number data": array_of(data=8),
    "object dtype": array_of("O"),
    "structured dtype": np.zeros(2, [("a", "f4")]),
    "string dtype": array_of("S4"),
    "long double": array_of("f16", shape=(1,), data=b"\0" * 16),
    "dtype from a class": array_of(np.ndarray),
    "dtype without state": Made(
        RECONSTRUCT, FRESH, (1, (2,), Made(np.dtype, ("f4", 0, 1)), False, b"\0" * 8)
    ),
    "no dtype": Made(RECONSTRUCT, FRESH, (1, (2,), "f4", False, b"\0" * 8)),
    "objects": np.array([{}, 1], object),
    "no state": Made(RECONSTRUCT, FRESH),
    "another class": Made(
        RECONSTRUCT, (collections.OrderedDict, (0,), b"b"), (1, (2,), 0, False, b"")
    ),
    "a codec": array_of(data=Made(__import__("_codecs").encode, ("abc", "rot13"))),
    "a codec error handler": array_of(
        data=Made(__import__("_codecs").encode, ("a" * 8, "latin1", "x"))
    ),
    "tuple of three": Made(tuple, (("a", np.zeros(1), 1),)),
    "tuple in a tuple": Made(tuple, (("a", Made(tuple, (("b", np.zeros(1)),))),)),
    "bare dtype": np.dtype("f4"),
    "ordered dict with arguments": Made(collections.OrderedDict, ([1, 2],)),
    "datetime": np.array(["2020-01-01"], "M8[D]"),
    "complex": np.zeros(2, complex),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", HOSTILE_ARRAYS)
def test_hostile_arrays_are_refused_by_entry(tmp_path, kind, protocol):
    path = write(tmp_path / "a.pdparams", {"poison": HOSTILE_ARRAYS[kind]}, protocol)
    assert path.stat().st_size < 1024
    with pytest.raises(CheckpointError, match=r"a\.pdparams: unusable entries \(1\): poison \("):
        read_state(path)


def test_the_well_made_array_of_these_tests_is_accepted(tmp_path):
    state = read_state(write(tmp_path / "a", {"good": array_of()}))
    np.testing.assert_array_equal(state.arrays["good"], np.zeros(2))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "found a list, expected a dict"),
        ({}, "the state is empty"),
        ({1: np.zeros(1)}, "a name of type int"),
        ({"model": {}, "state_dict": {}}, "both model and state_dict"),
        ({"net": {"w": np.zeros(1)}}, r"net \(dict, expected an array"),
        (dict.fromkeys(map(str, range(500)), np.zeros(10_000)), "the entries share data"),
    ],
)
def test_other_contents_are_refused(tmp_path, value, message):
    with pytest.raises(CheckpointError, match=message):
        read_state(write(tmp_path / "a", value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>404</html>", "a web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG image"),
        (b"hello there\n", "begins with b'hello there"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x80\x09K\x01.", "begins with"),
        (b"PK\x03\x04" + bytes(100), "damaged zip archive"),
        (b"\x80\x04N.N", "more data after the end"),
    ],
)
def test_other_files_are_described(tmp_path, content, message):
    path = tmp_path / "model.pdparams"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_state(path)
    assert str(path) in str(caught.value)


def test_directories_missing_files_and_other_archives(tmp_path):
    with pytest.raises(CheckpointError, match="a directory"):
        read_state(tmp_path)
    with pytest.raises(CheckpointError, match="a device or pipe"):
        read_state("/dev/null")
    with pytest.raises(FileNotFoundError):
        read_state(tmp_path / "absent.pdparams")
    with pytest.raises(CheckpointError, match=r"TorchScript.*torch\.jit\.load"):
        read_state(DATA / "torch" / "torchscript.pt")
    with tarfile.open(tmp_path / "old.pth.tar", "w") as archive:
        archive.add(PADDLE_FILES[0], "pickle")
    with pytest.raises(CheckpointError, match=r"tar archive.*PyTorch 1\.6"):
        read_state(tmp_path / "old.pth.tar")


def values(*items) -> bytes:
    """The opcodes that push `items`."""
    return b"".join(pickle.dumps(item, 2)[2:-1] for item in items)


def tensor(offset=0, sizes=(4, 6), strides=(6, 1), key="0", count=24, kind="FloatStorage") -> bytes:
    """The pickle {"w": tensor}, written opcode by opcode so that it needs no PyTorch."""
    storage = (
        b"(" + values("storage") + f"ctorch\n{kind}\n".encode() + values(key, "cpu", count) + b"tQ"
    )
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + values(offset, sizes, strides, False)
    return b"\x80\x02}" + values("w") + call + b"ccollections\nOrderedDict\n)RtRs."


def write_zip(path: Path, content: bytes, extra: dict | None = None, compression=0) -> Path:
    entries = {"data/0": np.arange(24, dtype="<f4").tobytes(), "data.pkl": content, **(extra or {})}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"model/{name}", data)
    return path


def test_the_well_made_tensor_of_these_tests_is_accepted(tmp_path):
    read = read_state(write_zip(tmp_path / "a", tensor(1, (2, 3), (1, 7)))).arrays["w"]
    np.testing.assert_array_equal(read, [[1, 8, 15], [2, 9, 16]])
    big = {"byteorder": b"big", "data/1": np.arange(24, dtype=">f4").tobytes()}
    read = read_state(write_zip(tmp_path / "a", tensor(key="1"), big)).arrays["w"]
    np.testing.assert_array_equal(read, np.arange(24).reshape(4, 6))


HOSTILE_TENSORS = {
    "expanded to 10 GB": {"sizes": (50_000, 50_000), "strides": (0, 0)},
    "expanded a little": {"sizes": (5, 5), "strides": (0, 1)},
    "beyond the end": {"offset": 1},
    "offset beyond": {"offset": 25, "sizes": (), "strides": ()},
    "negative offset": {"offset": -1, "sizes": (2,), "strides": (1,)},
    "negative stride": {"offset": 5, "sizes": (2,), "strides": (-1,)},
    "negative size": {"sizes": (-4, -6)},
    "huge stride": {"sizes": (2,), "strides": (2**100,)},
    "huge empty": {"sizes": (0, 2**100), "strides": (1, 1)},
    "bool size": {"sizes": (True,), "strides": (1,)},
    "too few strides": {"strides": (1,)},
    "many axes": {"sizes": (1,) * 70, "strides": (1,) * 70},
    "count larger than the data": {"count": 2**40},
    "count smaller than the data": {"count": 4, "sizes": (4,), "strides": (1,)},
    "another type": {"kind": "DoubleStorage"},
    "an unknown type": {"kind": "ComplexFloatStorage"},
    "absent storage": {"key": "7"},
    "path as a key": {"key": "../../etc/passwd"},
}


@pytest.mark.parametrize("kind", HOSTILE_TENSORS)
def test_hostile_tensors_are_refused(tmp_path, kind):
    path = write_zip(tmp_path / "a.pth", tensor(**HOSTILE_TENSORS[kind]))
    with pytest.raises(CheckpointError, match=r"a\.pth: .*(storage|sizes|archive)"):
        read_state(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"extra": {"constants.pkl": b""}}, "TorchScript"),
        ({"extra": {"other/data.pkl": b"N."}}, "without PyTorch's"),
        ({"content": b"\x80\x02cos\nsystem\n."}, r"os\.system"),
    ],
)
def test_hostile_archives_are_refused(tmp_path, change, message):
    change = {"content": tensor(), **change}
    with pytest.raises(CheckpointError, match=message):
        read_state(write_zip(tmp_path / "a.pth", **change))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_twice_is_refused(tmp_path):
    path = write_zip(tmp_path / "a.pth", tensor())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/0", b"")
    with pytest.raises(CheckpointError, match="two entries of the same name"):
        read_state(path)


@pytest.mark.parametrize("path", [*PADDLE_FILES, *TORCH_FILES], ids=lambda path: path.name)
def test_every_truncation_is_an_error(tmp_path, path):
    data = path.read_bytes()
    cut = tmp_path / path.name
    # Every byte of the smaller files, every fifth of those with an optimizer.
    for size in range(0, len(data), 1 if len(data) < 2000 else 5):
        cut.write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            read_state(cut)


@pytest.mark.filterwarnings("ignore:invalid")
@settings(
    max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from([*PADDLE_FILES, *TORCH_FILES]), st.data())
def test_mutated_files_are_read_or_refused(tmp_path, path, data):
    content = bytearray(path.read_bytes())
    places = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255))
    for place, byte in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[place] = byte
    mutated = tmp_path / "mutated"
    mutated.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        assert read_state(mutated).arrays


def test_10_gb_announced_in_1_kb_takes_no_memory(tmp_path):
    source = (
        "import resource, sys\n"
        "from fcfrnet_jax.weights.foreign.read import read_state\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))\n"
        "for path in sys.argv[1:]:\n"
        "    try: read_state(path)\n"
        "    except ValueError as error: print(error)\n"
    )
    files = [
        write(tmp_path / "shape", {"w": array_of(shape=(50_000, 50_000))}),
        write_zip(tmp_path / "expanded", tensor(sizes=(50_000, 50_000), strides=(0, 0))),
        write_zip(tmp_path / "count", tensor(count=10**10)),
    ]
    done = subprocess.run([sys.executable, "-c", source, *files], capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3), done.stderr
    assert "memory" not in done.stdout
