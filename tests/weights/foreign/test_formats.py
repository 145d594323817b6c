"""Files of other formats are named, with the remedy."""

import io
import json
import struct
import tarfile
import zipfile

import numpy as np
import pytest

from fcfrnet_jax.weights.foreign import read_state
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError


def safetensors() -> bytes:
    head = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(head)) + head + bytes(4)


def saved(save, *arguments, **arrays) -> bytes:
    file = io.BytesIO()
    save(file, *arguments, **arrays)
    return file.getvalue()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return file.getvalue()


def tarred(*names: str, format=tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.mtime = 0.5  # needs a header of pax
            archive.addfile(member)
    return file.getvalue()


# paddle.save_inference_model: version, levels, version of the tensor, size and TensorDesc.
PARAMETERS = struct.pack("<IQIi", 0, 0, 0, 6) + b"\x08\x05\x10\x03\x10\x03" + bytes(36)
PROGRAM = b"\n\xce\x07\x08\x00\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
ONNX = b"\x08\x07\x12\x07pytorch\x1a\x051.9.0"
FILES = [
    (
        "a.safetensors",
        safetensors(),
        "a safetensors file; load it with safetensors.torch",
    ),
    ("a.npy", saved(np.save, np.zeros(2)), r"a NumPy array \(.npy\), which has no names; find"),
    ("a.npz", saved(np.savez, w=np.zeros(2)), r"a NumPy archive \(.npz\); load it with numpy.load"),
    ("a.pdiparams", PARAMETERS, "weights of paddle.jit.save .*; load it with paddle.jit.load"),
    ("a.pdmodel", PROGRAM, "a program of paddle.jit.save without weights; load it with paddle.jit"),
    ("a.bin", ONNX, "an ONNX model, which cannot be converted; find the .pdparams or .pth file"),
    ("a.onnx", b"\x08\x07\x3a\x01", "an ONNX model, which"),
    ("a.pb", b"\x08\x01\x12\x01", "a TensorFlow model, which"),
    ("a.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras writes, which"),
    ("a.tflite", b"\x1c\0\0\0TFL3", "a TensorFlow Lite model"),
    ("a.keras", zipped("config.json", "model.weights.h5"), "a Keras model, which"),
    ("a.zip", zipped("x/best.pdparams"), "zip archive that contains x/best.pdparams; unpack it"),
    ("a.tar", tarred("x/best.pdparams"), "tar archive that begins with x/best.pdparams; unpack it"),
    ("a.tar", tarred("b.pth", format=tarfile.PAX_FORMAT), "that begins with b.pth; unpack it"),
    ("a.tar", tarred("\x1b[2J"), r"begins with \\x1b\[2J; unpack it"),
    ("a.tgz", b"\x1f\x8b\x08" + bytes(9), "a gzip file; unpack it first"),
    ("a.bz2", b"BZh9" + bytes(9), "a bzip2 file; unpack it first"),
    ("a.xz", b"\xfd7zXZ\0", "an xz file; unpack it first"),
    ("a.7z", b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (
        "a.pth",
        b"<!doctype html>",
        "a web page or XML instead of the file; download the",
    ),
    ("a.pth", b"version https://git-lfs.github.com/spec/v1\n", "pointer; fetch .* git lfs pull"),
]


@pytest.mark.parametrize(("name", "content", "message"), FILES)
def test_files_of_other_formats_are_named_with_the_remedy(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as refused:
        read_state(tmp_path / name)
    assert "\n" not in str(refused.value)
