"""The sample data set: its depth against another ray caster, and how it comes onto the disk."""

import json
import threading

import cv2
import jax
import numpy as np
import pytest

from fcfrnet_jax.data import synthetic
from fcfrnet_jax.data.synthetic import render_scene, sample_dir, write_sample
from fcfrnet_jax.files import read_depth, read_image

SIZE = (48, 160)
INTRINSICS = np.array([[93.0, 0.0, 79.0], [0.0, 92.0, 22.0], [0.0, 0.0, 1.0]])


def turn(vector, yaw):
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) @ vector


def hits_box(origin, direction, half):
    for axis in range(3):
        for face in (-half[axis], half[axis]):
            t = (face - origin[axis]) / direction[axis]
            others = np.delete(np.abs(origin + t * direction) - half, axis)
            if (others <= 0).all():
                yield t


def hits_round(origin, direction, half, axes):
    o, d = (origin / half)[axes], (direction / half)[axes]
    roots = np.roots([d @ d, 2 * o @ d, o @ o - 1])
    if np.isreal(roots).all():
        t = roots.min()
        if len(axes) == 3 or abs(origin[1] + t * direction[1]) < half[1]:
            yield t


@np.errstate(divide="ignore", invalid="ignore")
def cast(street, origin, direction):
    """The distance to the first solid in float64, by other formulas than the renderer's."""
    nearest = np.inf
    for shape in ("boxes", "ellipsoids", "cylinders"):
        solids = getattr(street, shape)
        for centre, half, yaw in zip(solids.centre, solids.half, solids.yaw, strict=True):
            o, d = turn(origin - centre, -yaw), turn(direction, -yaw)
            if shape == "boxes":
                hits = hits_box(o, d, half)
            else:
                hits = hits_round(o, d, half, [0, 1, 2] if shape == "ellipsoids" else [0, 2])
            nearest = min([nearest, *(t for t in hits if t > 0)])
    return nearest


def render(seed, **settings):
    frame = render_scene(jax.random.key(seed), 0.0, *SIZE, INTRINSICS, **settings)
    return jax.tree.map(np.asarray, frame)


@pytest.fixture(scope="module")
def frames():
    return [render(seed) for seed in range(4)]


@pytest.mark.parametrize("seed", [0, 1])
def test_depth_is_what_another_ray_caster_finds(seed, frames):
    street = jax.jit(synthetic.make_street)(jax.random.key(seed))
    street = jax.tree.map(lambda array: np.asarray(array, np.float64), street)
    rng = np.random.default_rng(seed)
    found, expected = [], []
    for v, u in zip(rng.integers(SIZE[0], size=150), rng.integers(SIZE[1], size=150), strict=True):
        ray = turn(np.linalg.inv(INTRINSICS) @ [u, v, 1.0], street.heading)
        distance = cast(street, street.camera, ray)
        found.append(frames[seed].depth[v, u])
        expected.append(distance if np.isfinite(distance) else 0.0)
    close = np.isclose(found, expected, rtol=1e-3, atol=1e-3)
    # A ray that just touches an edge may fall on either side of it in float32.
    assert close.mean() > 0.98
    assert np.count_nonzero(expected) > 75


def test_flat_road_has_the_depth_of_a_plane(frames):
    v, u = SIZE[0] - 1, 79
    plane = synthetic.CAMERA_HEIGHT * INTRINSICS[1, 1] / (v - INTRINSICS[1, 2])
    assert frames[0].depth[v, u] == pytest.approx(plane, rel=1e-5)


def test_sparse_depth_agrees_with_depth_away_from_edges(frames):
    for frame in frames:
        span = cv2.dilate(frame.depth, np.ones((3, 3))) - cv2.erode(frame.depth, np.ones((3, 3)))
        inner = (frame.sparse_depth > 0) & (span < 0.04 * frame.depth)
        error = np.abs(frame.sparse_depth - frame.depth)[inner]
        # Half a pixel of the surface's slope and five standard deviations of the noise; a few rays
        # hit lamp posts that are thinner than a pixel.
        assert (error < 0.5 * span[inner] + 0.1).mean() > 0.97
        assert inner.sum() > 50


