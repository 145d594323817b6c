"""Zip archives whose directory is larger than that of any checkpoint."""

import io
import struct
import zipfile

import pytest

from fcfrnet_jax.weights.foreign.archive import MAX_DIRECTORY, check_entries, open_archive
from fcfrnet_jax.weights.foreign.pickle_nodes import CheckpointError


def directory(entries: int, name: bytes = b"", extra: bytes = b"", declared: int = 0) -> bytes:
    """An archive of a directory only, as large as its entries say."""
    lengths = struct.pack("<HHH", len(name), len(extra), 0)
    entry = b"PK\1\2" + bytes(24) + lengths + bytes(12) + name + extra
    size = len(entry) * entries
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, declared, declared, size, 0, 0)
    return entry * entries + end


def test_a_directory_is_refused_by_its_size_before_it_is_parsed():
    data = directory(MAX_DIRECTORY // 46 + 1, declared=1)
    with pytest.raises(CheckpointError, match="whose directory has more than 1048576 bytes"):
        open_archive(io.BytesIO(data))


def test_long_extra_fields_are_refused():
    with pytest.raises(CheckpointError, match="an extra field of 1028 bytes"):
        open_archive(io.BytesIO(directory(1, extra=b"\xff\xff\0\0" * 257)))
    assert open_archive(io.BytesIO(directory(1, extra=b"\xff\xff\0\0" * 256))).namelist() == [""]


def test_an_ordinary_archive_is_opened():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for index in range(100):
            archive.writestr(f"model/data/{index}", b"1234")
    opened = open_archive(data)
    check_entries(opened, len(data.getvalue()))
    assert opened.read("model/data/99") == b"1234"


def test_a_wrong_end_record_is_a_damaged_archive():
    with pytest.raises(CheckpointError, match=r"damaged zip archive: .*; download"):
        open_archive(io.BytesIO(directory(3, b"a")[:-10]))
