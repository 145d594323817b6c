"""Damaged files of a folder that can be written again are found and removed."""

import numpy as np
import pytest

from fcfrnet_jax.data.encodings.png_encoder import encode
from fcfrnet_jax.streets import verified

PNG = encode(np.zeros((4, 5), np.uint8))


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "set"
    found = [folder / "a.png", folder / "b" / "c.txt"]
    for path, content in zip(found, (PNG, b"text"), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return found


def test_intact_files_are_kept(files, tmp_path, caplog):
    verified.record(tmp_path / "set", files)
    assert verified.remove_damaged(tmp_path / "set", files)
    assert [path.read_bytes() for path in files] == [PNG, b"text"]
    assert not caplog.records


@pytest.mark.parametrize("content", [b"", PNG[:-1], encode(np.ones((4, 5), np.uint8)), None])
def test_a_changed_file_is_removed(content, files, tmp_path, caplog):
    verified.record(tmp_path / "set", files)
    files[0].unlink()
    if content is None:
        files[0].mkdir()
    else:
        files[0].write_bytes(content)
    assert not verified.remove_damaged(tmp_path / "set", files)
    assert [path.exists() for path in files] == [False, True]
    assert "set: 1 of its files are damaged or missing and are written again: a.png" in caplog.text


def test_a_file_in_the_place_of_a_folder_is_removed(files, tmp_path):
    files[1].unlink()
    files[1].parent.rmdir()
    files[1].parent.touch()
    assert not verified.remove_damaged(tmp_path / "set", files)
    assert not files[1].parent.exists()


@pytest.mark.parametrize("record", [None, b"{", b'{"files": {"a.png": "0"}}'])
def test_without_a_valid_record_the_files_must_be_readable(record, files, tmp_path):
    if record is not None:
        (tmp_path / "set.digests.json").write_bytes(record)
    assert not verified.remove_damaged(tmp_path / "set", files)
    assert all(path.exists() for path in files)
    files[0].write_bytes(PNG[:-1])
    assert not verified.remove_damaged(tmp_path / "set", files)
    assert not files[0].exists()
