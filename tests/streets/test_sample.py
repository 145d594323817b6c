"""The sample data set: its layout and cameras, and how it comes onto the disk."""

import json
import shutil
import threading

import jax
import numpy as np
import pytest

from fcfrnet_jax.data.images import read_depth, read_image
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets import sample
from fcfrnet_jax.streets.data_set import Plan, write_data_set
from fcfrnet_jax.streets.frame import render_scene
from fcfrnet_jax.streets.sample import sample_dir, write_sample
from tests import numbered_scenes


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "set"
    write_sample(root, frames=2, seed=7, height=48, width=160)
    return root


def test_layout_is_the_benchmarks(data_set):
    files = {str(path.relative_to(data_set)) for path in data_set.rglob("*") if path.is_file()}
    train, val = "2000_01_01_drive_0001_sync", "2000_01_01_drive_0002_sync"
    crop = f"depth_selection/val_selection_cropped/{{}}/{val}_{{}}_0000000005_image_02.{{}}"
    expected = {
        f"train/{train}/proj_depth/velodyne_raw/image_02/0000000005.png",
        f"train/{train}/proj_depth/groundtruth/image_02/0000000005.png",
        f"val/{val}/proj_depth/velodyne_raw/image_02/0000000005.png",
        f"val/{val}/proj_depth/groundtruth/image_02/0000000005.png",
        f"raw/2000_01_01/{train}/image_02/data/0000000005.png",
        f"raw/2000_01_01/{val}/image_02/data/0000000005.png",
        "raw/2000_01_01/calib_cam_to_cam.txt",
        crop.format("image", "image", "png"),
        crop.format("velodyne_raw", "velodyne_raw", "png"),
        crop.format("groundtruth_depth", "groundtruth_depth", "png"),
        crop.format("intrinsics", "image", "txt"),
    }
    second_drive = {name.replace("drive_0002", "drive_0003") for name in expected}
    assert files == expected | second_drive | {"rendered.json"}


@pytest.fixture
def quick(monkeypatch):
    numbered_scenes.put_in_place(monkeypatch)


def test_crop_of_a_full_frame_has_the_benchmarks_camera(quick, tmp_path, kitti_real):
    write_data_set(tmp_path / "set", Plan(0, 1, 1))
    inside = "depth_selection/val_selection_cropped"
    own = next((tmp_path / "set" / inside / "intrinsics").iterdir())
    name = "2011_09_26_drive_0009_sync_image_0000000030_image_02.txt"
    real = kitti_real / inside / "intrinsics" / name
    np.testing.assert_allclose(np.loadtxt(own), np.loadtxt(real), atol=1e-4)
    cropped = next((tmp_path / "set" / inside / "image").iterdir())
    assert read_image(cropped).shape == (352, 1216, 3)


def test_calibration_and_crop_hold_the_same_camera(data_set):
    lines = (data_set / "raw/2000_01_01/calib_cam_to_cam.txt").read_text().splitlines()
    calibration = dict(line.split(": ") for line in lines)
    matrix = np.array(calibration["P_rect_02"].split(), float).reshape(3, 4)[:, :3]
    folder = data_set / "depth_selection/val_selection_cropped/intrinsics"
    for path in folder.iterdir():
        np.testing.assert_allclose(np.loadtxt(path).reshape(3, 3), matrix, atol=1e-3)
    # Pixel borders, not centres, scale: the view of the whole picture stays the same.
    assert (matrix[0, 2] + 0.5) / 160 == pytest.approx((609.5593 + 0.5) / 1242, rel=1e-5)


def test_stored_frames_are_the_rendered_ones(data_set):
    drive = "2000_01_01_drive_0002_sync"
    key = jax.random.fold_in(jax.random.key(7), 2)
    frame = render_scene(key, *scaled_rig((48, 160)), 0.0)
    image = read_image(data_set / f"raw/2000_01_01/{drive}/image_02/data/0000000005.png")
    depths = data_set / f"val/{drive}/proj_depth"
    np.testing.assert_array_equal(image, frame.image)
    for kind, wanted in (("velodyne_raw", 2), ("groundtruth", 3)):
        depth = read_depth(depths / kind / "image_02/0000000005.png")
        np.testing.assert_allclose(depth, frame[wanted], atol=0.5 / 256 + 1e-5)


def test_a_finished_data_set_is_kept(data_set, monkeypatch):
    monkeypatch.setattr(data_set, "render_scene", None)  # fails when called
    write_sample(data_set, frames=2, seed=7, height=48, width=160)


def test_another_data_set_in_the_place_is_refused(data_set):
    with pytest.raises(ValueError, match="holds another data set of rendered frames: drive_length"):
        write_sample(data_set, frames=3, seed=7, height=48, width=160)
    assert json.loads((data_set / "rendered.json").read_text())["val"] == 2


@pytest.mark.parametrize("frames", [0, 21])
def test_too_few_or_too_many_frames_are_refused(tmp_path, frames):
    with pytest.raises(ValueError, match=r"at least 1 frame, got 0|a drive length of 11"):
        write_sample(tmp_path / "set", frames=frames)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_writing_is_gone_on_with(quick, tmp_path, monkeypatch, error):
    def interrupt(*_):
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(data_set, "write_image", interrupt)
        with pytest.raises(error):
            write_sample(tmp_path / "set", frames=1, height=48, width=160)
    assert not (tmp_path / "set").exists()
    write_sample(tmp_path / "set", frames=1, height=48, width=160)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_two_writers_at_once_leave_one_whole_data_set(quick, tmp_path, monkeypatch):
    together = threading.Barrier(2)
    write_missing = data_set._write_missing

    def write_late(*arguments):
        write_missing(*arguments)
        together.wait(timeout=60)

    monkeypatch.setattr(data_set, "_write_missing", write_late)
    failures = []

    def write():
        try:
            write_sample(tmp_path / "set", frames=1, height=48, width=160)
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


def test_a_folder_filled_by_another_process_meanwhile_is_taken_for_its_data_set(
    quick, tmp_path, monkeypatch
):
    root = tmp_path / "set"
    write_sample(root, frames=1, height=48, width=160)
    growing = root.with_name(".set.incomplete")
    is_free = data_set._is_free

    def fill_and_look(folder):
        if not (folder / data_set.MARKER).exists():
            shutil.copytree(written, folder, dirs_exist_ok=True)
        return is_free(folder)

    written = root.rename(tmp_path / "written")
    growing.mkdir()
    monkeypatch.setattr(data_set, "_is_free", fill_and_look)
    write_sample(root, frames=1, height=48, width=160)
    assert (root / data_set.MARKER).is_file()
    assert not growing.exists()


def test_sample_dir_lies_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(data_set, "_write_missing", lambda *_: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert sample_dir() == tmp_path / "xdg" / "fcfrnet_jax" / sample.SAMPLE_NAME
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sample_dir() == tmp_path / ".cache" / "fcfrnet_jax" / sample.SAMPLE_NAME
    assert sample_dir(tmp_path / "own").is_relative_to(tmp_path / "own")


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="set XDG_CACHE_HOME"):
        sample_dir(tmp_path / "file")
