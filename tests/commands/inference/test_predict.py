"""Prediction of folders, from the command line to the files that it writes."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import plyfile
import pytest
from PIL import Image

import fcfrnet_jax
from fcfrnet_jax.commands.inference import predict
from fcfrnet_jax.commands.inference.models import colour_range
from fcfrnet_jax.configs import predict as predict_config
from fcfrnet_jax.data.images import read_depth, read_image, write_depth
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.pictures.point_clouds import point_cloud
from fcfrnet_jax.weights import checkpoint
from tests.conftest import ROOT, xla_flags
from tests.random_weights import random_variables

pytestmark = pytest.mark.usefixtures("short_resnets")

ROWS, COLUMNS = 24, 40
FRAMES = 12
INTRINSICS = "30,30,20,12"


def scan(seed):
    """A wall, seen by a scanner."""
    random = np.random.default_rng(seed)
    depth = np.where(random.uniform(size=(ROWS, COLUMNS)) < 0.3, random.uniform(8, 9), 0)
    return np.round(depth * 256) / 256


def config_of(**settings):
    config = predict_config.get_config()
    config.update(checkpoint="", outputs="png")
    config.update_from_flattened_dict(settings)
    return config.lock()


@pytest.fixture(scope="module")
def model(tmp_path_factory, short_resnets):
    """The folder of a narrow coarse network."""
    spec = SparseToCoarseSpec(18, width=4)
    folder = tmp_path_factory.mktemp("models") / "coarse"
    checkpoint.save_model(folder, spec, random_variables(spec), provenance={})
    return str(folder)


@pytest.fixture
def inputs(tmp_path):
    """Folders of images and depth files whose names differ."""
    for folder in ("rgb/day", "lidar/day"):
        (tmp_path / folder).mkdir(parents=True)
    for i in range(FRAMES):
        noise = np.random.default_rng(i).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"rgb/day/cam_{i:03d}.png")
        write_depth(tmp_path / f"lidar/day/{i:03d}_scan.png", scan(i))
    return {
        "image": str(tmp_path / "rgb"),
        "depth": str(tmp_path / "lidar"),
        "image_pattern": "{day}/cam_{n}",
        "depth_pattern": "{day}/{n}_scan",
    }


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*.png")}


def test_outputs_are_what_the_predictor_returns(inputs, model, tmp_path):
    settings = {"outputs": "png,npy,colour,panel,ply,pcd", "intrinsics": INTRINSICS}
    settings |= {"cloud.max_jump": 100.0, "cloud.max_depth": 100.0}
    config = config_of(**inputs, **settings, checkpoint=model)
    result = predict.run(config, tmp_path / "out")
    assert (result["frames"], result["predicted"], result["skipped"]) == (FRAMES, FRAMES, [])
    image = read_image(tmp_path / "rgb" / "day" / "cam_003.png")
    expected = fcfrnet_jax.load(model)(image, scan(3).astype(np.float32))
    depth = np.load(tmp_path / "out" / "npy" / "day" / "003.npy")
    np.testing.assert_allclose(depth, expected, atol=1e-3)
    stored = read_depth(tmp_path / "out" / "depth" / "day" / "003.png")
    np.testing.assert_allclose(stored, depth, atol=0.5 / 256)
    matrix = np.array([[30, 0, 20], [0, 30, 12], [0, 0, 1]])
    limits = {"max_jump": 100.0, "max_depth": 100.0}
    cloud = point_cloud(depth, image, matrix, sparse_depth=scan(3), **limits)
    assert len(cloud.points) > 300
    read = plyfile.PlyData.read(tmp_path / "out" / "ply" / "day" / "003.ply")["vertex"].data
    np.testing.assert_array_equal(read["z"], cloud.points[:, 2])
    for kind in ("colour", "panels", "pcd"):
        assert len(list((tmp_path / "out" / kind / "day").iterdir())) == FRAMES


def test_one_image_of_any_size_and_a_png_in_millimetres(inputs, tmp_path):
    one = {"image": f"{inputs['image']}/day/cam_000.png", "depth": str(tmp_path / "depth.npy")}
    np.save(tmp_path / "depth.npy", np.rint(1000 * scan(0)).astype(np.uint16))
    predict.run(config_of(**one, depth_scale=1000.0, png_scale=1000.0), tmp_path / "out")
    stored = 256 / 1000 * read_depth(tmp_path / "out" / "depth" / "cam_000.png")
    measured = scan(0) > 0
    np.testing.assert_allclose(stored[measured], scan(0)[measured], atol=2e-3)
    assert not (tmp_path / "out" / "predict.json").exists()


def test_colours_end_at_the_largest_depth_of_the_model():
    room = {"min_depth": 0.1, "max_depth": 10.0}
    rooms = TwoStageSpec(SparseToCoarseSpec(), CoarseToFineSpec(**room))
    for spec, expected in ((SparseToCoarseSpec(), 80.0), (rooms, 10.0), (rooms.fine, 10.0)):
        assert colour_range(0.0, (spec, {})) == expected
    assert colour_range(0.0, None) == 80.0
    assert colour_range(15.0, (rooms, {})) == 15.0


def test_an_input_is_not_replaced(tmp_path):
    (tmp_path / "depth").mkdir()
    write_depth(tmp_path / "depth" / "0.png", scan(0))
    with pytest.raises(ValueError, match=r"depth/0\.png is an input and would be replaced"):
        predict.run(config_of(depth=str(tmp_path / "depth" / "0.png")), tmp_path)


def test_bad_and_lonely_files_are_listed(inputs, tmp_path):
    lidar = tmp_path / "lidar" / "day"
    (lidar / "001_scan.png").write_bytes(b"damaged")
    write_depth(lidar / "002_scan.png", scan(2)[:8])
    (lidar / "003_scan.png").unlink()
    (tmp_path / "rgb" / "day" / "cam_004.png").unlink()
    result = predict.run(config_of(**inputs), tmp_path / "out")
    reasons = {item["name"]: item["reason"] for item in result["skipped"]}
    assert reasons.keys() == {"day/001", "day/002"}
    assert reasons["day/001"].startswith("not a readable image, expected a 16-bit depth PNG")
    assert reasons["day/002"].startswith("the image is 24x40 (height x width), the depth 8x40")
    assert result["without_depth"] == [str(tmp_path / "rgb" / "day" / "cam_003.png")]
    assert result["without_image"] == [str(lidar / "004_scan.png")]
    assert len(contents(tmp_path / "out")) == result["predicted"] == FRAMES - 4
    assert json.loads((tmp_path / "out" / "predict.json").read_text()) == result
    # The same command finds bad files alone, which is no reason to fail.
    again = predict.run(config_of(**inputs), tmp_path / "out")
    assert (again["predicted"], again["skipped"]) == (0, result["skipped"])


def test_a_run_goes_on_where_it_was_stopped(inputs, tmp_path):
    predict.run(config_of(**inputs), tmp_path / "out")
    whole = contents(tmp_path / "out")
    depth = tmp_path / "out" / "depth" / "day"
    kept = (depth / "000.png").stat().st_mtime_ns
    (depth / "005.png").unlink()
    (depth / f".007.{32 * 'a'}.png").write_bytes(b"half")
    # As earlier versions recorded their default.
    result = predict.run(config_of(**inputs, colour_max_depth=80.0), tmp_path / "out")
    assert (result["existed"], result["predicted"]) == (FRAMES - 1, 1)
    assert contents(tmp_path / "out") == whole
    assert (depth / "000.png").stat().st_mtime_ns == kept
    assert predict.run(config_of(**inputs), tmp_path / "out")["predicted"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth_scale": 128.0}, "another run: depth_scale was 0.0 and is 128.0; choose another"),
        (
            {"depth_pattern": "*/{n}_scan", "image_pattern": "*/cam_{n}", "max_depth": 8.5},
            "depth_pattern was .* and is .*, image_pattern .*, max_depth was 0.0 and is 8.5; ",
        ),
    ],
)
def test_other_settings_need_another_workdir(settings, message, inputs, tmp_path):
    predict.run(config_of(**inputs), tmp_path / "out")
    with pytest.raises(ValueError, match=message):
        predict.run(config_of(**inputs | settings), tmp_path / "out")
    one = {
        "image": f"{inputs['image']}/day/cam_000.png",
        "depth": f"{inputs['depth']}/day/000_scan.png",
    }
    with pytest.raises(
        ValueError, match="out holds the results of a run on folders; choose another"
    ):
        predict.run(config_of(**one), tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": ""}, "--config.image=.* has neither depth nor a scan: give its sparse depth by"),
        ({"depth": "absent"}, "--config.depth=absent: there is no such file or folder"),
        ({"image_pattern": "cam"}, "^--config.image_pattern=cam must have fields in braces"),
        (
            {"depth_pattern": "{name}", "image_pattern": "{name}"},
            "none of 12 images .*; --config.image_pattern and --config.depth_pattern describe",
        ),
        ({"png_scale": 1e6}, "--config.png_scale must be at least 1.0 and at most 10000.0"),
        ({"outputs": "png,jpg"}, "--config.outputs: outputs must be some of png, .*unknown 'jpg'"),
        ({"outputs": "ply"}, "--config.intrinsics is empty, but point clouds and recordings need"),
        ({"outputs": "ply", "intrinsics": "1,2"}, "--config.intrinsics=1,2 is neither a file"),
        ({"outputs": "ply", "intrinsics": "0,9,1,2"}, "--config.intrinsics=0,9,1,2 must have posi"),
        ({"outputs": "ply", "intrinsics": "."}, r"intrinsics=\. has no file for 12 of 12 frames"),
        ({"depth_scale": 1.0}, "with 1 values per metre, .*; likely --config.depth_scale=256"),
        ({"depth_scale": -1.0}, "--config.depth_scale must be finite and at least 0.0, got -1.0"),
        ({"cloud.max_jump": 0.0}, "--config.cloud.max_jump must be finite and above 0.0"),
    ],
)  # fmt: skip
def test_mistakes_are_reported_before_anything_is_written(settings, message, inputs, tmp_path):
    with pytest.raises(ValueError, match=message):
        predict.run(config_of(**inputs | settings), tmp_path / "out")
    assert not (tmp_path / "out" / "depth").exists()


def test_a_model_that_needs_images_is_refused_without(inputs, model, tmp_path):
    config = config_of(depth=inputs["depth"], checkpoint=model)
    with pytest.raises(ValueError, match=r"--config.image is empty, but the model needs images"):
        predict.run(config, tmp_path / "out")


def test_a_setting_can_be_corrected_as_long_as_nothing_was_written(inputs, tmp_path):
    with pytest.raises(ValueError, match=r"likely --config.depth_scale=256"):
        predict.run(config_of(**inputs, depth_scale=1.0), tmp_path / "out")
    assert predict.run(config_of(**inputs), tmp_path / "out")["predicted"] == FRAMES


def test_results_are_not_the_inputs_of_the_next_run(inputs):
    for workdir in (inputs["depth"], f"{inputs['image']}/out"):
        with pytest.raises(ValueError, match=r"--workdir=.* is in --config.(image|depth)=.*"):
            predict.run(config_of(**inputs), workdir)


def test_nothing_to_predict_is_an_error(inputs, tmp_path):
    for path in (tmp_path / "rgb" / "day").iterdir():
        path.write_bytes(b"damaged")
    with pytest.raises(
        ValueError, match=r"cam_000\.png: not a readable image.* .none of 8 sampled frames"
    ):
        predict.run(config_of(**inputs), tmp_path / "out")


@pytest.mark.slow
def test_a_killed_command_is_completed(inputs, tmp_path):
    program = [sys.executable, "-m", "fcfrnet_jax.main", "--config=predict"]
    settings = inputs | {"checkpoint": "", "outputs": "png,panel"}
    program += [f"--config.{name}={value}" for name, value in settings.items()]
    environment = os.environ | {"XLA_FLAGS": xla_flags(1)}

    def start(workdir):
        return subprocess.Popen([*program, f"--workdir={workdir}"], cwd=ROOT, env=environment)

    assert start(tmp_path / "whole").wait() == 0
    for wanted in (2, 6):
        process = start(tmp_path / "killed")
        # Not those that are being written.
        while len([*(tmp_path / "killed").rglob("[!.]*.png")]) < wanted and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.wait()
    assert start(tmp_path / "killed").wait() == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(list((tmp_path / "killed").rglob("*"))) == len(list((tmp_path / "whole").rglob("*")))
