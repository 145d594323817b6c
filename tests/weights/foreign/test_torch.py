"""Tensors of PyTorch files against the numbers of PyTorch, and hostile files."""

import zipfile

import numpy as np
import pytest

from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError
from tests.weights.foreign.checkpoint_files import (
    FILES,
    TORCH_FILES,
    assert_same,
    tensor,
    write_zip,
)


@pytest.mark.parametrize("path", TORCH_FILES, ids=lambda path: path.name)
def test_files_of_torch_equal_what_torch_has(path):
    with np.load(path.with_name(path.name.split("_")[0] + ".npz")) as file:
        expected = {name.removeprefix("module."): file[name] for name in file.files}
    state = read_state(path)
    assert state.origin == "pytorch"
    assert_same(state.arrays, expected)


@pytest.mark.parametrize("kind", ["zip.pth.tar", "legacy.pth"])
def test_notes_of_torch_files(kind):
    assert read_state(FILES / "torch" / f"training_{kind}").notes == [
        "training checkpoint, epoch 7",
        "entries ignored: optimizer, args",
        "prefix module. stripped",
    ]
    assert read_state(FILES / "torch" / f"odd_{kind}").notes == [
        f"{name} converted to float32" for name in ("bfloat16", "float16", "float64")
    ]


def test_the_valid_tensor_of_these_tests_is_accepted(tmp_path):
    read = read_state(write_zip(tmp_path / "a", tensor(1, (2, 3), (1, 7)))).arrays["w"]
    np.testing.assert_array_equal(read, [[1, 8, 15], [2, 9, 16]])
    big = {"byteorder": b"big", "data/1": np.arange(24, dtype=">f4").tobytes()}
    read = read_state(write_zip(tmp_path / "a", tensor(key="1"), big)).arrays["w"]
    np.testing.assert_array_equal(read, np.arange(24).reshape(4, 6))


SIZES = "a tensor with impossible sizes or strides"
HOSTILE_TENSORS = {
    "expanded to 10 GB": (
        {"sizes": (50_000, 50_000), "strides": (0, 0)}, r"a tensor of \(50000, 50000\) beyond a"),
    "expanded a little": ({"sizes": (5, 5), "strides": (0, 1)}, r"a tensor of \(5, 5\) beyond a"),
    "beyond the end": ({"offset": 1}, r"a tensor of \(4, 6\) beyond a storage of 24"),
    "offset beyond": (
        {"offset": 25, "sizes": (), "strides": ()}, r"a tensor of \(\) beyond a storage of 24"),
    "negative offset": ({"offset": -1, "sizes": (2,), "strides": (1,)}, SIZES),
    "negative stride": ({"offset": 5, "sizes": (2,), "strides": (-1,)}, SIZES),
    "negative size": ({"sizes": (-4, -6)}, SIZES),
    "huge stride": ({"sizes": (2,), "strides": (2**100,)}, r"a tensor of \(2,\) beyond a storage"),
    "huge empty": ({"sizes": (0, 2**100), "strides": (1, 1)}, SIZES),
    "bool size": ({"sizes": (True,), "strides": (1,)}, SIZES),
    "too few strides": ({"strides": (1,)}, SIZES),
    "many axes": ({"sizes": (1,) * 70, "strides": (1,) * 70}, SIZES),
    "large count": ({"count": 2**40}, "storage 0 has 96 bytes for 1099511627776 x f4"),
    "small count": (
        {"count": 4, "sizes": (4,), "strides": (1,)}, "storage 0 has 96 bytes for 4 x f4"),
    "another type": ({"kind": "DoubleStorage"}, "storage 0 has 96 bytes for 24 x f8"),
    "an unknown type": (
        {"kind": "ComplexFloatStorage"}, r"a storage of type torch\.ComplexFloatStorage"),
    "absent storage": ({"key": "7"}, "no item named .*model/data/7"),
    "path as a key": ({"key": "../../etc/passwd"}, r"no item named .*model/data/\.\./"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE_TENSORS)
def test_hostile_tensors_are_refused_by_entry(tmp_path, kind):
    changes, message = HOSTILE_TENSORS[kind]
    path = write_zip(tmp_path / "a.pth", tensor(**changes))
    with pytest.raises(CheckpointError, match=rf"a\.pth: unusable entries \(1\): w \(.*{message}"):
        read_state(path)


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
def test_duplicate_entries_are_refused(tmp_path):
    path = write_zip(tmp_path / "a.pth", tensor())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/data/0", b"")
    with pytest.raises(CheckpointError, match="two entries of the same name"):
        read_state(path)
