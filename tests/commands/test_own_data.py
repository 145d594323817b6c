"""Commands on a data set of another layout than KITTI's."""

import json

import numpy as np
import pytest

from fcfrnet_jax.commands import dataset, train, train_setup, trained_model
from fcfrnet_jax.commands.data import check_data, opening
from fcfrnet_jax.commands.inference import coarse_maps
from fcfrnet_jax.configs import check_data as check_data_config
from fcfrnet_jax.configs import coarse_maps as coarse_maps_config
from fcfrnet_jax.configs import train as train_config
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.networks.fill import classical_fill
from tests import own_data
from tests.commands.evaluations import evaluated

pytestmark = pytest.mark.usefixtures("short_resnets")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("own") / "data"
    own_data.write(root)
    return root


def test_the_fill_is_measured_within_the_limits_of_the_data(folder, tmp_path):
    found = evaluated(tmp_path, data_dir=str(folder), split="val", crop=(0, 0))
    errors = []
    for number in range(3):
        sparse = np.nan_to_num(np.load(folder / "lidar" / "b" / f"{number:04}.npy"))
        fill = np.clip(classical_fill(sparse[None, ..., None])[0, ..., 0], 0.5, 60)
        truth = own_data.truth_of(folder, "b", number)
        errors.append(1000 * np.sqrt(np.mean((np.float64(fill) - truth) ** 2)))
    assert found["metrics"]["fill"]["rmse_mm"] == pytest.approx(np.mean(errors), rel=1e-5)
    predictions = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("predictions/*/*"))
    assert [str(path) for path in predictions] == [f"predictions/b/000{i}.png" for i in range(3)]


@pytest.mark.slow
def test_frames_of_kitti_under_other_names_give_the_same_figures(kitti_real, tmp_path):
    own, kitti = tmp_path / "own", tmp_path / "kitti"
    frames = [frame for frame in find_frames(kitti_real, "val") if "image_03" in frame.name]
    for frame in frames:
        number = frame.name[-4:]
        names = {
            frame.image: f"photos/street-{number}{frame.image.suffix}",
            frame.sparse: f"scans/street/street_{number}.png",
            frame.ground_truth: f"truth/{number}_of_street.png",
        }
        for path, name in names.items():
            for link in (own / name, kitti / path.relative_to(kitti_real)):
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
    description = {
        "image": "photos/{drive}-{number}",
        "sparse_depth": "scans/{drive}/{drive}_{number}.png",
        "ground_truth": "truth/{number}_of_{drive}.png",
        "splits": {"val": ["*"]},
        "limits": [0.9, 100],
    }
    (own / "dataset.json").write_text(json.dumps(description))
    found, expected = (
        evaluated(tmp_path / f"out_{root.name}", data_dir=str(root), crop=(128, 512))
        for root in (own, kitti)
    )
    assert found["frames"] == len(frames) == 2
    assert found["metrics"] == expected["metrics"]


def test_a_split_without_ground_truth_is_predicted(tmp_path):
    own_data.write(tmp_path / "data")
    for path in (tmp_path / "data" / "truth").glob("b_*"):
        path.unlink()
    settings = {"data_dir": str(tmp_path / "data"), "crop": (0, 0), "panels": 0}
    found = evaluated(tmp_path / "out", split="val", **settings)
    assert found["metrics"] == {}
    assert len([*tmp_path.glob("out/predictions/b/*.png")]) == 3


@pytest.mark.slow
def test_a_training_reads_it(folder, tmp_path):
    config = train_config.get_config()
    config.coarse.update(layers=18, width=4)
    config.update(
        stage="coarse",
        data_dir=str(folder),
        val_split="val",
        crop=(32, 48),
        val_crop=(0, 0),
        batch_size=8,
        steps=1,
        warmup_steps=0,
        validate_every=1,
        panels=0,
    )
    train.run(config.lock(), tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert any("val/coarse/rmse_mm" in json.loads(line) for line in lines)


# The second one is also the name of a split of KITTI, which has another layout.
@pytest.mark.parametrize("split", ["val", "val_selection"])
def test_coarse_maps_are_read_back(split, tmp_path):
    folder = tmp_path / "data"
    own_data.write(folder, splits={split: ["b/*"]})
    config = coarse_maps_config.get_config()
    config.update(data_dir=str(folder), split=split, checkpoint="")
    coarse_maps.run(config.lock(), tmp_path / "coarse")
    found = evaluated(
        tmp_path / "out",
        data_dir=str(folder),
        split=split,
        crop=(0, 0),
        coarse_dir=str(tmp_path / "coarse"),
    )["metrics"]
    assert found["coarse"]["rmse_mm"] == pytest.approx(found["fill"]["rmse_mm"], abs=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"split": "test"}, r"--config\.split must be one of train, val, got 'test'"),
        ({"coarse_source": "files"}, "coarse"),
    ],
)
def test_a_wrong_setting_is_refused(settings, message, folder, tmp_path):
    with pytest.raises(ValueError, match=message):
        evaluated(tmp_path / "out", data_dir=str(folder), crop=(0, 0), **settings)
    assert not (tmp_path / "out").exists()


def test_the_limits_are_a_part_of_the_validation_alone(tmp_path):
    found = {}
    for limits in ((0.5, 60), (0.5, 80)):
        folder = tmp_path / str(limits)
        own_data.write(folder, limits=limits)
        config = train_config.get_config()
        config.update(data_dir=str(folder), val_split="val", crop=(16, 32), val_crop=(0, 0))
        data, model = opening.open_data_set(config), trained_model.make_model(config)
        objective = train_setup.make_objective(config)
        found[limits] = (
            train_setup.training_frames(config, data, model, objective)[1],
            train_setup.validation_frames(config, data, model)[1],
        )
    (training, validation), (same, other) = found.values()
    assert training == same
    assert validation != other


@pytest.fixture
def far(tmp_path):
    """A data set with depth of 40 to 240 m."""
    own_data.write(tmp_path / "far", depth_scale={"ground_truth": 125, "sparse_depth": 0.125})
    return tmp_path / "far"


def frames_of(folder, **settings):
    config = train_config.get_config()
    config.update({"data_dir": str(folder), "crop": (16, 32)} | settings)
    return dataset.find_frames(
        config, opening.open_data_set(config), "train", ("ground_truth",), random_crop=True
    )[0]


def test_depth_in_another_unit_is_refused_with_the_likely_scale(far):
    message = r"lidar/a/0000\.npy: .* over 60 m, .*; likely depth_scale=1 \(metres\) gives a median"
    with pytest.raises(ValueError, match=rf"{message}.*; --config.check_depth=False skips this"):
        frames_of(far)
    with pytest.raises(ValueError, match=rf"the depth of 100.0% .*{message}"):
        check_data.run(config_of_check(far), far)
    assert len(frames_of(far, check_depth=False)) == 3


def test_the_limits_of_the_description_decide_which_depth_is_possible(far):
    described = json.loads((far / "dataset.json").read_text()) | {"limits": [0.5, 300]}
    (far / "dataset.json").write_text(json.dumps(described))
    assert len(frames_of(far)) == 3
    check_data.run(config_of_check(far), far)


def config_of_check(folder):
    config = check_data_config.get_config()
    config.update(data_dir=str(folder), splits="train")
    return config.lock()


def test_a_damaged_description_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text('{"sparse_depth": "lidar/{name}.png"}')
    message = rf"^--config\.data_dir: {tmp_path}/dataset\.json: the splits must be given"
    with pytest.raises(ValueError, match=message):
        evaluated(tmp_path / "out", data_dir=str(tmp_path))
