"""Evaluation and training on rooms that are stored as NYU Depth v2."""

import json

import cv2
import numpy as np
import pytest

from fcfrnet_jax.commands import evaluate, train
from fcfrnet_jax.commands.cli import config_files
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.data.nyu import protocol
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.pictures.panels import depth_bar, error_bar
from tests.nyu_rooms import room, write_hdf5

pytestmark = pytest.mark.usefixtures("short_resnets")
TESTS = 2


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return write_hdf5(tmp_path_factory.mktemp("rooms"), frames=4, tests=TESTS)


def config_of(name, **settings):
    config = config_files.load(name).config
    config.update_from_flattened_dict(settings)
    return config.lock()


def measured(depth, truth):
    """The field's measures of one frame, in float64."""
    p, g = depth.astype(np.float64), truth.astype(np.float64)
    ratio = np.maximum(p / g, g / p)
    limits = {"delta_1_02": 1.02, "delta_1_05": 1.05, "delta_1_10": 1.1, "delta1": 1.25}
    return {
        "rmse_mm": 1000 * np.sqrt(np.mean((p - g) ** 2)),
        "abs_rel": np.mean(np.abs(p - g) / g),
        **{name: np.mean(ratio < limit) for name, limit in limits.items()},
    }


def test_the_fill_is_measured_by_the_protocol(rooms, tmp_path, capsys):
    """Resized with OpenCV, whose area filter is another one, it would not be the same."""
    config = config_of("nyu_eval", data_dir=str(rooms), points=300, panels=1)
    found = evaluate.run(config, tmp_path)
    expected = []
    for seed in range(12, 12 + TESTS):
        image, depth = room(seed)
        image, truth = protocol.resize_image(image), protocol.resize_depth(depth)
        sparse = protocol.sample_points(truth, image, 300)
        fill = np.asarray(classical_fill(sparse[None, ..., None])[0, ..., 0]).clip(0.1, 10)
        expected.append(measured(fill, truth))
        written = read_depth(tmp_path / "predictions" / "official" / f"{seed - 11:05d}.png")
        assert np.abs(written - fill).max() <= 1 / 512 + 1e-6
    for name in expected[0]:
        mean = np.mean([values[name] for values in expected])
        assert found["metrics"]["fill"][name] == pytest.approx(mean, rel=1e-4)
    printed = capsys.readouterr().out
    assert f"{found['metrics']['fill']['rmse_mm'] / 1000:.4f}" in printed
    assert "RMSE (m)" in printed


def test_panels_have_the_scales_of_rooms(rooms, tmp_path):
    config = config_of("nyu_eval", data_dir=str(rooms), panels=1)
    evaluate.run(config, tmp_path)
    (path,) = (tmp_path / "panels").iterdir()
    drawn = cv2.imread(str(path))[..., ::-1]
    # Frames have their image even for the fill, which does not use it.
    image = protocol.resize_image(room(12)[0])
    for bar in (depth_bar(320, 10.0), error_bar(320, 1.0), image):
        assert cv2.matchTemplate(drawn, bar, cv2.TM_SQDIFF).min() < 1e-2 * bar.size


@pytest.mark.nightly
def test_a_training_on_a_few_rooms_converges(rooms, tmp_path, capsys):
    """From random weights, it becomes better than the fill."""
    config = config_of(
        "nyu_train",
        **{
            "data_dir": str(rooms),
            "stage": "coarse",
            "crop": (96, 128),
            "augmentation.points": 90,
            "coarse.layers": 18,
            "coarse.width": 8,
            "dtype": "float32",
            "batch_size": 8,
            "epochs": 0,
            "steps": 60,
            "learning_rate": 3e-3,
            "warmup_steps": 10,
            "ema_decay": 0.0,
            "validate_every": 0,
            "validate_start": True,
            "log_every": 0,
            "save_every": 0,
            "panels": 0,
        },
    )
    train.run(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    errors = [line["val/coarse/rmse_mm"] for line in lines if "val/coarse/rmse_mm" in line]
    fill = next(line["val/fill/rmse_mm"] for line in lines if "val/fill/rmse_mm" in line)
    assert min(errors) < 0.7 * errors[0]
    assert min(errors) < 0.95 * fill
    assert "RMSE in m / REL: fill" in capsys.readouterr().err


def test_without_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = "data_dir=nyudepthv2: there is no such folder"
    with pytest.raises(ValueError, match=message):
        train.run(config_of("nyu_train"), tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        evaluate.run(config_of("nyu_eval"), tmp_path / "out")
