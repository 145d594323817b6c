"""Writing datasets of rendered frames: content, interruption, and refused plans."""

import json
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest

from fcfrnet_jax.data import check, kitti, plausibility
from fcfrnet_jax.data.frame import neighbours
from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.sensors.lidar import spinning
from fcfrnet_jax.streets import data_set
from fcfrnet_jax.streets.data_set import Plan, write_data_set
from fcfrnet_jax.streets.frame import render_scene
from tests import numbered_scenes
from tests.streets.conftest import CAMERA, LIDAR

RIG = {"camera": CAMERA, "lidar": LIDAR}
PLAN = Plan(5, 3, 2, drive_length=3, seed=5, **RIG)
SMALL = Plan(1, 1, 1, **RIG)
SELECTION = "depth_selection/val_selection_cropped"


@pytest.fixture
def quick(monkeypatch):
    numbered_scenes.put_in_place(monkeypatch)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The dataset of `PLAN`, with numbered scenes. Tests must not change it."""
    root = tmp_path_factory.mktemp("written") / "set"
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        assert write_data_set(root, PLAN)
    return root


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    """One frame of KITTI's size, with numbered scenes."""
    root = tmp_path_factory.mktemp("full_size") / "set"
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        write_data_set(root, Plan(0, 1, 1))
    return root


def files(root):
    return [path for path in root.rglob("*") if path.is_file()]


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in files(root)}


def frame_files(split, drive, number):
    name = f"2000_01_01_drive_{drive:04d}_sync"
    return {
        f"{split}/{name}/proj_depth/velodyne_raw/image_02/{number:010d}.png",
        f"{split}/{name}/proj_depth/groundtruth/image_02/{number:010d}.png",
        f"raw/2000_01_01/{name}/image_02/data/{number:010d}.png",
    }


def test_the_layout_is_that_of_the_benchmark(quick, tmp_path):
    write_data_set(tmp_path / "set", Plan(2, 1, 1, **RIG))
    name = "2000_01_01_drive_0002_sync_{}_0000000005_image_02"
    selected = {
        f"{SELECTION}/image/{name.format('image')}.png",
        f"{SELECTION}/velodyne_raw/{name.format('velodyne_raw')}.png",
        f"{SELECTION}/groundtruth_depth/{name.format('groundtruth_depth')}.png",
        f"{SELECTION}/intrinsics/{name.format('image')}.txt",
    }
    frames = frame_files("train", 1, 5) | frame_files("train", 1, 6) | frame_files("val", 2, 5)
    others = {"rendered.json", "raw/2000_01_01/calib_cam_to_cam.txt"}
    assert {str(path) for path in contents(tmp_path / "set")} == frames | selected | others


@pytest.mark.parametrize(("split", "count"), [("train", 5), ("val", 3), ("val_selection", 2)])
def test_all_frames_are_found_and_pass_the_checks(written, split, count):
    frames = kitti.find_frames(written, split)
    assert len(frames) == count
    assert all(frame.intrinsics is not None for frame in frames)
    assert check.check_frames(frames, (48, 160)) == []
    plausibility.check_depth(frames, (0, 0))


def test_the_frames_of_a_drive_are_neighbours(written):
    """Three frames of the first street and two of the second."""
    near = neighbours(kitti.find_frames(written, "train"))
    assert near == [[1, 2], [0, 2], [0, 1], [4], [3]]


def test_all_frames_are_different(written):
    images = [path.read_bytes() for path in (written / "raw").rglob("*.png")]
    assert len(set(images)) == len(images) == 8


@pytest.mark.slow
def test_stored_frames_are_the_rendered_ones(tmp_path):
    write_data_set(tmp_path / "set", Plan(0, 1, 0, seed=7, **RIG))
    key = jax.random.fold_in(jax.random.key(7), 1)
    rendered = render_scene(key, CAMERA, LIDAR, 0.0)
    (frame,) = kitti.find_frames(tmp_path / "set", "val")
    np.testing.assert_array_equal(read_image(frame.image), rendered.image)
    for path, depth in (
        (frame.sparse, rendered.sparse_depth),
        (frame.ground_truth, rendered.ground_truth),
    ):
        np.testing.assert_allclose(read_depth(path), depth, atol=0.5 / 256 + 1e-5)


