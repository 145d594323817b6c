"""The evaluation, from the config to the files that it writes."""

import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.commands import evaluate, tables
from fcfrnet_jax.data.images import read_depth, read_image, write_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.evaluation import metrics
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
from tests import kitti_tree, numbered_scenes
from tests.commands.evaluations import CROP, crop_of, evaluated
from tests.conftest import ROOT, xla_flags
from tests.random_weights import random_variables

COARSE, FINE = SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4)
pytestmark = pytest.mark.usefixtures("short_resnets")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Three small sample scenes whose images are noise."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=3, height=48, width=160)
    return root


def weights(spec):
    """Random weights whose depths are mostly between the limits."""
    variables = random_variables(spec)
    head = variables["params"][HEAD]
    return variables | {
        "params": variables["params"] | {HEAD: jax.tree.map(lambda leaf: 0.05 * leaf, head)}
    }


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory, short_resnets):
    """Random narrow models: `coarse`, `fine` and `both`."""
    folder = tmp_path_factory.mktemp("models")
    coarse, fine = (COARSE, weights(COARSE)), (FINE, weights(FINE))
    both = checkpoint.combine(coarse, fine)
    for name, model in {"coarse": coarse, "fine": fine, "both": both}.items():
        checkpoint.save_model(folder / name, *model, provenance={"source": f"{name}.pdparams"})
    return folder


@pytest.fixture(scope="module")
def two_stage(scenes, models_folder, tmp_path_factory):
    """The result and the workdir of a run of both networks, given as two checkpoints."""
    workdir = tmp_path_factory.mktemp("two_stage")
    coarse, fine = (str(models_folder / name) for name in ("coarse", "fine"))
    settings = {"checkpoint": fine, "coarse_checkpoint": coarse, "batch_size": 8}
    return evaluated(workdir, data_dir=str(scenes), **settings), workdir


def read_map(folder, kind, name):
    """A depth map of a frame of val, cropped, `[1, H, W, 1]`."""
    drive, camera, number = name.split("/")
    path = folder / "val" / drive / "proj_depth" / kind / camera / f"{number}.png"
    return crop_of(read_depth(path))[None, ..., None]


def read_cropped_image(folder, name):
    drive, camera, number = name.split("/")
    path = folder / "raw" / drive[:10] / drive / camera / "data" / f"{number}.png"
    return crop_of(read_image(path))[None]


def test_every_stage_equals_the_network_applied_directly(two_stage, scenes, models_folder):
    result, _ = two_stage
    assert list(result["metrics"]) == ["fill", "coarse", "fine"]
    _, variables = checkpoint.load_model(models_folder / "both")
    apply = jax.jit(models.build(TwoStageSpec(COARSE, FINE)).apply)
    for frame in result["per_frame"]:
        image = read_cropped_image(scenes, frame["name"])
        depth = read_map(scenes, "velodyne_raw", frame["name"])
        depths = apply(variables, image, depth)
        truth = read_map(scenes, "groundtruth", frame["name"])
        for name, found, limit in zip(("coarse", "fine"), depths, (100.0, 85.0), strict=True):
            expected = metrics.depth_metrics(np.clip(found, 0.9, limit), truth)["rmse_mm"][0]
            assert frame["metrics"][name]["rmse_mm"] == pytest.approx(float(expected), rel=1e-5)
            assert expected < 40_000  # otherwise clipping would hide the output of the network


def test_means_are_over_frames(two_stage):
    result, _ = two_stage
    for name, means in result["metrics"].items():
        for measure, value in means.items():
            frames = [frame["metrics"][name][measure] for frame in result["per_frame"]]
            assert value == pytest.approx(np.mean(frames), rel=1e-12)


