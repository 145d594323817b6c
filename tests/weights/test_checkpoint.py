"""Model checkpoints: exact round trips, and clear errors for damaged folders."""

import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import arrays, checkpoint
from tests.file_operations import copies_at_every_change
from tests.random_weights import random_variables

SPEC = SparseToCoarseSpec(18, "gd", width=4)
FINE = CoarseToFineSpec(18, width=4, variant="paper", window=3)


# As older versions wrote them, the first ones with the settings of both networks.
OLD_COARSE = """{"network": "sparse_to_coarse", "layers": 18, "modality": "gd", "width": 4,
    "base": "fill", "keep_measured": true}"""
OLD_FINE = """{"network": "coarse_to_fine", "layers": 18, "modality": "rgbd", "width": 4,
    "variant": "paper", "window": 3}"""
FIRST_COARSE = """{"network": "sparse_to_coarse", "layers": 18, "modality": "gd", "width": 4,
    "variant": "released", "window": 5}"""
FILLED = SparseToCoarseSpec(18, "gd", width=4, base="fill", keep_measured=True)
OLD_RECORDS = [
    (OLD_COARSE, FILLED),
    (OLD_FINE, FINE),
    (f'{{"network": "two_stage", "coarse": {OLD_COARSE}, "fine": {OLD_FINE}}}',
     TwoStageSpec(FILLED, FINE)),
    (FIRST_COARSE, SPEC),
    (f'{{"network": "two_stage", "coarse": {FIRST_COARSE}, "fine": {OLD_FINE}}}',
     TwoStageSpec(SPEC, FINE)),
]  # fmt: skip


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    checkpoint.save_model(folder, SPEC, random_variables(SPEC), provenance={"source": "a test"})
    return folder


def variables_of(folder):
    return next(path for path in folder.iterdir() if path.is_dir())


def as_version_0_1(folder, record=FIRST_COARSE):
    """Turns a saved model into the folder that version 0.1 wrote."""
    variables_of(folder).rename(folder / "variables")
    write_record(folder, record)
    return folder


@pytest.mark.parametrize("spec", [SPEC, FINE, TwoStageSpec(SPEC, FINE)])
def test_round_trip_is_exact(spec, tmp_path):
    variables = random_variables(spec)
    checkpoint.save_model(tmp_path / "model", spec, variables, provenance={})
    found, restored = checkpoint.load_model(tmp_path / "model")
    assert found == spec
    jax.tree.map(np.testing.assert_array_equal, restored, variables)


def test_description_is_readable(saved):
    record = json.loads((saved / "model.json").read_text())
    assert record["model"] == {
        "network": "sparse_to_coarse",
        "layers": 18,
        "modality": "gd",
        "width": 4,
        "patch": 1,
        "min_depth": 0.9,
        "max_depth": 100.0,
        "base": "none",
        "keep_measured": False,
    }
    assert record["provenance"] == {"source": "a test"}


def write_record(folder, record):
    folder.mkdir(exist_ok=True)
    text = f'{{"format": 1, "model": {record}, "provenance": {{"source": "std18.pdparams"}}}}'
    (folder / "model.json").write_text(text)


@pytest.mark.parametrize(("record", "spec"), OLD_RECORDS)
def test_descriptions_of_older_versions_are_read(record, spec, tmp_path):
    write_record(tmp_path, record)
    assert checkpoint.load_spec(tmp_path) == spec
    assert checkpoint.load_provenance(tmp_path) == {"source": "std18.pdparams"}


def test_a_checkpoint_of_the_first_version_loads_and_says_once_that_it_is_unprotected(
    saved, caplog
):
    as_version_0_1(saved)
    for _ in range(2):
        found, restored = checkpoint.load_model(saved)
    assert found == SPEC
    jax.tree.map(np.testing.assert_array_equal, restored, random_variables(SPEC))
    assert caplog.text.count(f"{saved}: an older version wrote this model without checksums") == 1


def test_saving_replaces_a_checkpoint_of_the_first_version(saved):
    as_version_0_1(saved)
    variables = random_variables(SPEC, seed=1)
    checkpoint.save_model(saved, SPEC, variables, provenance={}, overwrite=True)
    assert not (saved / "variables").exists()
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load_model(saved)[1], variables)