def test_the_selection_is_the_bottom_centre_of_val(full_size):
    (frame,) = kitti.find_frames(full_size, "val_selection")
    paths = {"sparse_depth": frame.sparse, "ground_truth": frame.ground_truth}
    maps = {name: read_depth(path)[None, ..., None] for name, path in paths.items()}
    rows, columns = numbered_scenes.places(maps)
    np.testing.assert_array_equal(rows, np.arange(375 - 352, 375)[None])
    np.testing.assert_array_equal(columns, np.arange(13, 13 + 1216)[None])
    assert frame.intrinsics == pytest.approx((721.5377, 721.5377, 596.5593, 149.854), abs=1e-5)
    assert read_image(frame.image).shape == (352, 1216, 3)


def test_the_intrinsics_of_the_selection_are_those_of_kitti(full_size, kitti_real):
    ours = next((full_size / SELECTION / "intrinsics").iterdir())
    name = "2011_09_26_drive_0009_sync_image_0000000030_image_02.txt"
    theirs = kitti_real / SELECTION / "intrinsics" / name
    np.testing.assert_allclose(np.loadtxt(ours), np.loadtxt(theirs), atol=1e-4)


def test_calibration_and_selection_have_the_same_camera(written):
    lines = (written / "raw/2000_01_01/calib_cam_to_cam.txt").read_text().splitlines()
    calibration = dict(line.split(": ") for line in lines)
    matrix = np.array(calibration["P_rect_02"].split(), float).reshape(3, 4)[:, :3]
    np.testing.assert_allclose(matrix, CAMERA.matrix(), atol=1e-3)
    for path in (written / SELECTION / "intrinsics").iterdir():
        np.testing.assert_allclose(np.loadtxt(path).reshape(3, 3), matrix, atol=1e-3)


def test_the_marker_describes_the_data_set(written):
    marker = json.loads((written / "rendered.json").read_text())
    assert marker["seed"] == 5
    assert marker["camera"]["width"] == 160
    assert len(marker["lidar"]["elevations"]) == 8


def test_a_complete_data_set_is_not_touched(written, monkeypatch):
    before = contents(written)
    monkeypatch.setattr(data_set, "render_scene", None)  # fails if called
    assert not write_data_set(written, PLAN)
    assert contents(written) == before


def test_missing_files_of_an_incomplete_data_set_are_written(quick, written, tmp_path):
    growing = tmp_path / ".set.incomplete"
    shutil.copytree(written, growing)
    (growing / "raw/2000_01_01/calib_cam_to_cam.txt").unlink()
    for path in sorted(growing.rglob("*.png"))[::3]:
        path.unlink()
    assert write_data_set(tmp_path / "set", PLAN)
    assert contents(tmp_path / "set") == contents(written)