def test_predictions_are_the_fine_depth(two_stage, scenes):
    result, workdir = two_stage
    frame = result["per_frame"][0]
    stored = read_depth(workdir / "predictions" / f"{frame['name']}.png")[None, ..., None]
    found = metrics.depth_metrics(stored, read_map(scenes, "groundtruth", frame["name"]))
    # The PNG rounds to 1/256 m.
    assert float(found["mae_mm"][0]) == pytest.approx(frame["metrics"]["fine"]["mae_mm"], abs=2)


def test_the_files_of_a_run(two_stage):
    result, workdir = two_stage
    assert json.loads((workdir / "metrics.json").read_text()) == result
    predictions = workdir / "predictions"
    written = {str(path.relative_to(predictions)) for path in predictions.rglob("*.png")}
    assert written == {f"{frame['name']}.png" for frame in result["per_frame"]}
    assert len(list((workdir / "panels").iterdir())) == 1
    names = {path.name for path in workdir.iterdir()}
    assert names == {"metrics.json", "panels", "predictions"}


def test_the_record_of_a_run(two_stage):
    result, _ = two_stage
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", result["run"])
    expected = {
        "crop": list(CROP),
        "dtype": "float32",
        "batch_size": 8,
        "coarse_source": "network",
        "coarse_dir": None,
        "check_depth": True,
        "skip_bad_frames": False,
        "devices": {"platform": "cpu", "kind": "cpu", "number": 8},
    }
    assert {name: result[name] for name in expected} == expected
    assert result["seconds"] > 0
    assert {len(digest) for digest in result["digests"].values()} == {32}
    assert result["digests"].keys() == {"checkpoint", "coarse_checkpoint"}
    assert result["versions"]["jax"] == jax.__version__
    assert None not in result["versions"].values()


def test_the_origin_of_the_weights(two_stage, capsys):
    result, workdir = two_stage
    assert result["provenance"] == {
        "checkpoint": {"source": "fine.pdparams"},
        "coarse_checkpoint": {"source": "coarse.pdparams"},
    }
    tables.print_metrics(result, workdir)
    printed = capsys.readouterr().out
    assert f"Model {result['checkpoint']}: converted from fine.pdparams" in printed
    assert f"Wrote metrics.json, predictions and panels to {workdir}" in printed