def test_no_temporary_files_remain(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
    assert len(list(saved.iterdir())) == 2


def test_a_model_is_not_overwritten_by_accident(saved):
    message = "holds a model already; choose a new folder or set overwrite=True"
    with pytest.raises(ValueError, match=message):
        checkpoint.save_model(saved, FINE, random_variables(FINE), provenance={})
    checkpoint.save_model(saved, FINE, random_variables(FINE), provenance={}, overwrite=True)
    assert checkpoint.load_spec(saved) == FINE
    assert len(list(saved.iterdir())) == 2


def test_the_same_weights_can_be_saved_again(saved):
    variables = random_variables(SPEC)
    checkpoint.save_model(saved, SPEC, variables, provenance={"take": 2}, overwrite=True)
    assert checkpoint.load_provenance(saved) == {"take": 2}
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load_model(saved)[1], variables)


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_model(saved, tmp_path, short_resnet):
    old, new = (random_variables(SPEC, seed) for seed in (0, 1))
    checkpoint.save_model(saved, SPEC, old, provenance={"is": "old"}, overwrite=True)
    with copies_at_every_change(saved, tmp_path / "copies") as copies:
        checkpoint.save_model(saved, SPEC, new, provenance={"is": "new"}, overwrite=True)
    found = []
    for copy in copies:
        found.append(checkpoint.load_provenance(copy)["is"])
        expected = new if found[-1] == "new" else old
        jax.tree.map(np.testing.assert_array_equal, checkpoint.load_model(copy)[1], expected)
    assert found == sorted(found, reverse=True)
    assert set(found) == {"old", "new"}


def test_what_a_kill_left_is_removed_by_the_next_save(saved, tmp_path, short_resnet, caplog):
    new = random_variables(SPEC, seed=1)
    with copies_at_every_change(saved, tmp_path / "copies") as copies:
        checkpoint.save_model(saved, SPEC, new, provenance={}, overwrite=True)
    (copies[0] / "notes").mkdir()
    for copy in copies:
        checkpoint.save_model(copy, SPEC, new, provenance={}, overwrite=True)
        expected = {"model.json", variables_of(saved).name, "notes"}
        assert {path.name.removesuffix("-1") for path in copy.iterdir()} <= expected
    assert caplog.text == ""
    assert (copies[0] / "notes").is_dir()


def test_a_model_that_is_replaced_while_it_is_read_is_read_again(saved, monkeypatch):
    new = random_variables(SPEC, seed=1)
    read = arrays.read_arrays

    def read_late(folder, check):
        monkeypatch.setattr(arrays, "read_arrays", read)
        checkpoint.save_model(saved, SPEC, new, provenance={}, overwrite=True)
        return read(folder, check)

    monkeypatch.setattr(arrays, "read_arrays", read_late)
    jax.tree.map(np.testing.assert_array_equal, checkpoint.load_model(saved)[1], new)


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds other files"):
        checkpoint.save_model(tmp_path, SPEC, {}, provenance={}, overwrite=True)


def largest(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "no variables": (
        lambda folder: shutil.rmtree(variables_of(folder)),
        ": is missing",
    ),
    "empty variables": (
        lambda folder: [shutil.rmtree(variables_of(folder)), variables_of_path(folder).mkdir()],
        "has no manifest.ocdbt",
    ),
    "a file as variables": (
        lambda folder: [shutil.rmtree(variables_of(folder)), variables_of_path(folder).touch()],
        "is a file, expected a folder",
    ),
    "truncated data": (
        lambda folder: os.truncate(largest(folder), 1000),
        r"the array [\w.]+ is damaged or missing",
    ),
    "a flipped bit": (
        lambda folder: flip(largest(folder)),
        "the weights do not match their checksum",
    ),
    "a damaged index": (
        lambda folder: flip(variables_of(folder) / "manifest.ocdbt"),
        "the index of its arrays is damaged",
    ),
}


def variables_of_path(folder):
    record = json.loads((folder / "model.json").read_text())
    return folder / record["variables"]["folder"]


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_variables_are_named_in_one_line(saved, name, capfd):
    damage, message = DAMAGES[name]
    damage(saved)
    with pytest.raises(ValueError, match=rf"^{saved}/variables.*{message}.*; restore .*$"):
        checkpoint.load_model(saved)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), ": no model.json in it; expected"),
        (lambda folder: (folder / "model.json").write_text("{"), "is not valid JSON at line 1"),
        (
            lambda folder: (folder / "model.json").write_text('{"format": 9}'),
            "has format 9, this version reads 1 and 2",
        ),
        (lambda folder: as_version_0_1(folder, "[]"), "the model is not described by an object"),
        (lambda folder: edit(folder, "is 7", "is 8"), "does not match its checksum"),
        (lambda folder: edit(folder, '"format": 2', '"format": 1'), "does not match its checksum"),
        (
            lambda folder: edit(folder, '"digest": "', '"digesu": "'),
            "does not match its checksum",
        ),
    ],
)
def test_damaged_descriptions_are_named(tmp_path, damage, message):
    folder = tmp_path / "model"
    checkpoint.save_model(folder, SPEC, random_variables(SPEC), provenance={"seed": "is 7"})
    damage(folder)
    with pytest.raises(ValueError, match=rf"{folder}.*{message}"):
        checkpoint.load_model(folder)


