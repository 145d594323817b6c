"""What training tells about validations, and the best of them after a resume."""

import json
import math
import shutil

import pytest

from fcfrnet_jax.commands import validation, workdir
from fcfrnet_jax.commands.validation import Selection
from fcfrnet_jax.metric_sets import INDOOR
from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.training.loop import Best
from fcfrnet_jax.weights import checkpoint
from tests.commands.workdirs import config_of, started
from tests.random_weights import random_variables

FIGURES = {
    "val/fill/rmse_mm": 1206.04,
    "val/fill/mae_mm": 263.26,
    "val/coarse/rmse_mm": 830.0,
    "val/coarse/mae_mm": 179.0,
    "val/coarse/silog": 3.0,
}


@pytest.mark.parametrize(
    ("best", "verdict"),
    [
        (Best(830.0, 20), "best so far"),
        (Best(801.26, 10), "best is step 10, RMSE 801.3 mm"),
        (Best(801.26), "best is of an unknown step, RMSE 801.3 mm"),
    ],
)
def test_a_line_has_the_errors_of_every_map(best, verdict):
    line = validation.describe(20, FIGURES, best)
    errors = "fill  1206.0 /  263.3, coarse   830.0 /  179.0"
    assert line == f"Step     20: RMSE / MAE in mm: {errors}; {verdict}"


def test_the_data_set_decides_the_unit_of_a_line():
    figures = {"val/fine/rmse_mm": 92.34, "val/fine/abs_rel": 0.01234}
    line = validation.describe(20, figures, Best(90.0, 10), INDOOR)
    assert line == (
        "Step     20: RMSE in m / REL: fine 0.0923 / 0.0123; best is step 10, RMSE 0.0900 m"
    )


def found_with(folder, rmse):
    """A workdir that records validations, the RMSE by the step, and has a model `best`."""
    started(folder)
    save_best(folder, 20)
    lines = [{"step": step, "val/coarse/rmse_mm": value} for step, value in rmse.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return workdir.read(folder)


def save_best(folder, step):
    spec = SparseToCoarseSpec(18, width=4)
    provenance = {"trained_steps": step}
    checkpoint.save_model(folder / "best", spec, random_variables(spec), provenance=provenance)


def change_validation(folder, rmse):
    """Appends records after the first change of the validation."""
    lines = [
        {"step": step, "val/selection": 1, "val/coarse/rmse_mm": value}
        for step, value in rmse.items()
    ]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
    return workdir.read(folder)


@pytest.mark.parametrize(
    ("step", "kept", "expected"),
    [
        (30, 3.0, Best(3.0, 20)),
        (15, 5.0, Best(5.0, 10)),  # later lines are removed
        (5, math.inf, Best()),
        (30, 2.0, Best(2.0, 20)),  # lines are missing: the step is that of the model
        (15, 2.0, Best(2.0)),
    ],
)
def test_the_best_validation_is_found_again(step, kept, expected, tmp_path):
    found = found_with(tmp_path, {10: 5.0, 20: 3.0, 30: 4.0})
    assert validation.best_so_far(found, config_of(), step, kept, Selection()) == expected


@pytest.mark.parametrize(
    ("step", "kept", "later", "expected"),
    [
        (30, 3.0, {}, Best()),  # the snapshot's best is by the validation before
        (30, 3.0, {30: 9.0}, Best(9.0, 30)),  # step 30 was validated again
        (40, 8.0, {40: 8.0}, Best(8.0, 40)),
    ],
)
def test_a_changed_validation_selects_again(step, kept, later, expected, tmp_path):
    found_with(tmp_path, {10: 5.0, 20: 3.0, 30: 4.0})
    found, changed = change_validation(tmp_path, later), Selection(1, since=30)
    assert validation.best_so_far(found, config_of(), step, kept, changed) == expected
    assert validation.is_validated(found, config_of(), 30, changed) == (30 in later)


def test_whether_a_step_was_validated(tmp_path):
    found = found_with(tmp_path, {10: 5.0})
    assert validation.is_validated(found, config_of(), 10, Selection())
    assert not validation.is_validated(found, config_of(), 20, Selection())
    assert not validation.is_validated(found, config_of(stage="fine"), 10, Selection())


def test_without_a_model_best_it_is_selected_again(tmp_path):
    found = found_with(tmp_path, {10: 5.0})
    shutil.rmtree(tmp_path / "best")
    assert validation.best_so_far(found, config_of(), 10, 5.0, Selection()) == Best()
    assert not validation.is_validated(found, config_of(), 10, Selection())
