"""The evaluation, from the command line to its files."""

import functools
import json
import os
import pickle
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from configs import eval as eval_config
from fcfrnet_jax import progress
from fcfrnet_jax.commands import evaluate
from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.images import read_depth, read_image, write_depth
from fcfrnet_jax.evaluation import metrics
from fcfrnet_jax.networks import fill, models
from fcfrnet_jax.networks.specs import COARSE_TO_FINE, SPARSE_TO_COARSE, ModelSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
from tests import golden_data, numbered_scenes
from tests.conftest import ROOT, xla_flags
from tests.random_weights import random_variables

CROP = (64, 256)
COARSE, FINE = (ModelSpec(kind, 18, width=4) for kind in (SPARSE_TO_COARSE, COARSE_TO_FINE))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Three sample scenes, small, and of noise."""
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=3, height=96, width=320)
    return root


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory):
    """Random narrow models: `coarse`, `fine` and `both`."""
    folder = tmp_path_factory.mktemp("models")
    for name, spec in (("coarse", COARSE), ("fine", FINE), ("both", TwoStageSpec(COARSE, FINE))):
        checkpoint.save_model(folder / name, spec, random_variables(spec), provenance={})
    return folder


def config_of(**settings):
    config = eval_config.get_config()
    config.update(checkpoint="", crop=CROP, panels=1, split="val")
    config.update(settings)
    return config.lock()


def evaluated(workdir, **settings):
    return evaluate.run(config_of(**settings), workdir)


def command(*flags, **environment):
    line = [sys.executable, "-m", "fcfrnet_jax.main", *flags]
    variables = os.environ | {"XLA_FLAGS": xla_flags(1)} | environment
    return subprocess.run(
        line, capture_output=True, text=True, cwd=ROOT, env=variables, check=False
    )


def crop_of(array):
    top, left = array.shape[0] - CROP[0], (array.shape[1] - CROP[1]) // 2
    return array[top:, left : left + CROP[1]]


@functools.cache
def applied(spec):
    return jax.jit(models.build(spec).apply)


def direct(folder, name, depth_of, spec, variables):
    """The network applied to one frame's files, read without the pipeline."""
    drive, camera, number = name.split("/")
    raw = folder / "raw" / drive[:10] / drive / camera / "data" / f"{number}.png"
    image, depth = crop_of(read_image(raw)), crop_of(depth_of(name))
    output = applied(spec)(variables, image[None], depth[None, ..., None])
    return np.clip(output, 0.9, spec.max_depth)


def truth_of(folder, name):
    drive, camera, number = name.split("/")
    proj = folder / "val" / drive / "proj_depth" / "groundtruth" / camera / f"{number}.png"
    return crop_of(read_depth(proj))[None, ..., None]


def test_without_weights_the_fill_is_evaluated(scenes, tmp_path):
    result = evaluated(tmp_path, data_dir=str(scenes))
    assert list(result["metrics"]) == ["fill"]
    assert result["frames"] == 3
    assert json.loads((tmp_path / "metrics.json").read_text()) == result


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        ({}, "of unknown origin"),
        ({"source": "std.pdparams"}, "converted from std.pdparams"),
        ({"trained_steps": 7}, "trained for 7 steps on sample scenes"),
        (
            {"trained_steps": 7, "settings": {"source": "files", "data_dir": "kitti"}},
            "trained for 7 steps on kitti",
        ),
        (
            {"trained_steps": 7, "settings": {"source": "synthetic", "data_dir": "kitti"}},
            "trained for 7 steps on rendered streets alone",
        ),
        (
            {"coarse": {"source": "a"}, "fine": {"source": "b"}},
            "coarse converted from a; fine converted from b",
        ),
    ],
)
def test_origin_of_the_weights_in_words(provenance, words):
    assert progress.origin(provenance) == words


def test_origin_of_the_weights_is_told(scenes, tmp_path, capsys):
    folder = tmp_path / "model"
    told = {"source": "std.pdparams"}
    checkpoint.save_model(folder, COARSE, random_variables(COARSE), provenance=told)
    result = evaluated(tmp_path / "out", data_dir=str(scenes), checkpoint=str(folder))
    assert result["provenance"] == {"checkpoint": told}
    assert f"Model {folder}: converted from std.pdparams" in capsys.readouterr().out