def test_ground_truth_is_the_true_depth_within_the_scanners_range(frames):
    for frame in frames:
        hit = frame.ground_truth > 0
        np.testing.assert_array_equal(frame.ground_truth[hit], frame.depth[hit])
        assert frame.ground_truth.max() < 90
        assert not hit[: SIZE[0] // 4].any()


def test_shares_of_valid_pixels_are_those_of_the_benchmark(frames):
    sparse = np.mean([frame.sparse_depth > 0 for frame in frames])
    truth = np.mean([frame.ground_truth > 0 for frame in frames])
    assert 0.03 < sparse < 0.06
    assert 0.16 < truth < 0.30


def test_full_size_shares_match_real_frames(kitti_real):
    frame = render_scene(jax.random.key(0))
    for name, kind in (("sparse_depth", "velodyne_raw"), ("ground_truth", "groundtruth")):
        paths = kitti_real.glob(f"val/*/proj_depth/{kind}/image_02/*.png")
        real = np.mean([np.mean(read_depth(path) > 0) for path in paths])
        assert np.mean(getattr(frame, name) > 0) == pytest.approx(real, rel=0.25)


def test_pictures_are_neither_dark_nor_flat_and_differ_by_key(frames):
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert 60 < frame.image.mean() < 170
        assert frame.image.std() > 30
    assert np.abs(frames[0].image.astype(float) - frames[1].image).mean() > 10


def test_the_same_key_gives_the_same_frame(frames):
    for again, first in zip(render(2), frames[2], strict=True):
        np.testing.assert_array_equal(again, first)


def test_driving_on_moves_the_camera_and_nothing_else():
    key = jax.random.key(3)
    make_street = jax.jit(synthetic.make_street)
    here, ahead = make_street(key, 0.0), make_street(key, 2.0)
    np.testing.assert_array_equal(here.boxes.centre, ahead.boxes.centre)
    np.testing.assert_allclose(ahead.camera - here.camera, [0, 0, 2.0])


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp("sample") / "set"
    write_sample(root, frames=2, seed=7, height=48, width=160)
    return root


def test_layout_is_the_benchmarks(sample):
    files = {str(path.relative_to(sample)) for path in sample.rglob("*") if path.is_file()}
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
    pixels = np.zeros((synthetic.HEIGHT, synthetic.WIDTH))
    frame = synthetic.Frame(np.zeros((*pixels.shape, 3), np.uint8), pixels, pixels, pixels)
    synthetic._write_selection(tmp_path, 9, 30, frame, np.array(synthetic.KITTI_INTRINSICS))
    inside = "depth_selection/val_selection_cropped"
    own = next((tmp_path / inside / "intrinsics").iterdir())
    real = kitti_real / inside / "intrinsics" / own.name.replace("2000_01_01", "2011_09_26")
    np.testing.assert_allclose(np.loadtxt(own), np.loadtxt(real), atol=1e-4)
    assert read_image(next((tmp_path / inside / "image").iterdir())).shape == (352, 1216, 3)


def test_calibration_and_crop_hold_the_same_camera(sample):
    lines = (sample / "raw/2000_01_01/calib_cam_to_cam.txt").read_text().splitlines()
    calibration = dict(line.split(": ") for line in lines)
    matrix = np.array(calibration["P_rect_02"].split(), float).reshape(3, 4)[:, :3]
    folder = sample / "depth_selection/val_selection_cropped/intrinsics"
    for path in folder.iterdir():
        np.testing.assert_allclose(np.loadtxt(path).reshape(3, 3), matrix, atol=1e-3)
    # Pixel borders, not centres, scale: the view of the whole picture stays the same.
    assert (matrix[0, 2] + 0.5) / 160 == pytest.approx((609.5593 + 0.5) / 1242, rel=1e-5)


def test_stored_frames_are_the_rendered_ones(sample):
    drive = "2000_01_01_drive_0002_sync"
    lines = (sample / "raw/2000_01_01/calib_cam_to_cam.txt").read_text().splitlines()
    matrix = np.array(lines[1].split()[1:], float).reshape(3, 4)[:, :3]
    frame = render_scene(jax.random.split(jax.random.key(7), 3)[0], 0.0, 48, 160, matrix)
    image = read_image(sample / f"raw/2000_01_01/{drive}/image_02/data/0000000005.png")
    depth = read_depth(sample / f"val/{drive}/proj_depth/groundtruth/image_02/0000000005.png")
    assert np.mean(image == frame.image) > 0.99
    assert np.mean(np.abs(depth - frame.ground_truth) < 1 / 256) > 0.99


def test_a_finished_data_set_is_kept(sample, monkeypatch):
    monkeypatch.setattr(synthetic, "_write_frames", None)  # fails when called
    write_sample(sample, frames=2, seed=7, height=48, width=160)


def test_another_data_set_in_the_place_is_refused(sample):
    with pytest.raises(ValueError, match="is not the sample data set"):
        write_sample(sample, frames=3, seed=7, height=48, width=160)
    assert json.loads((sample / "sample.json").read_text())["frames"] == 2


def test_no_frames_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1 frame, got 0"):
        write_sample(tmp_path / "set", frames=0)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interrupted_writing_leaves_nothing_behind(tmp_path, monkeypatch, error):
    def interrupt(*_):
        raise error

    monkeypatch.setattr(synthetic, "_write_selection", interrupt)
    with pytest.raises(error):
        write_sample(tmp_path / "set", frames=1, height=48, width=160)
    assert list(tmp_path.iterdir()) == []


def test_two_writers_at_once_leave_one_whole_data_set(tmp_path, monkeypatch):
    together = threading.Barrier(2)
    write_frames = synthetic._write_frames

    def write_late(*arguments):
        write_frames(*arguments)
        together.wait(timeout=60)

    monkeypatch.setattr(synthetic, "_write_frames", write_late)
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
    monkeypatch.setattr(synthetic, "_write_frames", write_nothing)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert sample_dir() == tmp_path / "xdg" / "fcfrnet_jax" / synthetic.SAMPLE_NAME
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sample_dir() == tmp_path / ".cache" / "fcfrnet_jax" / synthetic.SAMPLE_NAME
    assert sample_dir(tmp_path / "own").is_relative_to(tmp_path / "own")


def test_a_cache_that_cannot_be_written_names_the_variable(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="set XDG_CACHE_HOME"):
        sample_dir(tmp_path / "file")