def test_finished_frames_of_an_interrupted_data_set_are_kept(quick, written, tmp_path, monkeypatch):
    draw, calls = data_set.render_scene, []

    def fail_at_the_sixth(*arguments):
        calls.append(arguments)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(data_set, "render_scene", fail_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        write_data_set(tmp_path / "set", PLAN)
    assert not (tmp_path / "set").exists()
    write_data_set(tmp_path / "set", PLAN)
    assert len(calls) == 6 + 3
    assert contents(tmp_path / "set") == contents(written)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_progress_counts_existing_frames(quick, written, tmp_path):
    shown = []

    @contextmanager
    def show(total, done):
        shown.append([done, total])
        yield shown.append

    write_data_set(tmp_path / "whole", PLAN, show)
    assert shown == [[0, 8], *[1] * 8]
    shown.clear()
    (tmp_path / "whole").rename(tmp_path / ".again.incomplete")
    next((tmp_path / ".again.incomplete").rglob("velodyne_raw/image_02/*.png")).unlink()
    write_data_set(tmp_path / "again", PLAN, show)
    assert shown == [[7, 8], 1]


def test_temporary_files_of_killed_processes_are_removed(quick, written, tmp_path):
    shutil.copytree(written, tmp_path / ".set.incomplete")
    half = f".0000000005.{'0a' * 16}.png"
    (tmp_path / ".set.incomplete/raw" / half).write_bytes(b"half")
    (tmp_path / ".set.incomplete/raw/.mine.txt").write_bytes(b"mine")
    write_data_set(tmp_path / "set", PLAN)
    hidden = [path.name for path in files(tmp_path) if path.name.startswith(".")]
    assert hidden == [".mine.txt"]


def test_leftovers_beside_a_complete_data_set_are_removed(quick, written, tmp_path):
    shutil.copytree(written, tmp_path / "set")
    shutil.copytree(written / "train", tmp_path / ".set.incomplete" / "train")
    (tmp_path / ".set.lock").write_text("process 1 of nobody")
    assert not write_data_set(tmp_path / "set", PLAN)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_one_process_may_ask_to_write_alone(quick, tmp_path):
    def show(total, done):
        # Another process begins while this one renders.
        write_data_set(tmp_path / "set", SMALL, alone=True)

    with pytest.raises(BlockingIOError, match=rf"{tmp_path / 'set'} is in use by process \d+ of "):
        write_data_set(tmp_path / "set", SMALL, show)


def test_two_processes_leave_one_complete_data_set(quick, tmp_path):
    together, failures = threading.Barrier(2), []

    @contextmanager
    def show(total, done):
        yield lambda _: None
        # Both have written all frames before one of them renames the folder.
        together.wait(timeout=60)

    def write():
        try:
            write_data_set(tmp_path / "set", SMALL, show)
        except Exception as error:
            failures.append(error)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failures == []
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert len(list((tmp_path / "set").rglob("*.png"))) == 9


def test_a_folder_that_another_process_completes_is_recognised(quick, tmp_path, monkeypatch):
    root, growing = tmp_path / "set", tmp_path / ".set.incomplete"
    write_data_set(root, SMALL)
    complete = root.rename(tmp_path / "complete")
    growing.mkdir()
    list_folder = Path.iterdir

    def fill_and_list(folder):
        if folder == growing and not (growing / data_set.MARKER).exists():
            shutil.copytree(complete, growing, dirs_exist_ok=True)
        return list_folder(folder)

    monkeypatch.setattr(Path, "iterdir", fill_and_list)
    write_data_set(root, SMALL)
    assert (root / data_set.MARKER).is_file()
    assert not growing.exists()


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not a dataset of rendered frames .*another folder"):
        write_data_set(tmp_path, SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(5, 3, 2, 3, 6, **RIG), "frames: seed is 5, not 6; delete it"),
        (Plan(10, 6, 4, 3, 5, **RIG), "selection is 2, not 4; train is 5, not 10; val is 3, not 6"),
        (Plan(5, 3, 2, 3, 5, CAMERA, spinning(32)), "frames: another lidar; delete it"),
    ],
)
@pytest.mark.parametrize("name", ["set", ".set.incomplete"])
def test_a_different_data_set_is_refused(tmp_path, plan, message, name):
    (tmp_path / name).mkdir()
    marker = json.dumps(data_set.settings(PLAN))
    (tmp_path / name / "rendered.json").write_text(marker)
    with pytest.raises(ValueError, match=message):
        write_data_set(tmp_path / "set", plan)
    assert (tmp_path / name / "rendered.json").read_text() == marker


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 0, 0), "cannot render 0 frames for train, 0 for val and 0 for the selection"),
        ((-1, 3, 0), "cannot render -1 frames for train"),
        ((0, 3, 4), "cannot select 4 of 3 frames"),
        ((3, 0, 0, 0), "the drive length must be 1 to 10 frames, got 0"),
        ((3, 0, 0, 11), "the drive length must be 1 to 10 frames, got 11"),
    ],
)
def test_invalid_plans_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Plan(*numbers)