@pytest.mark.nightly
def test_the_command_on_one_device_agrees_with_eight(two_stage, scenes, models_folder, tmp_path):
    """Three frames do not fill batches of 8 or of 2."""
    flags = {"data_dir": scenes, "checkpoint": models_folder / "both", "split": "val"}
    flags |= {"crop": CROP, "batch_size": 2}
    program = [sys.executable, "-m", "tests.quick_command", "--config=configs/eval.py"]
    settings = [f"--config.{name}={value}" for name, value in flags.items()]
    done = subprocess.run(
        [*program, f"--workdir={tmp_path}", *settings],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": xla_flags(1)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Mean over the 3 frames of val" in done.stdout
    one = json.loads((tmp_path / "metrics.json").read_text())
    eight, _ = two_stage
    for name, means in eight["metrics"].items():
        assert one["metrics"][name] == pytest.approx(means, rel=1e-6)


def test_fill_as_the_coarse_source(scenes, models_folder, tmp_path):
    fine, both = (
        evaluated(
            tmp_path / name,
            data_dir=str(scenes),
            checkpoint=str(models_folder / name),
            coarse_source="fill",
        )
        for name in ("fine", "both")
    )
    assert fine["coarse_source"] == both["coarse_source"] == "fill"
    assert fine["metrics"]["coarse"] == fine["metrics"]["fill"]
    assert fine["metrics"]["fine"] != fine["metrics"]["fill"]
    assert both["metrics"] == fine["metrics"]


@pytest.mark.slow
def test_predictions_of_one_run_are_coarse_maps_of_the_next(scenes, models_folder, tmp_path):
    # Coarse maps have the frames' size.
    settings = {"data_dir": str(scenes), "crop": (0, 0)}
    first = evaluated(tmp_path / "first", **settings)
    assert first["coarse_source"] is None
    stored = str(tmp_path / "first" / "predictions")
    second, third = (
        evaluated(
            tmp_path / name,
            checkpoint=str(models_folder / name),
            coarse_dir=stored,
            **settings,
        )
        for name in ("fine", "both")
    )
    # The PNG rounds to 1/256 m.
    expected = first["metrics"]["fill"]["mae_mm"]
    assert second["metrics"]["coarse"]["mae_mm"] == pytest.approx(expected, abs=2)
    assert second["coarse_source"] == third["coarse_source"] == "files"
    assert "fine" in second["metrics"]
    assert second["coarse_dir"] == stored
    assert first["coarse_source"] is None
    assert third["metrics"] == second["metrics"]


def test_the_fill_alone_reads_neither_images_nor_calibration(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for path in data.rglob("calib_cam_to_cam.txt"):
        path.write_text("P_rect_02: damaged")
    frames = find_frames(data, "val")
    frames[0].image.write_bytes(b"damaged")
    frames[1].image.unlink()
    whole = evaluated(tmp_path / "whole", data_dir=str(scenes), panels=3)
    result = evaluated(tmp_path / "out", data_dir=str(data), panels=3)
    assert result["metrics"] == whole["metrics"]
    panels = [
        [read_image(path) for path in sorted((tmp_path / out / "panels").iterdir())]
        for out in ("out", "whole")
    ]
    same = [a.shape == b.shape and (a == b).all() for a, b in zip(*panels, strict=True)]
    assert same == [False, False, True]


def test_whole_frames_of_two_sizes_equal_the_predictor(models_folder, tmp_path):
    data = tmp_path / "data"
    kitti_tree.write_drive(data, numbers=(0, 2), size=(45, 75))
    kitti_tree.write_drive(data, numbers=(1, 3), size=(40, 78))
    model = models_folder / "coarse"
    result = evaluated(tmp_path / "out", data_dir=str(data), checkpoint=str(model), crop=(0, 0))
    predictor = fcfrnet_jax.load(model)
    frames = find_frames(data, "val")
    assert [frame["name"] for frame in result["per_frame"]] == [frame.name for frame in frames]
    for frame in frames:
        written = read_depth(tmp_path / "out" / "predictions" / f"{frame.name}.png")
        expected = predictor(read_image(frame.image), read_depth(frame.sparse))
        # The PNG rounds to 1/256 m.
        np.testing.assert_allclose(written, expected, rtol=0, atol=0.6 / 256)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "test"}, "must be one of train, val, .*, got 'test'; the data set is KITTI$"),
        ({"coarse_source": "magic"}, "--config.coarse_source must be one of auto, network, files"),
        ({"dtype": "int8"}, "--config.dtype must be one of float32, bfloat16, got 'int8'"),
        ({"crop": (-1, 64)}, r"crop must be rows and columns, .* got \(-1, 64\)"),
        ({"batch_size": 3}, "--config.batch_size=3 must be 0 or a multiple of the 8 devices"),
        ({"batch_size": -8}, "--config.batch_size must be at least 0, got -8"),
        ({"panels": -1}, "--config.panels must be at least 0, got -1"),
        ({"coarse_source": "network"}, "needs a coarse network: give --config.coarse_checkpoint"),
        (
            {"coarse_checkpoint": "fine"},
            "coarse_checkpoint: .*/fine holds a coarse_to_fine model, expected sparse_to_coarse or",
        ),
        (
            {"coarse_checkpoint": "coarse", "checkpoint": "both"},
            "checkpoint=.*/both holds a coarse network, which leaves .*coarse_checkpoint=.*/coarse",
        ),
        (
            {"checkpoint": "coarse", "coarse_source": "fill"},
            "coarse_source=fill needs a fine network, but --config.checkpoint=.*/coarse holds a co",
        ),
        (
            {"checkpoint": "coarse", "coarse_dir": "maps"},
            "coarse_dir=maps needs a fine network, but --config.checkpoint=.*/coarse holds a coar",
        ),
        (
            {"checkpoint": "fine", "coarse_checkpoint": "coarse", "coarse_dir": "maps"},
            "coarse_dir=maps leaves --config.coarse_checkpoint=.*/coarse unused; give one",
        ),
        (
            {"coarse_source": "fill", "coarse_dir": "maps"},
            "=fill leaves --config.coarse_dir unused",
        ),
        ({"checkpoint": "nowhere"}, "--config.checkpoint: .*/nowhere: no such folder"),
        ({"coarse_source": "files"}, "data_depth_dense_new"),
        ({"crop": (352, 1216)}, "3 frames cannot be used: .* is 48x160"),
        ({"split": "test_completion"}, "no test_completion frames under"),
    ],
)
def test_invalid_settings_are_refused(settings, message, scenes, models_folder, tmp_path):
    for setting in ("checkpoint", "coarse_checkpoint"):
        if setting in settings:
            settings = settings | {setting: str(models_folder / settings[setting])}
    with pytest.raises(ValueError, match=message):
        evaluated(tmp_path / "out", **{"data_dir": str(scenes)} | settings)
    assert not (tmp_path / "out").exists()


