"""The sample data set: its layout and cameras, and how it comes onto the disk."""

import json
import threading

import jax
import numpy as np
import pytest

from fcfrnet_jax.data import sample
from fcfrnet_jax.data.sample import sample_dir, write_sample
from fcfrnet_jax.data.synthetic import HEIGHT, KITTI_INTRINSICS, WIDTH, Frame, render_scene
from fcfrnet_jax.files import read_depth, read_image


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
    assert files == expected | second_drive | {"sample.json"}


def test_crop_of_a_full_frame_has_the_benchmarks_camera(tmp_path, kitti_real):
    pixels = np.zeros((HEIGHT, WIDTH))
    frame = Frame(np.zeros((*pixels.shape, 3), np.uint8), pixels, pixels, pixels)
    sample._write_selection(tmp_path, 9, 30, frame, np.array(KITTI_INTRINSICS))
    inside = "depth_selection/val_selection_cropped"
    own = next((tmp_path / inside / "intrinsics").iterdir())
    real = kitti_real / inside / "intrinsics" / own.name.replace("2000_01_01", "2011_09_26")
    np.testing.assert_allclose(np.loadtxt(own), np.loadtxt(real), atol=1e-4)
    assert read_image(next((tmp_path / inside / "image").iterdir())).shape == (352, 1216, 3)


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
    lines = (data_set / "raw/2000_01_01/calib_cam_to_cam.txt").read_text().splitlines()
    matrix = np.array(lines[1].split()[1:], float).reshape(3, 4)[:, :3]
    frame = render_scene(jax.random.split(jax.random.key(7), 3)[0], 0.0, 48, 160, matrix)
    image = read_image(data_set / f"raw/2000_01_01/{drive}/image_02/data/0000000005.png")
    depth = read_depth(data_set / f"val/{drive}/proj_depth/groundtruth/image_02/0000000005.png")
    assert np.mean(image == frame.image) > 0.99
    assert np.mean(np.abs(depth - frame.ground_truth) < 1 / 256) > 0.99


def test_a_finished_data_set_is_kept(data_set, monkeypatch):
    monkeypatch.setattr(sample, "_write_frames", None)  # fails when called
    write_sample(data_set, frames=2, seed=7, height=48, width=160)


def test_another_data_set_in_the_place_is_refused(data_set):
    with pytest.raises(ValueError, match="is not the sample data set"):
        write_sample(data_set, frames=3, seed=7, height=48, width=160)
    assert json.loads((data_set / "sample.json").read_text())["frames"] == 2


def test_no_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        write_sample(tmp_path / "set", frames=0)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_writing_leaves_nothing_behind(tmp_path, monkeypatch, error):
    def interrupt(*_):
        raise error

    monkeypatch.setattr(sample, "_write_selection", interrupt)
    with pytest.raises(error):
        write_sample(tmp_path / "set", frames=1, height=48, width=160)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once_leave_one_whole_data_set(tmp_path, monkeypatch):
    together = threading.Barrier(2)
    write_frames = sample._write_frames

    def write_late(*arguments):
        write_frames(*arguments)
        together.wait(timeout=60)

    monkeypatch.setattr(sample, "_write_frames", write_late)
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


def write_nothing(root, *_):
    root.mkdir()


def test_sample_dir_lies_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "_write_frames", write_nothing)
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
