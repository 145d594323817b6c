"""What KITTI's server accepts, and what it does not."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.data.kitti.submission import (
    Benchmark,
    check_folder,
    check_zip,
    describe,
    write_zip,
)

BENCHMARK = Benchmark(frames=20, size=(6, 9))
FIRST, SECOND = "0000000000.png", "0000000001.png"


def png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "png")
    return data.getvalue()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for i, name in enumerate(BENCHMARK.names()):
        depth = np.random.default_rng(i).integers(300, 20000, BENCHMARK.size, np.uint16)
        (folder / name).write_bytes(png(depth))
    return folder


def test_the_server_expects_1000_depth_maps_of_1216x352():
    assert Benchmark().size == (352, 1216)
    names = Benchmark().names()
    assert (names[0], names[-1], len(names)) == (FIRST, "0000000999.png", 1000)


def test_a_correct_folder_is_packed(folder, tmp_path):
    assert check_folder(folder, BENCHMARK) == []
    write_zip(folder, tmp_path / "a.zip", BENCHMARK)
    assert check_zip(tmp_path / "a.zip", BENCHMARK) == []
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == BENCHMARK.names()
        assert archive.testzip() is None
        assert archive.read(SECOND) == (folder / SECOND).read_bytes()
    write_zip(folder, tmp_path / "b.zip", BENCHMARK)
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def depth(value=500, size=BENCHMARK.size, kind=np.uint16):
    return png(np.full(size, value, kind))


def flipped(data):
    """A byte of the compressed pixels is wrong."""
    middle = data.index(b"IDAT") + 10
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DEFECTS = {
    "missing": ({FIRST: None}, f"missing file: {FIRST}"),
    "count": ({FIRST: None, SECOND: None}, "wrong number of files: 18 depth maps instead of 20"),
    "size": ({FIRST: depth(size=(9, 6))}, "(6x9 instead of 9x6)"),
    "8 bits": ({FIRST: depth(5, kind=np.uint8)}, f"one channel: {FIRST} (8-bit gray)"),
    "colour": ({FIRST: png(np.full((6, 9, 3), 5, np.uint8))}, f"{FIRST} (8-bit RGB)"),
    "zeros": ({FIRST: depth(0)}, f"pixels without depth: {FIRST} (54 of 54 are 0)"),
    "extra": ({"notes.txt": b"x"}, "extra file: notes.txt"),
    "number": ({"0000000020.png": depth()}, "extra file: 0000000020.png"),
    "name": ({"frame.png": depth()}, "wrong name, expected ten digits and .png"),
    "folder": ({FIRST: None, f"a/{FIRST}": depth()}, f"expected at the top: a/{FIRST}"),
    "cut": ({FIRST: depth()[:-30]}, f"damaged PNG file: {FIRST} (is truncated at byte"),
    "flipped": ({FIRST: flipped(depth())}, f"damaged PNG file: {FIRST} (is damaged: wrong check"),
    "empty": ({FIRST: b""}, f"damaged PNG file: {FIRST} (is empty)"),
    "jpeg": ({FIRST: b"\xff\xd8\xff"}, f"damaged PNG file: {FIRST} (is not a PNG file)"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_each_defect_is_named(defect, folder, tmp_path):
    changes, message = DEFECTS[defect]
    for name, data in changes.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if data is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(data)
    assert message in describe(check_folder(folder, BENCHMARK))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    assert message in describe(check_zip(tmp_path / "a.zip", BENCHMARK))


def test_many_equal_defects_are_counted(folder):
    for name in BENCHMARK.names()[:5]:
        (folder / name).write_bytes(depth(0))
    text = describe(check_folder(folder, BENCHMARK))
    assert text.startswith(f"pixels without depth: 5 files: {FIRST} (54 of 54 are 0), ")
    assert text.endswith(" and 2 more")


def damaged(data):
    """The compressed data begin with a block of an unknown type."""
    return data[:44] + b"\xff" * 6 + data[50:]


def encrypted(data):
    entry = data.index(b"PK\1\2")
    return data[: entry + 8] + b"\1" + data[entry + 9 :]


@pytest.mark.parametrize(
    ("change", "reason"), [(damaged, "invalid block type"), (encrypted, "is encrypted")]
)
def test_files_that_cannot_be_unpacked_are_named(change, reason, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FIRST, depth())
    (tmp_path / "a.zip").write_bytes(change((tmp_path / "a.zip").read_bytes()))
    text = describe(check_zip(tmp_path / "a.zip", Benchmark(1, BENCHMARK.size)))
    assert text.startswith(f"damaged PNG file: {FIRST} (")
    assert reason in text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_none_or_hold_a_file_twice(folder, tmp_path):
    write_zip(folder, tmp_path / "a.zip", BENCHMARK)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr(FIRST, depth())
    assert f"is in the archive twice: {FIRST}" in describe(check_zip(tmp_path / "a.zip", BENCHMARK))
    (tmp_path / "b.zip").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"b\.zip is not a ZIP archive"):
        check_zip(tmp_path / "b.zip", BENCHMARK)
