"""Rendered data sets on the disk: what there is, half of one, and another one in the place."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from configs import render as render_config
from fcfrnet_jax.commands import render
from fcfrnet_jax.data import check, kitti
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets import data_set as rendered
from fcfrnet_jax.streets.data_set import Plan, write_data_set
from tests import numbered_scenes
from tests.conftest import ROOT

SETTINGS = {
    "frames": 8,
    "val_share": 0.375,
    "selection_share": 0.25,
    "drive_length": 3,
    "camera": (48, 160),
    "seed": 5,
}
CAMERA, LIDAR = scaled_rig((48, 160))
PLAN = Plan(5, 3, 2, drive_length=3, seed=5, camera=CAMERA, lidar=LIDAR)


def config_of(**settings):
    config = render_config.get_config()
    config.update(SETTINGS | settings)
    return config.lock()


def command(workdir, **settings):
    flags = [f"--config.{name}={value}" for name, value in (SETTINGS | settings).items()]
    program = [sys.executable, "-m", "fcfrnet_jax.main", "--config=configs/render.py"]
    return subprocess.Popen(
        [*program, f"--workdir={workdir}", *flags], cwd=ROOT, text=True, stderr=subprocess.PIPE
    )


@pytest.fixture
def quick(monkeypatch):
    numbered_scenes.put_in_place(monkeypatch)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("rendered") / "streets"
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        render.run(config_of(), root)
    return root


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in files(root)}


def files(root):
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("val", 3), ("val_selection", 2)])
def test_every_frame_is_found_and_sound(data_set, split, count):
    frames = kitti.find_frames(data_set, split)
    assert len(frames) == count
    assert all(frame.intrinsics is not None for frame in frames)
    assert check.check_frames(frames, (48, 160)) == []
    check.check_density(frames)


def test_drives_give_neighbours(data_set):
    """Three frames of the first street and two of the second."""
    near = neighbours(kitti.find_frames(data_set, "train"))
    assert near == [[1, 2], [0, 2], [0, 1], [4], [3]]


def test_every_frame_is_another(data_set):
    images = [path.read_bytes() for path in (data_set / "raw").rglob("*.png")]
    assert len(set(images)) == len(images) == 8


def test_the_selection_is_the_bottom_centre_of_val(tmp_path, quick):
    write_data_set(tmp_path / "set", Plan(0, 1, 1))
    (frame,) = kitti.find_frames(tmp_path / "set", "val_selection")
    files = {"sparse_depth": frame.sparse, "ground_truth": frame.ground_truth}
    maps = {name: read_depth(path)[None, ..., None] for name, path in files.items()}
    rows, columns = numbered_scenes.places(maps)
    np.testing.assert_array_equal(rows, np.arange(375 - 352, 375)[None])
    np.testing.assert_array_equal(columns, np.arange(13, 13 + 1216)[None])
    assert frame.intrinsics == pytest.approx((721.5377, 721.5377, 596.5593, 149.854), abs=1e-5)


def test_a_finished_data_set_is_left_alone(data_set, monkeypatch, capsys):
    before = contents(data_set)
    monkeypatch.setattr(rendered, "render_scene", None)  # fails when called
    render.run(config_of(), data_set)
    assert "was there already" in capsys.readouterr().err
    assert contents(data_set) == before


def test_a_lost_file_of_a_half_made_set_is_made_again(quick, tmp_path):
    write_data_set(tmp_path / "whole", PLAN)
    shutil.copytree(tmp_path / "whole", tmp_path / ".half.incomplete")
    (tmp_path / ".half.incomplete/raw/2000_01_01/calib_cam_to_cam.txt").unlink()
    for path in sorted((tmp_path / ".half.incomplete").rglob("*.png"))[::3]:
        path.unlink()
    write_data_set(tmp_path / "half", PLAN)
    assert contents(tmp_path / "half") == contents(tmp_path / "whole")


def test_stopped_and_gone_on_with_equals_uninterrupted(quick, tmp_path, monkeypatch):
    """Every frame that was finished is kept as it is."""
    write_data_set(tmp_path / "whole", PLAN)
    draw, calls = rendered.render_scene, []

    def fail_at_the_sixth(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(rendered, "render_scene", fail_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        write_data_set(tmp_path / "parts", PLAN)
    assert not (tmp_path / "parts").exists()
    write_data_set(tmp_path / "parts", PLAN)
    assert len(calls) == 6 + 3
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["parts", "whole"]


def test_progress_counts_what_is_there(quick, tmp_path):
    shown = []

    class Bar:
        def __init__(self, total, done):
            shown.append([done, total])

        def __enter__(self):
            return shown.append

        def __exit__(self, *_):
            pass

    write_data_set(tmp_path / "whole", PLAN, Bar)
    assert shown == [[0, 8], *[1] * 8]
    shown.clear()
    (tmp_path / "whole").rename(tmp_path / ".again.incomplete")
    next((tmp_path / ".again.incomplete").rglob("velodyne_raw/image_02/*.png")).unlink()
    write_data_set(tmp_path / "again", PLAN, Bar)
    assert shown == [[7, 8], 1]


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Rendered indeed, through the command line."""
    workdir = tmp_path_factory.mktemp("streets") / "whole"
    process = command(workdir)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Rendering" in errors
    assert "5 frames for train, 3 for val (2 of them in the selection, too)" in errors
    return workdir