def test_files_are_named_as_the_images(scenes, tmp_path):
    result = evaluated(tmp_path, data_dir=str(scenes))
    written = {
        str(path.relative_to(tmp_path / "predictions"))
        for path in (tmp_path / "predictions").rglob("*.png")
    }
    assert written == {f"{frame['name']}.png" for frame in result["per_frame"]}
    assert len(list((tmp_path / "panels").iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "metrics.json",
        "panels",
        "predictions",
    ]


def test_every_stage_equals_the_network_applied_directly(scenes, models_folder, tmp_path):
    result = evaluated(
        tmp_path,
        data_dir=str(scenes),
        checkpoint=str(models_folder / "fine"),
        coarse_checkpoint=str(models_folder / "coarse"),
    )
    assert list(result["metrics"]) == ["fill", "coarse", "fine"]

    def sparse(name):
        drive, camera, number = name.split("/")
        proj = scenes / "val" / drive / "proj_depth"
        return read_depth(proj / "velodyne_raw" / camera / f"{number}.png")

    for frame in result["per_frame"]:
        coarse = direct(scenes, frame["name"], sparse, COARSE, random_variables(COARSE))
        expected = metrics.depth_metrics(coarse, truth_of(scenes, frame["name"]))
        assert frame["metrics"]["coarse"]["rmse_mm"] == pytest.approx(
            float(expected["rmse_mm"][0]), rel=1e-5
        )


def test_means_are_over_frames(scenes, models_folder, tmp_path):
    result = evaluated(tmp_path, data_dir=str(scenes), checkpoint=str(models_folder / "both"))
    for name, means in result["metrics"].items():
        for measure, value in means.items():
            frames = [frame["metrics"][name][measure] for frame in result["per_frame"]]
            assert value == pytest.approx(np.mean(frames), rel=1e-12)


def test_predictions_are_the_fine_depth(scenes, models_folder, tmp_path):
    result = evaluated(tmp_path, data_dir=str(scenes), checkpoint=str(models_folder / "both"))
    frame = result["per_frame"][0]
    stored = read_depth(tmp_path / "predictions" / f"{frame['name']}.png")[None, ..., None]
    found = metrics.depth_metrics(stored, truth_of(scenes, frame["name"]))
    # The PNG rounds to 1/256 m.
    assert float(found["mae_mm"][0]) == pytest.approx(frame["metrics"]["fine"]["mae_mm"], abs=2)


def test_one_device_and_eight_agree(scenes, models_folder, tmp_path):
    """Three frames divide by no batch size used."""
    both = str(models_folder / "both")
    eight = evaluated(tmp_path / "eight", data_dir=str(scenes), checkpoint=both, batch_size=8)
    done = command(
        "--config=configs/eval.py",
        f"--config.data_dir={scenes}",
        f"--config.checkpoint={both}",
        "--config.split=val",
        f"--config.crop={CROP}",
        "--config.batch_size=2",
        f"--workdir={tmp_path / 'one'}",
    )
    assert done.returncode == 0, done.stderr
    one = json.loads((tmp_path / "one" / "metrics.json").read_text())
    for name, means in eight["metrics"].items():
        assert one["metrics"][name] == pytest.approx(means, rel=1e-6)


def test_converted_paddle_weights_on_real_frames(kitti_real, tmp_path):
    """From a .pdparams file to metrics, with coarse maps that the fill wrote."""
    state = golden_data.state_dict("fcfrnet18_rgbd", 7)
    (tmp_path / "fine.pdparams").write_bytes(pickle.dumps(state, protocol=2))
    script = [sys.executable, "convert_paddle_weights.py", tmp_path / "fine.pdparams"]
    subprocess.run([*script, tmp_path / "model"], cwd=ROOT, check=True)
    frames = kitti.find_frames(kitti_real, "val_selection")
    for frame in frames:
        sparse = read_depth(frame.sparse)[None, ..., None]
        filled = np.asarray(fill.classical_fill(sparse))[0, ..., 0]
        write_depth(tmp_path / "velodyne_raw" / frame.sparse.name, filled)
    result = evaluated(
        tmp_path / "out",
        data_dir=str(kitti_real),
        split="val_selection",
        checkpoint=str(tmp_path / "model"),
        coarse_source="files",
        coarse_dir=str(tmp_path / "velodyne_raw"),
    )
    spec, variables = golden_data.model("fcfrnet18_rgbd", 7)
    for frame, found in zip(frames, result["per_frame"], strict=True):
        image = crop_of(read_image(frame.image))[None]
        coarse = crop_of(read_depth(tmp_path / "velodyne_raw" / frame.sparse.name))
        output = applied(spec)(variables, image, coarse[None, ..., None])
        truth = crop_of(read_depth(frame.ground_truth))[None, ..., None]
        expected = metrics.depth_metrics(np.clip(output, 0.9, 85), truth)
        for measure in ("rmse_mm", "mae_mm", "irmse_1_per_km"):
            assert found["metrics"]["fine"][measure] == pytest.approx(
                float(expected[measure][0]), rel=1e-5
            )


def test_fill_as_the_coarse_source(scenes, models_folder, tmp_path):
    result = evaluated(
        tmp_path,
        data_dir=str(scenes),
        checkpoint=str(models_folder / "fine"),
        coarse_source="fill",
    )
    assert result["metrics"]["coarse"] == result["metrics"]["fill"]
    assert result["metrics"]["fine"] != result["metrics"]["fill"]


def test_predictions_of_one_run_are_coarse_maps_of_the_next(scenes, models_folder, tmp_path):
    settings = {"data_dir": str(scenes), "crop": (96, 320)}
    coarse, fine = (str(models_folder / name) for name in ("coarse", "fine"))
    first = evaluated(tmp_path / "coarse", checkpoint=coarse, **settings)
    stored = str(tmp_path / "coarse" / "predictions")
    second = evaluated(tmp_path / "fine", checkpoint=fine, coarse_dir=stored, **settings)
    # The PNG rounds to 1/256 m.
    expected = first["metrics"]["coarse"]["mae_mm"]
    assert second["metrics"]["coarse"]["mae_mm"] == pytest.approx(expected, abs=2)
    assert "fine" in second["metrics"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"split": "test"},
            "config.split must be one of train, val, val_selection, test",
        ),
        ({"coarse_source": "magic"}, "config.coarse_source must be one of auto, network, files"),
        ({"dtype": "int8"}, "config.dtype must be one of float32, bfloat16, got 'int8'"),
        ({"batch_size": 3}, "config.batch_size=3 does not divide by the 8 devices here"),
        ({"crop": (350, 1216)}, r"two multiples of 16, or \(0, 0\), got \(350, 1216\)"),
        ({"coarse_source": "network"}, "needs a coarse network: give --config.coarse_"),
        (
            {"coarse_checkpoint": "fine"},
            "holds a coarse_to_fine network, expected sparse",
        ),
        (
            {"coarse_checkpoint": "coarse", "checkpoint": "both"},
            "a coarse network, and so does",
        ),
        ({"checkpoint": "both", "coarse_source": "fill"}, "leaves the coarse network of"),
        ({"checkpoint": "both", "coarse_dir": "maps"}, "leaves --config.coarse_dir=maps unused"),
        ({"checkpoint": "nowhere"}, "no such folder"),
        ({"coarse_source": "files"}, "data_depth_dense_new"),
        ({"crop": (352, 1216)}, "3 frames cannot be used: .* is 96x320"),
        ({"split": "test_completion"}, "no test_completion frames under"),
    ],
)
def test_what_cannot_be_is_refused(settings, message, scenes, models_folder, tmp_path):
    for setting in ("checkpoint", "coarse_checkpoint"):
        if setting in settings:
            settings = settings | {setting: str(models_folder / settings[setting])}
    with pytest.raises(ValueError, match=message):
        evaluated(tmp_path / "out", **{"data_dir": str(scenes)} | settings)
    assert not (tmp_path / "out" / "metrics.json").exists()


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


