"""The validation on rendered frames: its settings, and how it is told."""

import pytest

from fcfrnet_jax.commands import validation
from fcfrnet_jax.commands.rendered.validation import SELECTING, validation_crop
from fcfrnet_jax.training.loop import Best
from tests.commands.rendered.runs import config_of


@pytest.mark.parametrize(
    ("settings", "crop"),
    [
        ({"val_crop": (32, 96)}, (32, 96)),
        ({"val_crop": (0, 64)}, (32, 64)),
        ({"val_crop": (0, 0), "camera": (375, 1242)}, (368, 1232)),
    ],
)
def test_zero_stands_for_all_that_networks_can_read(settings, crop, tmp_path):
    assert validation_crop(config_of(tmp_path, **settings)) == crop


@pytest.mark.parametrize("crop", [(40, 96), (48, 96), (32, 128)])
def test_a_crop_that_does_not_fit_is_refused(crop, tmp_path):
    with pytest.raises(ValueError, match=r"must be multiples of 16 within .*camera=\(40, 120\)"):
        validation_crop(config_of(tmp_path, val_crop=crop))


def figures(case, **above):
    return {
        f"val/{case}/fill/rmse_mm": 927.3,
        f"val/{case}/fill/mae_mm": 168.1,
        f"val/{case}/fine/rmse_mm": 730.2,
        f"val/{case}/fine/mae_mm": 127.4,
        f"val/{case}/fine/rmse_change": -0.2125,
        f"val/{case}/fine/mae_change": -0.242,
        f"val/{case}/fine/worst_change": 0.031,
        f"val/{case}/fine/worst_frame": 12.0,
        **above,
    }


def test_a_validation_is_a_table():
    above = {"val/16_beams/fill/above": 0.036, "val/16_beams/fine/above": 0.021}
    told = validation.describe(
        20,
        {SELECTING: 0.75} | figures("16_beams", **above) | figures("dense_traffic"),
        Best(0.713, 10),
    )
    first, heading, *rows = told.splitlines()
    assert first == "Step     20: best is step 10, RMSE 71.3% of the fill's"
    names = ["fill", "fine", "change", "worst", "frame", "above", "scan"]
    assert heading.split()[-7:] == names
    cells = "16 beams 927 / 168 730 / 127 -21.2% / -24.2% +3.1% (frame 12) 3.6% 2.1%"
    assert rows[0].split() == cells.split()
    assert rows[1].split() == cells.replace("16 beams", "dense traffic").split()[:-2]
    assert max(map(len, told.splitlines())) <= 100
