"""Small checkpoint files in the formats of PaddlePaddle and PyTorch, valid and hostile."""

import pickle
import zipfile
from pathlib import Path

import numpy as np

FILES = Path(__file__).parents[2] / "fixtures"
PADDLE_FILES = sorted((FILES / "paddle").glob("*.pdparams"))
TORCH_FILES = sorted([*(FILES / "torch").glob("*_zip.pth.tar"), *(FILES / "torch").glob("*.pth")])
RECONSTRUCT = np.zeros(1).__reduce__()[0]
FRESH = (np.ndarray, (0,), b"b")


class Made:
    """Pickles as a call of `function` with `arguments`, followed by BUILD with `state`."""

    def __init__(self, function, arguments, state=None):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def write(path: Path, value, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def assert_same(actual: dict, expected: dict):
    assert list(actual) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name], strict=True, err_msg=name)
        assert actual[name].dtype.isnative


def array_of(dtype="f4", shape=(2,), data=b"\0" * 8, order=False):
    """Pickles as an array, with parts that NumPy would not write."""
    dtype = Made(np.dtype, (dtype, False, True), (3, "<", None, None, None, -1, -1, 0))
    return Made(RECONSTRUCT, FRESH, (1, shape, dtype, order, data))


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
