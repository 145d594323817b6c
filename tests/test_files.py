"""Files that are replaced only when complete, and the wording of messages."""

import errno
import json

import pytest

from fcfrnet_jax.files import (
    atomic_path,
    cache_dir,
    describe,
    differing,
    exchange,
    first_line,
    is_temporary,
    list_some,
    read_json,
    remove,
    remove_temporaries,
    temporary_path,
    with_digest,
    without_digest,
    write_json,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_replaces_the_old_one_when_it_is_complete(tmp_path):
    path = tmp_path / "new" / "value.json"
    for text in ("first", "second"):
        with atomic_path(path) as temporary:
            assert (temporary.parent, temporary.suffix) == (path.parent, ".json")
            temporary.write_text(text)
        assert (path.read_text(), names(path.parent)) == (text, ["value.json"])


def fail_in_the_middle(path, folder):
    with atomic_path(path) as temporary:
        if folder:
            temporary.mkdir()
        (temporary / "half" if folder else temporary).write_text("half")
        raise InterruptedError


@pytest.mark.parametrize("folder", [False, True])
def test_after_an_error_the_old_file_is_unchanged(tmp_path, folder):
    path = tmp_path / "value"
    path.write_text("old")
    with pytest.raises(InterruptedError):
        fail_in_the_middle(path, folder)
    assert (path.read_text(), names(tmp_path)) == ("old", ["value"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((errno.ENOSPC, "No space left on device"), "No space left on device"),
        (("9 requested and 2 written",), "the disk seems to be full .9 requested and 2 written"),
    ],
)
def test_a_full_disk_is_reported_with_the_file(arguments, message, tmp_path):
    path = tmp_path / "a.npy"
    with pytest.raises(OSError, match=message) as raised, atomic_path(path):
        raise OSError(*arguments)
    assert (raised.value.filename, names(tmp_path)) == (str(path), [])


def test_a_file_in_a_temporary_folder_is_reported_with_its_later_name(tmp_path):
    path = tmp_path / "model"
    with pytest.raises(OSError, match="full") as raised, atomic_path(path) as temporary:
        raise OSError(errno.ENOSPC, "full", str(temporary / "a" / "b.json"))
    assert raised.value.filename == str(path / "a" / "b.json")


def test_infinity_is_not_written_as_json(tmp_path):
    write_json(tmp_path / "value.json", {"a": [1, 2.5]})
    assert json.loads((tmp_path / "value.json").read_text()) == {"a": [1, 2.5]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "value.json", {"a": float("inf")})


def test_the_environment_sets_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "fcfrnet_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "fcfrnet_jax"


def test_errors_are_described_with_their_file(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        (tmp_path / "nowhere").read_text()
    assert describe(error.value) == f"{tmp_path / 'nowhere'}: No such file or directory"
    assert describe(ValueError("a reason")) == "a reason"
    assert describe(ValueError()) == "ValueError"


def test_long_lists_are_cut():
    assert list_some(["a", "b", "c"]) == "a, b, c"
    assert list_some(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert list_some([1, 2], limit=1) == "1 and 1 more"


def test_the_first_line_of_an_error():
    assert first_line(ValueError("\n a reason\nand details")) == "a reason"
    assert first_line(ValueError(" \n")) == "ValueError"


def test_differing_values_are_named_in_order():
    assert differing({"c": 1, "a": 2, "b": 3}, {"c": 0, "b": 3, "d": 4}) == ["a", "c", "d"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "is empty"),
        (b"\xff{}", "byte 0 is not UTF-8 text"),
        (b'{"a": 1,\n]', "is not valid JSON at line 2, column 1"),
        (b'{"a": NaN}', "a number that cannot be read"),
        (b'{"a": ' + b"1" * 5000 + b"}", "a number that cannot be read"),
        (b'{"a": 1e999}', "a number that cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested too deeply"),
        (b"[1]", "a JSON list, expected an object"),
    ],
)
def test_a_damaged_json_file_is_named_with_fault_and_remedy(data, fault, tmp_path):
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{path}: .*{fault}.*; delete it$"):
        read_json(path, "delete it")


def test_a_json_object_is_read(tmp_path):
    write_json(tmp_path / "record.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "record.json", "delete it") == {"a": [1, 2.5, None]}


def test_a_digest_covers_every_value_but_not_white_space_or_order():
    record = {"a": 1, "b": {"c": [0.5, None, True]}, "d": "text"}
    sealed = with_digest(record)
    assert without_digest(dict(reversed(sealed.items()))) == record
    changes = {"a": 2}, {"a": 1.0}, {"b": {"c": [0.5, None, False]}}, {"e": 0}, {"digest": None}
    for change in changes:
        with pytest.raises(
            ValueError, match="does not match its checksum, so it is damaged or was"
        ):
            without_digest(sealed | change)


def test_a_digest_is_that_of_the_record_that_is_read_back(tmp_path):
    write_json(tmp_path / "record.json", with_digest({"a": {1: (2.0, 3)}}))
    found = read_json(tmp_path / "record.json", "delete it", sealed=True)
    assert found == {"a": {"1": [2.0, 3]}}
    with pytest.raises(ValueError, match=r"cannot be stored as JSON: .* set is not JSON"):
        with_digest({"a": {1, 2}})


def test_a_sealed_file_is_checked(tmp_path):
    path = tmp_path / "record.json"
    write_json(path, with_digest({"a": 1}))
    assert read_json(path, "delete it", sealed=True) == {"a": 1}
    path.write_text(path.read_text().replace('"a": 1', '"a": 3'))
    with pytest.raises(ValueError, match=f"{path}: does not match its checksum.*; delete it"):
        read_json(path, "delete it", sealed=True)


def test_a_temporary_name_is_recognised(tmp_path):
    names = [tmp_path / "best", tmp_path / "metrics.json", tmp_path / ".hidden" / "0005.png"]
    names.append(tmp_path / "model.v1-b")
    for path in names:
        temporary = temporary_path(path)
        assert is_temporary(temporary)
        assert [other for other in names if is_temporary(temporary, other)] == [path]
    old = tmp_path / f".best.{'0a' * 16}.old"  # an older version's name for a replaced model
    assert is_temporary(old, tmp_path / "best")
    for name in (".best.notes", ".cache", f"best.{'0a' * 16}", f".{'0a' * 16}"):
        assert not is_temporary(tmp_path / name)


def test_only_temporary_files_for_a_path_are_removed(tmp_path):
    path = tmp_path / "model"
    temporary_path(path).mkdir()
    (tmp_path / f".model.{'0a' * 16}" / "inner").mkdir(parents=True)
    others = [temporary_path(tmp_path / "other"), tmp_path / ".model.mine", path]
    for other in others:
        other.touch()
    remove_temporaries(path)
    assert names(tmp_path) == sorted(other.name for other in others)


def test_removing_a_link_keeps_its_target(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "mine").touch()
    (tmp_path / "link").symlink_to(target)
    remove(tmp_path / "link")
    assert (names(tmp_path), names(target)) == (["target"], ["mine"])
    remove(target)
    assert names(tmp_path) == []


def test_a_folder_and_a_link_are_exchanged(tmp_path):
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to("nowhere")
    exchange(folder, link)
    assert folder.is_symlink()
    assert link.is_dir()
    with pytest.raises(FileNotFoundError, match="missing"):
        exchange(tmp_path / "missing", link)


def test_json_holds_names_that_are_not_unicode(tmp_path):
    write_json(tmp_path / "a.json", {"path": "\udcff"})
    assert read_json(tmp_path / "a.json", "delete it") == {"path": "\udcff"}
