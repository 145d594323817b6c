"""Model checkpoints: exact round trips, and clear errors for damaged folders."""

import json

import jax
import numpy as np
import pytest

from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
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


def test_a_checkpoint_of_the_first_version_loads(saved):
    write_record(saved, FIRST_COARSE)
    found, restored = checkpoint.load_model(saved)
    assert found == SPEC
    jax.tree.map(np.testing.assert_array_equal, restored, random_variables(SPEC))


def test_no_temporary_files_remain(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_a_model_is_not_overwritten_by_accident(saved):
    message = "holds a model already; choose a new folder or set overwrite=True"
    with pytest.raises(ValueError, match=message):
        checkpoint.save_model(saved, FINE, random_variables(FINE), provenance={})
    checkpoint.save_model(saved, FINE, random_variables(FINE), provenance={}, overwrite=True)
    assert checkpoint.load_spec(saved) == FINE


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds other files"):
        checkpoint.save_model(tmp_path, SPEC, {}, provenance={}, overwrite=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").unlink(), "no model.json in it"),
        (
            lambda folder: (folder / "model.json").write_text("{"),
            "not a readable model description",
        ),
        (
            lambda folder: (folder / "model.json").write_text('{"format": 9}'),
            "format 9, this version",
        ),
        (
            lambda folder: (folder / "variables" / "_METADATA").write_text("x"),
            "cannot read the varia",
        ),
    ],
)
def test_damaged_files_are_named(saved, damage, message):
    damage(saved)
    with pytest.raises(ValueError, match=message):
        checkpoint.load_model(saved)


def test_variables_of_another_model(saved):
    record = json.loads((saved / "model.json").read_text())
    record["model"]["width"] = 8
    (saved / "model.json").write_text(json.dumps(record))
    with pytest.raises(
        ValueError, match=r"do not match model.json: batch_stats.*is \(2,\), expected"
    ):
        checkpoint.load_model(saved)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        checkpoint.load_model(tmp_path / "nowhere")


def test_two_fine_networks_cannot_be_combined():
    with pytest.raises(ValueError, match="then coarse_to_fine, got coarse_to_fine then"):
        checkpoint.combine((FINE, {}), (FINE, {}))
