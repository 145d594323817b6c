"""Follows the advice that messages give: what they tell the user to do must work."""

import ast
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcfrnet_jax.commands import evaluate, train, workdir
from fcfrnet_jax.commands.cli.flags import name_flags
from fcfrnet_jax.commands.inference import models
from fcfrnet_jax.data.images import read_depth, write_depth
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
from tests import kitti_tree as tree
from tests import numbered_scenes
from tests.commands import evaluations, runs
from tests.random_weights import random_variables

COARSE, FINE = SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4)
SPECS = {"coarse": COARSE, "fine": FINE, "both": TwoStageSpec(COARSE, FINE)}
pytestmark = pytest.mark.usefixtures("short_resnets")

Settings = dict[str, Any]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "scenes"
    numbered_scenes.write_sample(root, frames=3, height=48, width=160)
    return root


@pytest.fixture(scope="module")
def models_folder(tmp_path_factory: pytest.TempPathFactory, short_resnets: None) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, spec in SPECS.items():
        checkpoint.save_model(folder / name, spec, random_variables(spec), provenance={})
    return folder


def with_paths(settings: Settings, models: Path, data: Path) -> Settings:
    """Names of models and of folders in the dataset become paths."""
    folders = {"checkpoint": models, "coarse_checkpoint": models, "data_dir": data}
    return {
        name: str(folders[name] / value) if value and name in folders else value
        for name, value in settings.items()
    }


def advised(message: str) -> list[Settings]:
    """The settings that a message names as `--config.NAME=VALUE`, each alone."""
    advice = name_flags(message).partition("; ")[2]
    named = re.findall(r'--config\.(\w+)=("\([^)]*\)"|\S+?)(?=[\s;?]|$)', advice)
    return [{name: _value(value.strip('"'))} for name, value in named]


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def frames_of_evaluation(settings: Settings) -> list[Any]:
    """What an evaluation does before it runs a network."""
    config = evaluations.config_of(**settings)
    data = evaluate.check_config(config)
    model = models.load_model(config)
    source = evaluate.coarse_source(config, model[0] if model else None, data)
    return evaluate.find_frames(config, data, model, source)[0]


def remove_one_image(data: Path) -> None:
    """The train drive has two frames."""
    next((data / "raw").rglob("*_0001_sync/image_02/data/*.png")).unlink()


def damage_a_scan(data: Path) -> None:
    victim = next((data / "val").rglob("velodyne_raw/image_02/*.png"))
    victim.write_bytes(victim.read_bytes()[:300])


def in_millimetres(data: Path) -> None:
    for path in (data / "val").rglob("velodyne_raw/image_02/*.png"):
        write_depth(path, np.minimum(read_depth(path) * 50, 255))


def remove_calibration(data: Path) -> None:
    next(data.rglob("calib_cam_to_cam.txt")).unlink()


# Evaluations: what is done to the data, the settings, the message, and the settings that it
# advises in words; None where it names flags, which are then taken from the message.
EVALUATIONS: list[tuple[Callable[[Path], None] | None, Settings, str, Settings | None]] = [
    (None, {"crop": (352, 1216)}, "smaller than the crop", None),
    (damage_a_scan, {}, "1 frame cannot be used", None),
    (remove_one_image, {"checkpoint": "coarse", "split": "train"}, "1 frame cannot be used", None),
    (in_millimetres, {}, "must be in metres", None),
    (None, {"split": "test_completion"}, r"the folder has .*val \(3 frames\)", {"split": "val"}),
    (None, {"data_dir": "val"}, "did you mean data_dir=", None),
    (None, {"data_dir": ".."}, "did you mean data_dir=", None),
    (None, {"batch_size": 3}, "must be 0 or a multiple of the 8 devices", {"batch_size": 8}),
    (
        None,
        {"checkpoint": "fine", "coarse_source": "network"},
        "give --config.coarse_checkpoint",
        {"coarse_checkpoint": "coarse"},
    ),
    (
        None,
        {"checkpoint": "both", "coarse_checkpoint": "coarse"},
        "holds a coarse network, which leaves .* unused; give one of them",
        {"coarse_checkpoint": ""},
    ),
    (
        None,
        {"checkpoint": "fine", "coarse_source": "files"},
        "give the folder of the maps by coarse_dir=FOLDER",
        {"coarse_dir": "val"},
    ),
    (
        None,
        {"checkpoint": "fine", "coarse_checkpoint": "coarse", "coarse_source": "fill"},
        "coarse_source=fill leaves .* unused; give one of them",
        {"coarse_checkpoint": ""},
    ),
    (
        None,
        {"checkpoint": "coarse", "coarse_source": "fill"},
        "give a fine or a two-stage model",
        {"checkpoint": "fine"},
    ),
]


@pytest.mark.parametrize("case", range(len(EVALUATIONS)))
def test_advice_of_evaluation(case: int, scenes: Path, models_folder: Path, tmp_path: Path) -> None:
    prepare, settings, message, words = EVALUATIONS[case]
    data = scenes
    if prepare:
        data = tmp_path / "data"
        shutil.copytree(scenes, data)
        prepare(data)
    settings = {"data_dir": str(data)} | with_paths(settings, models_folder, data)
    with pytest.raises(ValueError, match=message) as error:
        frames_of_evaluation(settings)
    advice = advised(str(error.value)) if words is None else [words]
    assert advice
    for change in advice:
        if words is not None and "coarse_dir" in change:
            change = {"coarse_dir": str(dense_maps(scenes, tmp_path / "dense"))}
        change = with_paths(change, models_folder, data)
        assert frames_of_evaluation(settings | change)