def test_frame_without_ground_truth_in_the_crop(scenes, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    victim = next((data / "val").rglob("groundtruth/image_02/*.png"))
    write_depth(victim, np.zeros((96, 320)))
    with pytest.raises(ValueError, match=f"{victim} has no depth above 0.1 m in the crop"):
        evaluated(tmp_path / "out", data_dir=str(data))


def test_an_interrupted_run_leaves_the_last_results(scenes, tmp_path, monkeypatch):
    before = evaluated(tmp_path, data_dir=str(scenes))
    monkeypatch.setattr(evaluate, "summarise", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluated(tmp_path, data_dir=str(scenes), split="train")
    assert json.loads((tmp_path / "metrics.json").read_text()) == before
    assert len(list((tmp_path / "predictions").rglob("*.png"))) == 3
    assert not list(tmp_path.glob(".incomplete*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config=configs/eval.py", "--config.batchsize=3"], "batchsize"),
        (["--config=configs/eval.py", "--config.batch_size=many"], "many"),
        (["--config=configs/nowhere.py"], "nowhere.py"),
        (["--confg=configs/eval.py"], "confg"),
        ([], "--config is missing"),
        (["--config=configs/eval.py", "--config.data_dir=/nowhere"], "/nowhere"),
        (["--config=configs/eval.py", "extra"], "extra"),
    ],
)
def test_a_wrong_command_line_ends_with_one_line(flags, message, tmp_path):
    done = command(*flags, f"--workdir={tmp_path / 'out'}")
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert message in done.stderr
