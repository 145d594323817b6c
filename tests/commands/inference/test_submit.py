"""Submissions to KITTI's server, on a mock of its test set with small frames."""

import zipfile

import numpy as np
import pytest

from fcfrnet_jax.commands.inference import submit
from fcfrnet_jax.configs import submit as submit_config
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.data.kitti.submission import Benchmark, check_zip
from tests import kitti_tree, own_data
from tests.data.shards.building import build

SIZE = (16, 32)
COUNT = 1000
SMALL = Benchmark(frames=10, size=SIZE)


def config_of(**settings):
    config = submit_config.get_config()
    config.update(checkpoint="", **settings)
    return config.lock()


@pytest.fixture
def data(tmp_path):
    kitti_tree.write_test_selection(tmp_path / kitti_tree.TEST, SMALL.frames, SIZE)
    return str(tmp_path)


def test_a_mock_of_the_test_set_with_1000_frames_is_accepted(tmp_path):
    kitti_tree.write_test_selection(tmp_path / kitti_tree.TEST, COUNT, SIZE)
    benchmark = Benchmark(COUNT, SIZE)
    config = config_of(data_dir=str(tmp_path), batch_size=40)
    result = submit.run(config, tmp_path / "out", benchmark)
    assert result["predicted"] == COUNT
    archive = tmp_path / "out" / "submission.zip"
    assert check_zip(archive, benchmark) == []
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == [f"{i:010d}.png" for i in range(COUNT)]


def test_what_exists_is_not_predicted_again(data, tmp_path):
    config = config_of(data_dir=data)
    submit.run(config, tmp_path / "out", SMALL)
    maps, archive = tmp_path / "out" / "predictions", tmp_path / "out" / "submission.zip"
    whole = archive.read_bytes()
    (maps / "0000000003.png").unlink()
    (maps / f".0000000004.{32 * 'a'}.png").write_bytes(b"half")
    archive.unlink()
    result = submit.run(config, tmp_path / "out", SMALL)
    assert (result["existed"], result["predicted"]) == (9, 1)
    assert archive.read_bytes() == whole
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "predictions",
        "submission.zip",
        "submit.json",
    }


def test_stored_coarse_maps_are_refined(data, tmp_path):
    config = config_of(data_dir=data, coarse_dir=data)
    with pytest.raises(ValueError, match=r"--config.coarse_dir=.* needs a fine or a two-stage"):
        submit.run(config, tmp_path / "out", SMALL)


def test_depth_maps_that_exist_are_checked_and_packed(data, tmp_path, capsys):
    submit.run(config_of(data_dir=data), tmp_path / "out", SMALL)
    maps = tmp_path / "out" / "predictions"
    assert submit.run(config_of(predictions=str(maps)), tmp_path / "packed", SMALL) is None
    packed, archive = (tmp_path / name / "submission.zip" for name in ("packed", "out"))
    assert packed.read_bytes() == archive.read_bytes()
    submit.run(config_of(predictions=str(archive)), tmp_path / "unused", SMALL)
    assert "is a valid submission with 10 depth maps" in capsys.readouterr().err
    assert not (tmp_path / "unused").exists()
    assert np.all(read_depth(maps / "0000000000.png") > 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "0000000000.png").unlink(),
            "wrong number of files: 9 depth maps",
        ),
        (lambda folder: (folder / "a.txt").touch(), "accept this: extra file: a.txt"),
    ],
)
def test_depth_maps_that_the_server_would_refuse_are_not_packed(change, message, data, tmp_path):
    submit.run(config_of(data_dir=data), tmp_path / "out", SMALL)
    maps = tmp_path / "out" / "predictions"
    change(maps)
    with pytest.raises(ValueError, match=message):
        submit.run(config_of(predictions=str(maps)), tmp_path / "packed", SMALL)
    assert not (tmp_path / "packed").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data_dir": ""}, "--config.data_dir is empty; give the folder with KITTI's test_depth_"),
        ({"predictions": "absent"}, "--config.predictions=absent: there is no such file"),
    ],
)
def test_missing_settings(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        submit.run(config_of(**settings), tmp_path / "out", SMALL)


def test_missing_and_extra_frames_are_named(data, tmp_path):
    test = tmp_path / kitti_tree.TEST
    message = r"has 10 test frames, expected 9: frame that the server does not .*: 0000000009"
    with pytest.raises(ValueError, match=message):
        submit.run(config_of(data_dir=data), tmp_path / "out", Benchmark(9, SIZE))
    for kind in ("image", "velodyne_raw", "intrinsics"):
        next((test / kind).glob("0000000004.*")).unlink()
    message = "has 9 test frames, expected 10: missing frame: 0000000004"
    with pytest.raises(ValueError, match=message):
        submit.run(config_of(data_dir=data), tmp_path / "out", SMALL)


def test_frames_may_be_in_shards(data, tmp_path):
    folder = build(tmp_path, tmp_path / "shards", "test_completion")
    found, expected = (
        submit.find_frames(config_of(data_dir=str(place)), None, SMALL) for place in (folder, data)
    )
    assert [frame.name for frame in found] == [frame.name for frame in expected]
    own_data.write(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"mine has mine, but KITTI's test frames are submitted"):
        submit.find_frames(config_of(data_dir=str(tmp_path / "mine")), None, SMALL)


def test_frames_of_another_size_are_refused(data, tmp_path):
    message = "would not accept this: wrong size .width x height.: 10 files: .*32x16 instead of 9x6"
    with pytest.raises(ValueError, match=message):
        submit.run(config_of(data_dir=data), tmp_path / "out", Benchmark(10, (6, 9)))