def dense_maps(scenes: Path, folder: Path) -> Path:
    for path in (scenes / "val").rglob("velodyne_raw/image_02/*.png"):
        drive = path.parents[3].name
        write_depth(folder / drive / "image_02" / path.name, np.full((48, 160), 9.0))
    return folder


# Trainings, as above.
TRAININGS: list[tuple[Callable[[Path], None] | None, Settings, str, Settings | None]] = [
    (None, {"crop": (64, 176)}, "smaller than the crop", None),
    (None, {"crop": (64, 128), "mode": "dense+photo"}, "smaller than the crop", None),
    (None, {"val_crop": (64, 176)}, "smaller than the crop", None),
    (remove_one_image, {}, "1 frame cannot be used", None),
    (in_millimetres, {}, "must be in metres", None),
    (None, {"steps": 0}, "--config.steps or --config.epochs must set", {"epochs": 1}),
    (
        None,
        {"schedule": "cosine", "warmup_steps": 5},
        "add steps, or set --config.warmup_steps=",
        {"warmup_steps": 1},
    ),
    (
        None,
        {"coarse_checkpoint": "coarse"},
        "to start from a model, give --config.checkpoint",
        {"coarse_checkpoint": "", "checkpoint": "coarse"},
    ),
    (
        None,
        {"stage": "fine"},
        "needs either --config.coarse_checkpoint or --config.coarse_dir",
        {"coarse_checkpoint": "coarse"},
    ),
    (
        None,
        {"stage": "joint", "checkpoint": "both", "coarse_checkpoint": "coarse"},
        "holds both networks, .* unused; give one of them",
        {"coarse_checkpoint": ""},
    ),
    (
        None,
        {**runs.STREETS, "stage": "fine", "coarse_dir": "val"},
        "give --config.coarse_checkpoint instead of --config.coarse_dir",
        {"coarse_checkpoint": "coarse", "coarse_dir": ""},
    ),
    (
        None,
        {**runs.STREETS, "steps": 0, "epochs": 1},
        "set the length with --config.steps",
        {"steps": 4},
    ),
    (
        None,
        {**runs.STREETS, "schedule": "step"},
        "use constant, cosine or plateau",
        {"schedule": "constant"},
    ),
    (
        None,
        {"batch_size": 8, "accumulate": 2},
        "must be a multiple of the 8 devices times --config.accumulate=2",
        {"batch_size": 16},
    ),
]


@pytest.mark.parametrize("case", range(len(TRAININGS)))
def test_advice_of_training(case: int, scenes: Path, models_folder: Path, tmp_path: Path) -> None:
    prepare, settings, message, words = TRAININGS[case]
    data = scenes
    if prepare:
        data = tmp_path / "data"
        shutil.copytree(scenes, data)
        prepare(data)
    settings = with_paths(settings, models_folder, data)
    with pytest.raises(ValueError, match=message) as error:
        planned(data, settings, tmp_path)
    advice = advised(str(error.value)) if words is None else [words]
    assert advice
    for change in advice:
        assert planned(data, settings | with_paths(change, models_folder, data), tmp_path)


def planned(data: Path, settings: Settings, folder: Path) -> train.Plan:
    """What a training does before its first step."""
    config = runs.config_of(data, **settings)
    return train.make_plan(config, workdir.read(folder / "run"), train.check_config(config))


def test_keep_one_of_two_files(tmp_path: Path) -> None:
    tree.write_drive(tmp_path, size=(48, 80))
    settings = {"data_dir": str(tmp_path), "checkpoint": ""}
    (first, *_) = frames_of_evaluation(settings)
    copy = first.sparse.with_suffix(".PNG")
    shutil.copy(first.sparse, copy)
    with pytest.raises(ValueError, match="keep one of them"):
        frames_of_evaluation(settings)
    copy.unlink()
    assert len(frames_of_evaluation(settings)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("crop", [(0, 0), (32, 64)])
def test_predictions_are_coarse_maps_where_frames_have_two_sizes(
    crop: tuple[int, int], models_folder: Path, tmp_path: Path
) -> None:
    """README: of a run on whole frames; docs/data.md: also of one with the same crop."""
    data = tmp_path / "data"
    tree.write_drive(data, numbers=(0, 2), size=(45, 75))
    tree.write_drive(data, numbers=(1, 3), size=(40, 78))
    settings = {"data_dir": str(data), "crop": crop}
    first = evaluations.evaluated(tmp_path / "first", **settings)
    second = evaluations.evaluated(
        tmp_path / "second",
        checkpoint=str(models_folder / "fine"),
        coarse_dir=str(tmp_path / "first" / "predictions"),
        **settings,
    )
    for one, other in zip(first["per_frame"], second["per_frame"], strict=True):
        # The PNG rounds to 1/256 m.
        expected = one["metrics"]["fill"]["mae_mm"]
        assert other["metrics"]["coarse"]["mae_mm"] == pytest.approx(expected, abs=2)
