"""What training tells about validations, and the best of them after a resume."""

import json
import math

import pytest

from fcfrnet_jax.commands import validation, workdir
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


def found_with(folder, rmse):
    """A workdir that records validations: the RMSE by the step."""
    started(folder)
    lines = [{"step": step, "val/coarse/rmse_mm": value} for step, value in rmse.items()]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return workdir.read(folder)


@pytest.mark.parametrize(
    ("step", "kept", "since", "expected"),
    [
        (30, 3.0, 0, Best(3.0, 20)),
        (15, 5.0, 0, Best(5.0, 10)),  # later lines are removed
        (30, 4.0, 20, Best(4.0, 30)),  # after a change of the validation
        (20, 3.0, 20, Best()),
        (5, math.inf, 0, Best()),
        (30, 2.0, 0, Best(2.0)),  # lines are missing
    ],
)
def test_the_best_validation_is_found_again(step, kept, since, expected, tmp_path):
    found = found_with(tmp_path, {10: 5.0, 20: 3.0, 30: 4.0})
    assert validation.best_so_far(found, config_of(), step, kept, since=since) == expected


def test_without_records_the_step_is_that_of_the_model(tmp_path):
    found = found_with(tmp_path, {})
    spec = SparseToCoarseSpec(18, width=4)
    provenance = {"trained_steps": 20}
    checkpoint.save_model(tmp_path / "best", spec, random_variables(spec), provenance=provenance)
    assert validation.best_so_far(found, config_of(), 30, 2.0, since=0) == Best(2.0, 20)
    assert validation.best_so_far(found, config_of(), 15, 2.0, since=0) == Best(2.0)


def test_whether_a_step_was_validated(tmp_path):
    found = found_with(tmp_path, {10: 5.0})
    assert validation.is_validated(found, config_of(), 10)
    assert not validation.is_validated(found, config_of(), 20)
    assert not validation.is_validated(found, config_of(stage="fine"), 10)