def edit(folder, old, new):
    path = folder / "model.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


HOSTILE = {
    "is nested too deeply": '{"format": 1, "model": ' + "[" * 100_000,
    "not described by an object": '{"format": 1, "model": ' + "[" * 90 + "]" * 90 + "}",
    "width must be": '{"format": 1, "model": {"network": "sparse_to_coarse", "width": '
    + "[" * 90 + "]" * 90 + "}}",
    "width must be at most 1024": '{"format": 1, "model": {"network": "sparse_to_coarse", "width": '
    + "4" * 4000 + "}}",
    "a number that cannot be read": '{"format": 1, "model": ' + "1" * 5000 + "}",
    "16777217 bytes, expected at most 16777216": " " * (2**24 + 1),
}  # fmt: skip


@pytest.mark.parametrize("fault", HOSTILE)
def test_absurd_descriptions_are_refused_in_a_short_line(fault, tmp_path):
    (tmp_path / "model.json").write_text(HOSTILE[fault])
    with pytest.raises(ValueError, match=rf"^{tmp_path}/model.json: .*{fault}.{{,200}}$"):
        checkpoint.load_model(tmp_path)


def test_white_space_and_the_order_of_entries_may_change(saved):
    record = json.loads((saved / "model.json").read_text())
    (saved / "model.json").write_text(json.dumps(dict(reversed(record.items()))))
    assert checkpoint.load_spec(saved) == SPEC


def test_variables_of_another_model(saved):
    as_version_0_1(saved, FIRST_COARSE.replace('"width": 4', '"width": 8'))
    message = r"does not match model.json: batch_stats.* is float32 \(2,\), expected float32 \(4,\)"
    with pytest.raises(ValueError, match=message):
        checkpoint.load_model(saved)


def test_a_missing_folder_and_a_file(tmp_path):
    (tmp_path / "weights.npz").touch()
    for name, found in (("nowhere", "no such folder"), ("weights.npz", "is a file")):
        with pytest.raises(ValueError, match=f"{name}: {found}; expected a folder .*: compact$"):
            checkpoint.load_model(tmp_path / name)


def test_models_inside_a_folder_are_suggested(saved):
    with pytest.raises(ValueError, match=rf"no model.json in it; did you mean {saved}\?$"):
        checkpoint.load_model(saved.parent)


def test_the_name_of_a_shipped_model_is_not_a_folder_here(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert checkpoint.model_dir("compact") == fcfrnet_jax.COMPACT
    assert caplog.text == ""
    checkpoint.save_model("compact", SPEC, random_variables(SPEC), provenance={})
    assert checkpoint.load_spec("compact") == checkpoint.load_spec(fcfrnet_jax.COMPACT)
    assert "./compact is the folder here" in caplog.text
    assert checkpoint.load_spec("./compact") == checkpoint.load_spec(Path("compact")) == SPEC


def test_two_fine_networks_cannot_be_combined():
    with pytest.raises(ValueError, match="then coarse_to_fine, got coarse_to_fine then"):
        checkpoint.combine((FINE, {}), (FINE, {}))


def test_a_stage_is_taken_out_of_a_two_stage_model():
    coarse, fine = ((spec, random_variables(spec)) for spec in (SPEC, FINE))
    both = checkpoint.combine(coarse, fine)
    for stage, model in {"coarse": coarse, "fine": fine}.items():
        for source in (both, model):
            spec, variables = checkpoint.take_stage(source, stage)
            assert spec == model[0]
            jax.tree.map(np.testing.assert_array_equal, variables, model[1])


def test_a_stage_that_is_not_there():
    with pytest.raises(ValueError, match="a sparse_to_coarse model has no fine network"):
        checkpoint.take_stage((SPEC, {}), "fine")
    with pytest.raises(ValueError, match="stage must be one of coarse, fine, got 'both'"):
        checkpoint.take_stage((SPEC, {}), "both")
