"""Names files that are not checkpoints of PaddlePaddle or PyTorch, and what to do with them."""

import re

from fcfrnet_jax.weights.foreign.pickle_nodes import list_printable, printable_name

_SAVE = "and save the weights with torch.save or paddle.save as a dict of names and arrays"
_ELSEWHERE = "which cannot be converted; find the .pdparams or .pth file of these weights"
_EXPORTED = "load it with paddle.jit.load and paddle.save its state_dict()"
_MAGIC = {
    b"<": "a web page or XML instead of the file; download the file itself, logged in if necessary",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with git lfs pull",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"BZh": "a bzip2 file; unpack it first",
    b"\xfd7zXZ": "an xz file; unpack it first",
    b"\x28\xb5\x2f\xfd": "a Zstandard file; unpack it first",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
    b"\x89HDF": f"an HDF5 file, such as Keras writes, {_ELSEWHERE}",
    b"\x93NUMPY": "a NumPy array (.npy), which has no names; find the whole checkpoint",
}
# Formats whose first bytes are common.
_SUFFIXES = {
    ".onnx": f"an ONNX model, {_ELSEWHERE}",
    ".pb": f"a TensorFlow model, {_ELSEWHERE}",
    ".index": f"a part of a TensorFlow checkpoint, {_ELSEWHERE}",
    ".tflite": f"a TensorFlow Lite model, {_ELSEWHERE}",
    ".msgpack": f"a file of Flax, {_ELSEWHERE}",
    ".pdmodel": f"a program of paddle.jit.save without weights; {_EXPORTED}",
    ".pdiparams": f"weights of paddle.jit.save without their names; {_EXPORTED}",
}
_CHECKPOINTS = (".pdparams", ".pth", ".pt", ".tar", ".ckpt", ".pkl", ".pdopt", ".safetensors")
_OLD_PYTORCH = (b"pickle", b"storages", b"tensors", b"sys_info")


def describe(head: bytes, suffix: str) -> str:
    """Says what a file with these first 4096 bytes is, and the remedy."""
    if not head:
        return "an empty file; download or copy it again"
    for start, text in _MAGIC.items():
        if head.lstrip().startswith(start):
            return text
    if head[257:262] == b"ustar":
        return _describe_tar(_first_name(head))
    if head[8:10] in (b'{"', b"{}") and int.from_bytes(head[:8], "little") < 1 << 32:
        return f"a safetensors file; load it with safetensors.torch.load_file {_SAVE}"
    if head[:16] == bytes(16) and head[20:21] == b"\x08":
        return _SUFFIXES[".pdiparams"]
    if head[:1] == b"\n" and b"\x08\x00\x10" in head[1:8]:
        return _SUFFIXES[".pdmodel"]
    if head[4:8] == b"TFL3":
        return _SUFFIXES[".tflite"]
    if head[:1] == b"\x08" and any(name in head for name in (b"pytorch", b"tf2onnx", b"onnx")):
        return _SUFFIXES[".onnx"]
    if suffix.lower() in _SUFFIXES:
        return _SUFFIXES[suffix.lower()]
    return (
        f"begins with {head[:16]!r}, expected a checkpoint of PaddlePaddle or PyTorch: a pickle of "
        "protocol 2 to 5, or a zip archive"
    )


def _first_name(head: bytes) -> bytes:
    """The name of the first file of a tar archive, after the headers of pax (type x)."""
    size = re.match(rb"[0-7]{1,11}", head[124:136])
    if head[156:157] == b"x" and size:
        after = head[512 * (1 + -(-int(size[0], 8) // 512)) :]
        return after[:100].rstrip(b"\0")
    return head[:100].rstrip(b"\0")


def _describe_tar(first: bytes) -> str:
    if first.rstrip(b"/") in _OLD_PYTORCH:
        return (
            "a tar archive of the first PyTorch releases; load it with PyTorch 1.6 or later on a "
            "machine where its code may run, and save its state dict with torch.save"
        )
    name = printable_name(first.decode("utf-8", "surrogateescape"))
    return f"a tar archive that begins with {name}; unpack it and convert the checkpoint in it"


def describe_archive(names: list[str]) -> str:
    """Says what a zip archive with entries of these names is, and the remedy."""
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript archive; load it with torch.jit.load and torch.save its state_dict()"
    if names and all(name.endswith(".npy") for name in names):
        return f"a NumPy archive (.npz); load it with numpy.load {_SAVE}"
    if any(name.endswith(".weights.h5") for name in names):
        return f"a Keras model, {_ELSEWHERE}"
    inside = [n for n in names if n.endswith(_CHECKPOINTS) and not n.endswith("/data.pkl")]
    if inside:
        return (
            f"a zip archive that contains {list_printable(inside, 2)}; unpack it and convert that"
        )
    return f"a zip archive without PyTorch's <name>/data.pkl; it holds {list_printable(names)}"