@pytest.mark.slow
def test_killed_and_completed_equals_uninterrupted(streets, tmp_path):
    process = command(tmp_path / "killed")
    while process.poll() is None and len(list(tmp_path.rglob("*.png"))) < 7:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed").exists()
    process = command(tmp_path / "killed")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert contents(tmp_path / "killed") == contents(streets)


@pytest.mark.slow
def test_rendered_frames_pass_the_checks_and_drives_move_on(streets):
    frames = kitti.find_frames(streets, "train")
    assert check.check_frames(frames, (48, 160)) == []
    check.check_density(frames)
    first, second, other = (read_image(frames[i].image).astype(float) for i in (0, 1, 3))
    assert 1 < np.abs(first - second).mean() < np.abs(first - other).mean()


def test_remains_of_killed_writers_are_cleared_away(quick, tmp_path):
    folder = tmp_path / ".set.incomplete" / "raw"
    write_data_set(tmp_path / "set", PLAN)
    (tmp_path / "set").rename(tmp_path / ".set.incomplete")
    (folder / ".0000000005.abc.png").write_bytes(b"half")
    write_data_set(tmp_path / "set", PLAN)
    assert not [path for path in files(tmp_path) if path.name.startswith(".")]


def test_anything_else_in_the_place_is_refused(quick, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is no data set of rendered frames .*another folder"):
        render.run(config_of(), tmp_path)
    assert os.listdir(tmp_path) == ["notes.txt"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 6}, "seed was 5, is 6; delete it"),
        ({"frames": 16}, "selection was 2, is 4; train was 5, is 10; val was 3, is 6"),
        ({"beams": 32}, "another lidar; delete it"),
    ],
)
def test_another_data_set_in_the_place_is_refused(quick, tmp_path, changes, message):
    """Whole or half-made."""
    render.run(config_of(), tmp_path / "set")
    with pytest.raises(ValueError, match=message):
        render.run(config_of(**changes), tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / ".set.incomplete")
    with pytest.raises(ValueError, match=message):
        render.run(config_of(**changes), tmp_path / "set")


def test_the_marker_tells_what_it_is(quick, tmp_path):
    write_data_set(tmp_path / "set", PLAN)
    marker = json.loads((tmp_path / "set" / "rendered.json").read_text())
    assert marker["seed"] == 5
    assert marker["camera"]["width"] == 160
    assert len(marker["lidar"]["elevations"]) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "config.frames must be 1 or more, got 0"),
        ({"val_share": 1.5}, "config.selection_share is a part of config.val_share"),
        ({"selection_share": 0.5}, "config.selection_share is a part of config.val_share"),
        ({"camera": (48,)}, "config.camera must be rows and columns"),
        ({"camera": (0, 160)}, "config.camera must be rows and columns"),
        ({"beams": 24}, "a scanner of 16 or of 32 beams, got 24"),
        ({"drive_length": 0}, "1 to 10 frames, got a drive length of 0"),
    ],
)
def test_what_cannot_be_is_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        render.run(config_of(**settings), tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("beams", "expected"), [(64, 64), (32, 32), (16, 16)])
def test_the_scanner_has_the_beams_asked_for(beams, expected):
    plan = render.make_plan(config_of(beams=beams, camera=(375, 1242)))
    assert plan.camera == KITTI
    assert len(plan.lidar.elevations) == expected
    assert (plan.lidar == HDL64) == (beams == 64)


def test_a_smaller_picture_has_the_same_view():
    camera, lidar = scaled_rig((48, 160))
    assert (camera.cx + 0.5) / 160 == pytest.approx((KITTI.cx + 0.5) / 1242)
    assert camera.fy / 48 == pytest.approx(KITTI.fy / 375)
    assert len(lidar.elevations) == round(64 * 48 / 375)