def test_without_ground_truth_there_are_predictions_only(tmp_path, capsys):
    folder = tmp_path / "data" / kitti_tree.TEST
    kitti_tree.write_test_selection(folder, size=(48, 160))
    result = evaluated(tmp_path / "out", data_dir=str(tmp_path / "data"), split="test_completion")
    assert result["metrics"] == {}
    assert [frame["metrics"] for frame in result["per_frame"]] == [{}] * 3
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result
    for number in range(3):
        depth = read_depth(tmp_path / "out" / "predictions" / f"{number:010d}.png")
        assert depth.shape == CROP
        assert (depth > 0).all()
    assert len(list((tmp_path / "out" / "panels").iterdir())) == 1
    printed = capsys.readouterr().out
    assert "RMSE" not in printed
    assert "Wrote metrics.json, predictions and panels" in printed


def test_damaged_frames(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    victim = next((data / "val").rglob("velodyne_raw/image_02/*.png"))
    victim.write_bytes(victim.read_bytes()[:500])
    with pytest.raises(ValueError, match=f"1 frame cannot be used: {victim} is truncated"):
        evaluated(tmp_path / "out", data_dir=str(data))
    result = evaluated(tmp_path / "out", data_dir=str(data), skip_bad_frames=True)
    assert result["frames"] == 2
    (skipped,) = result["skipped"]
    assert skipped["path"] == str(victim)
    assert "truncated" in skipped["reason"]


def test_a_run_that_fails_leaves_the_results_of_the_last_one(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    before = evaluated(tmp_path / "out", data_dir=str(data))
    assert list(before["metrics"]) == ["fill"]
    victim = sorted((data / "val").rglob("groundtruth/image_02/*.png"))[-1]
    write_depth(victim, np.full((48, 160), 0.05))
    with pytest.raises(ValueError, match=f"{victim} has no depth above 0.1 m in the crop"):
        evaluated(tmp_path / "out", data_dir=str(data), check_depth=False)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == before
    assert len(list((tmp_path / "out" / "predictions").rglob("*.png"))) == 3
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_a_workdir_with_files_of_a_user_is_refused_before_the_work(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "evaluate_frames", None)  # fails if called
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / "mine.png").touch()
    with pytest.raises(ValueError, match="predictions was not written by an evaluation"):
        evaluated(tmp_path, data_dir=str(scenes))
    assert (tmp_path / "predictions" / "mine.png").exists()


def test_without_panels_there_is_no_folder_for_them(scenes, tmp_path, capsys):
    evaluated(tmp_path, data_dir=str(scenes), panels=0)
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "predictions"}
    assert f"Wrote metrics.json and predictions to {tmp_path}" in capsys.readouterr().out
