"""The tables and sentences that commands print."""

from pathlib import Path

import pytest

from fcfrnet_jax.commands import tables
from fcfrnet_jax.evaluation.metrics import NAMES
from fcfrnet_jax.metric_sets import INDOOR


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({}, "of unknown origin"),
        (
            {"averaged": [{"source": "a"}, {"source": "b"}]},
            "mean of 2 models, the last one converted from b",
        ),
        ({"source": "std.pdparams"}, "converted from std.pdparams"),
        ({"trained_steps": 7}, "trained for 7 steps on sample scenes"),
        (
            {"trained_steps": 7, "settings": {"source": "files", "data_dir": "kitti"}},
            "trained for 7 steps on kitti",
        ),
        (
            {"trained_steps": 7, "settings": {"source": "synthetic", "data_dir": "kitti"}},
            "trained for 7 steps on rendered streets only",
        ),
        (
            {"coarse": {"source": "a"}, "fine": {"source": "b"}},
            "coarse converted from a; fine converted from b",
        ),
    ],
)
def test_the_origin_of_the_weights_is_described(provenance, words):
    assert tables.origin(provenance) == words


def test_the_table_of_an_evaluation(capsys):
    result = {
        "provenance": {},
        "frames": 2,
        "split": "val",
        "data": "kitti",
        "metrics": {
            "fill": dict.fromkeys(NAMES, 1234.56),
            "fine": dict.fromkeys(NAMES, 0.123456),
        },
        "skipped": [{"name": "a"}, {"name": "a"}, {"name": "b"}],
        "panels": [],
    }
    tables.print_metrics(result, Path("out"))
    printed = capsys.readouterr().out
    assert "Mean over the 2 frames of val, kitti:" in printed
    (row,) = (line for line in printed.splitlines() if "RMSE (mm)" in line and "iRMSE" not in line)
    assert "1234.6" in row
    assert "0.1235" in row
    assert "Left out 2 frames" in printed
    assert "Wrote metrics.json and predictions to out" in printed


def test_the_data_set_decides_which_metrics_the_table_has(capsys):
    result = {"provenance": {}, "frames": 1, "split": "test", "data": "nyu", "skipped": []}
    values = dict.fromkeys(NAMES, 0.5) | {"rmse_mm": 92.0}
    tables.print_metrics(result | {"metrics": {"fine": values}, "panels": []}, Path("out"), INDOOR)
    printed = capsys.readouterr().out
    assert "0.0920" in next(line for line in printed.splitlines() if "RMSE (m)" in line)
    assert "SILog" not in printed


def test_one_frame_is_singular(capsys):
    result = {"provenance": {}, "frames": 1, "split": "val", "data": "kitti", "panels": []}
    metrics = {"fill": dict.fromkeys(NAMES, 1.0)}
    tables.print_metrics(result | {"metrics": metrics, "skipped": [{"name": "a"}]}, Path("out"))
    printed = capsys.readouterr().out
    assert "Mean over the 1 frame of val, kitti:" in printed
    assert "Left out 1 frame with files that cannot be used" in printed


def test_captions_show_the_figures_of_the_table(capsys):
    values = dict.fromkeys(NAMES, 99.123456) | {"rmse_mm": 1234.56}
    result = {"provenance": {}, "frames": 1, "split": "val", "data": "kitti", "skipped": []}
    tables.print_metrics(result | {"metrics": {"fill": values}, "panels": ["a"]}, Path("out"))
    printed = capsys.readouterr().out
    assert tables.captions({"fill": values}) == {"fill": "RMSE 1234.6 mm, MAE 99.12 mm"}
    assert "1234.6" in printed
    assert "99.12" in printed
    assert "Wrote metrics.json, predictions and panels to out" in printed
