"""Reading checkpoints of either library: formats, notes, and refused files."""

import collections
import contextlib
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError
from tests.weights.foreign.checkpoint_files import (
    FILES,
    PADDLE_FILES,
    TORCH_FILES,
    Made,
    array_of,
    tensor,
    write,
    write_zip,
)


def test_notes_of_a_paddle_training_checkpoint():
    assert read_state(FILES / "paddle" / "tiny_train.pdparams").notes == [
        "training checkpoint, epoch 3",
        "entries ignored: best_result, optimizer, args",
        "foreign classes ignored: utils.metric.Result",
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


def test_ordered_dict_of_python_2(tmp_path):
    value = Made(collections.OrderedDict, ([["a", np.zeros(2)], ["b", np.ones(1)]],))
    assert list(read_state(write(tmp_path / "a", {"state_dict": value})).arrays) == ["a", "b"]


def test_prefixes_are_stripped_from_every_name(tmp_path):
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


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "found a list, expected a dict"),
        ({}, "the state is empty"),
        ({1: np.zeros(1)}, "a name of type int"),
        ({"model": {}, "state_dict": {}}, "both model and state_dict"),
        (
            {"x": 1, "teacher": {"w": np.zeros(1)}},
            "a usual name; these hold arrays: teacher; choose",
        ),
        (Made(dict, ()), r"found an object of builtins\.dict"),
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
        (b"PK\x03\x04" + bytes(100), "damaged zip archive: .*; download or copy"),
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
        read_state(FILES / "torch" / "torchscript.pt")
    with tarfile.open(tmp_path / "old.pth.tar", "w") as archive:
        archive.add(PADDLE_FILES[0], "pickle")
    with pytest.raises(CheckpointError, match=r"tar archive.*PyTorch 1\.6"):
        read_state(tmp_path / "old.pth.tar")


@pytest.mark.parametrize("path", [*PADDLE_FILES, *TORCH_FILES], ids=lambda path: path.name)
def test_every_truncation_is_an_error(tmp_path, path):
    data = path.read_bytes()
    cut = tmp_path / path.name
    # 100 to 200 sizes of each file; test_pickle_reader has every size of those that are a pickle.
    for size in range(0, len(data), 1 + len(data) // 200):
        cut.write_bytes(data[:size])
        with pytest.raises(CheckpointError, match=f"^{cut}: "):
            read_state(cut)


@pytest.mark.filterwarnings("ignore:invalid")
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("pickle_reader.check_depth", PADDLE_FILES[0]),
        ("archive.zipfile.ZipFile", FILES / "torch" / "state_zip.pth.tar"),
    ],
)
def test_a_lack_of_memory_is_not_a_damaged_file(place, path, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(f"fcfrnet_jax.weights.foreign.{place}", fail)
    with pytest.raises(CheckpointError, match=r": needs more memory than is available$"):
        read_state(path)


def test_10_gb_declared_in_1_kb_take_no_memory(tmp_path):
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
    command = [sys.executable, "-c", source, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    reasons = (
        "8 bytes of data for 10000000000",
        "beyond a storage of 24",
        "96 bytes for 10000000000",
    )
    for line, reason in zip(done.stdout.splitlines(), reasons, strict=True):
        assert reason in line
