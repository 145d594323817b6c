"""Coarse maps of a data set, and the second stage that reads them."""

import json
import os
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from fcfrnet_jax.commands.inference import coarse_maps
from fcfrnet_jax.configs import coarse_maps as coarse_config
from fcfrnet_jax.data import kitti
from tests import kitti_tree
from tests.commands.evaluations import evaluated
from tests.conftest import ROOT, xla_flags

SIZE = (32, 64)


def config_of(**settings):
    config = coarse_config.get_config()
    config.update(checkpoint="", split="val", **settings)
    return config.lock()


@pytest.fixture
def data(tmp_path):
    root = tmp_path / "kitti"
    kitti_tree.write_drive(root, "val", range(9), size=SIZE)
    kitti_tree.write_drive(root, "train", range(3), drive="2011_09_26_drive_0001_sync", size=SIZE)
    kitti_tree.write_val_selection(root, size=SIZE)
    return str(root)


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.png")}


def test_the_evaluation_reads_what_is_written(data, tmp_path):
    out = tmp_path / "maps"
    for split, count in (("val", 9), ("train", 3), ("val_selection", 3)):
        config = config_of(data_dir=data)
        with config.unlocked():
            config.split = split
        assert coarse_maps.run(config, out)["predicted"] == count
        frames = kitti.find_frames(data, split, coarse_dir=out, require=())
        assert len(frames) == len({frame.coarse for frame in frames}) == count
    settings = {"data_dir": data, "crop": (0, 0), "check_depth": False}
    from_files = evaluated(tmp_path / "eval", coarse_dir=str(out), **settings)["metrics"]
    np.testing.assert_allclose(
        from_files["coarse"]["rmse_mm"], from_files["fill"]["rmse_mm"], atol=4
    )


def test_what_exists_is_not_computed_again(data, tmp_path):
    config = config_of(data_dir=data)
    coarse_maps.run(config, tmp_path / "maps")
    whole = contents(tmp_path / "maps")
    (tmp_path / "maps" / sorted(whole)[4]).unlink()
    result = coarse_maps.run(config, tmp_path / "maps")
    assert (result["existed"], result["predicted"]) == (8, 1)
    assert contents(tmp_path / "maps") == whole
    message = r"another run: crop was \[0, 0\] and is \[16, 16\]; choose another --workdir"
    with pytest.raises(ValueError, match=message):
        coarse_maps.run(config_of(data_dir=data, crop=(16, 16)), tmp_path / "maps")


def test_bad_frames_are_refused_or_left_out(data, tmp_path):
    frames = kitti.find_frames(data, "val", require=())
    os.truncate(frames[2].sparse, 60)
    message = rf"{frames[2].sparse} is truncated .*; skip_bad_frames=True leaves"
    with pytest.raises(ValueError, match=message):
        coarse_maps.run(config_of(data_dir=data), tmp_path / "maps")
    result = coarse_maps.run(config_of(data_dir=data, skip_bad_frames=True), tmp_path / "maps")
    assert (result["predicted"], len(contents(tmp_path / "maps"))) == (8, 8)
    assert [item["name"] for item in result["skipped"]] == [frames[2].name]


def start(workdir, data, *settings):
    program = [sys.executable, "-m", "fcfrnet_jax.main", "--config=coarse_maps"]
    given = [f"--config.data_dir={data}", "--config.checkpoint=", "--config.split=val"]
    return subprocess.Popen(
        [*program, *given, *settings, f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": xla_flags(2)},
        text=True,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_two_processes_write_the_maps_of_one(data, tmp_path):
    """A shard of each already exists, as after a kill."""
    whole = tmp_path / "whole"
    coarse_maps.run(config_of(data_dir=data), whole)
    shutil.copytree(whole, tmp_path / "maps")
    kept = sorted((tmp_path / "maps").rglob("*.png"))
    for path in kept[3:]:
        path.unlink()
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"--config.coordinator=localhost:{free.getsockname()[1]}"
    processes = [
        start(tmp_path / "maps", data, address, "--config.processes=2", f"--config.process={i}")
        for i in range(2)
    ]
    outputs = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert contents(tmp_path / "maps") == contents(whole)
    record = json.loads((tmp_path / "maps" / "coarse_maps.json").read_text())
    assert (record["existed"], record["predicted"]) == (3, 6)
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {"val", "coarse_maps.json"}


@pytest.mark.slow
def test_two_processes_end_together_when_the_workdir_is_of_another_run(data, tmp_path):
    coarse_maps.run(config_of(data_dir=data, crop=(16, 16)), tmp_path / "maps")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"--config.coordinator=localhost:{free.getsockname()[1]}"
    processes = [
        start(tmp_path / "maps", data, address, "--config.processes=2", f"--config.process={i}")
        for i in range(2)
    ]
    outputs = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1]
    assert all("holds the results of another run: crop was" in output for output in outputs)
