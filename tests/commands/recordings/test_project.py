"""Whole drives: sparse depth and accumulated ground truth against scenes whose depth is known."""

import json
import shutil

import cv2
import jax
import numpy as np
import pytest

from benchmarks import accumulation
from fcfrnet_jax.commands.recordings import project
from fcfrnet_jax.configs import project as project_config
from fcfrnet_jax.data import kitti
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.sensors.accumulate import accumulate
from fcfrnet_jax.streets.frame import render_scene
from tests.commands.evaluations import evaluated
from tests.sensors import rigs
from tests.streets.conftest import CAMERA, LIDAR

COUNT, STEP, OFFSET = 5, 0.25, np.array([0.0, -0.5, -0.2])
SIZE = rigs.SIZE


def config_of(**settings):
    config = project_config.get_config()
    config.update(workers=1, **settings)
    return config.lock()


def calibration(**more):
    matrix = rigs.rig(OFFSET).camera_from_lidar
    size = {"height": SIZE[0], "width": SIZE[1]}
    return {"K": rigs.K.tolist(), "T_cam_lidar": matrix.tolist()} | size | more


@pytest.fixture
def recording(tmp_path):
    """Scans, images and poses of a camera that moves towards a wall with a plate before it."""
    scans, images, poses = tmp_path / "scans", tmp_path / "images", []
    for folder in (scans, images):
        folder.mkdir()
    for i in range(COUNT):
        points, _ = rigs.scan(OFFSET + np.array([0, 0, STEP * i]))
        np.save(scans / f"{i}.npy", points)
        cv2.imwrite(str(images / f"{i}.png"), np.full((*SIZE, 3), 40 * i, np.uint8))
        poses.append(f"1 0 0 0 0 1 0 0 0 0 1 {STEP * i}\n")
    (tmp_path / "camera.json").write_text(json.dumps(calibration()))
    (tmp_path / "poses.txt").write_text("".join(poses))
    paths = {"scans": "scans", "image": "images", "calibration": "camera.json"}
    return {name: str(tmp_path / path) for name, path in paths.items()}


def exact(i):
    """The depth `[H, W]` that the camera of scan i sees."""
    row, column = np.mgrid[: SIZE[0], : SIZE[1]]
    rays = np.stack([column, row, np.ones(SIZE)], -1).reshape(-1, 3) @ np.linalg.inv(rigs.K).T
    hit = rigs.meets_plate(np.array([0, 0, STEP * i]), rays)
    return np.where(hit, rigs.PLATE, rigs.WALL).reshape(SIZE) - STEP * i


def wrong(depth, i):
    return (np.abs(depth - exact(i)) > 2 / 256)[depth > 0].mean()


def test_sparse_depth_is_read_by_training(recording, tmp_path):
    result = project.run(config_of(**recording), tmp_path / "out")
    assert (result["frames"], result["written"], result["skipped"]) == (COUNT, COUNT, [])
    frames = kitti.find_frames(tmp_path / "out", "train", require={"image", "intrinsics"})
    assert [frame.name for frame in frames] == [f"scans/image_02/{i}" for i in range(COUNT)]
    for i, frame in enumerate(frames):
        assert frame.intrinsics == (240, 240, 150, 90)
        assert cv2.imread(str(frame.image))[0, 0, 0] == 40 * i
        depth = read_depth(frame.sparse)
        assert (depth > 0).sum() > 1000
        # All but the points that the camera does not see, which KITTI has too.
        assert 0.02 < wrong(depth, i) < 0.05


def test_hidden_points_are_removed_on_request(recording, tmp_path):
    project.run(config_of(remove_hidden=True, **recording), tmp_path / "out")
    frames = kitti.find_frames(tmp_path / "out", "train", require=())
    assert max(wrong(read_depth(frame.sparse), i) for i, frame in enumerate(frames)) < 0.02


@pytest.mark.parametrize("poses_of", ["camera", "scanner"])
def test_accumulated_ground_truth_is_exact(poses_of, recording, tmp_path):
    poses = tmp_path / "poses.txt"
    if poses_of == "scanner":
        matrices = [np.eye(4) for _ in range(COUNT)]
        for i, matrix in enumerate(matrices):
            matrix[2, 3] = STEP * i
        moved = [matrix @ rigs.rig(OFFSET).camera_from_lidar for matrix in matrices]
        np.savetxt(poses, [matrix[:3].ravel() for matrix in moved])
    settings = {"ground_truth_scans": 3, "poses": str(poses), "poses_of": poses_of}
    result = project.run(config_of(**settings, **recording), tmp_path / "out")
    frames = kitti.find_frames(tmp_path / "out", "train")
    assert [frame.name[-1] for frame in frames] == ["1", "2", "3"]
    assert result["written"] == 3
    for i, frame in enumerate(frames, 1):
        truth, sparse = read_depth(frame.ground_truth), read_depth(frame.sparse)
        assert wrong(truth, i) < 0.01
        assert (truth > 0).sum() > 2 * (sparse > 0).sum()


@pytest.mark.slow
def test_the_evaluation_reads_the_result(recording, tmp_path):
    settings = {"ground_truth_scans": 3, "poses": str(tmp_path / "poses.txt")}
    project.run(config_of(**settings, **recording), tmp_path / "out")
    found = {"data_dir": str(tmp_path / "out"), "split": "train", "crop": (0, 0)}
    result = evaluated(tmp_path / "eval", checkpoint="", check_depth=False, **found)
    assert result["frames"] == 3
    # Off at the edges of the plate, which is 14 m before the wall.
    assert 0 < result["metrics"]["fill"]["rmse_mm"] < 4000


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.png")}


def test_what_exists_is_not_made_again(recording, tmp_path):
    out = tmp_path / "out"
    project.run(config_of(**recording), out)
    whole = contents(out)
    (out / "train/scans/proj_depth/velodyne_raw/image_02/3.png").unlink()
    result = project.run(config_of(**recording), out)
    assert (result["existed"], result["written"]) == (COUNT - 1, 1)
    assert contents(out) == whole
    with pytest.raises(ValueError, match="results of another run: remove_hidden was False"):
        project.run(config_of(remove_hidden=True, **recording), out)
    (tmp_path / "camera.json").write_text(json.dumps(calibration(distortion=[0.2, 0, 0, 0])))
    with pytest.raises(ValueError, match=r"the content of .*/camera\.json has changed"):
        project.run(config_of(**recording), out)


def test_bad_scans_are_listed(recording, tmp_path):
    path = tmp_path / "scans" / "2.npy"
    path.write_bytes(path.read_bytes()[:200])
    np.save(tmp_path / "scans" / "3.npy", -rigs.scan(OFFSET)[0])
    cv2.imwrite(str(tmp_path / "images" / "4.png"), np.zeros((90, 150, 3), np.uint8))
    result = project.run(config_of(**recording), tmp_path / "out")
    assert result["written"] == COUNT - 3
    names, reasons = zip(
        *((item["name"], item["reason"]) for item in result["skipped"]), strict=True
    )
    assert names == ("scans/2", "scans/3", "scans/4")
    assert "truncated" in reasons[0]
    assert "(8000 behind" in reasons[1]
    assert reasons[2].startswith("is 90x150 (height x width), expected 180x300 as the depth; ")
    saved = json.loads((tmp_path / "out" / "project.json").read_text())
    assert saved["skipped"] == result["skipped"]
    for i in (0, 1, 4):
        (tmp_path / "scans" / f"{i}.npy").unlink()
    with pytest.raises(ValueError, match=f"{path}: .*truncated"):
        project.run(config_of(**recording), tmp_path / "other")


def test_scans_in_millimetres_are_recognised(recording, tmp_path):
    project.run(config_of(**recording), tmp_path / "metres")
    for path in (tmp_path / "scans").iterdir():
        points = np.load(path)
        np.save(path, np.concatenate([np.ones((len(points), 1)), 1000 * points], axis=1))
    recording["columns"] = "skip,x,y,z"
    with pytest.raises(
        ValueError, match=r"0\.npy: with 1 values .*; likely depth_scale=1000 .* .none of 5"
    ):
        project.run(config_of(**recording), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["project.json"]
    project.run(config_of(**recording, depth_scale=1000.0), tmp_path / "out")
    depth = "train/scans/proj_depth/velodyne_raw/image_02/0.png"
    maps = [read_depth(tmp_path / name / depth) for name in ("metres", "out")]
    np.testing.assert_allclose(maps[1], maps[0], atol=1.01 / 256)


def test_images_with_distortion_are_undistorted(recording, tmp_path):
    (tmp_path / "camera.json").write_text(json.dumps(calibration(distortion=[0.2, 0, 0, 0])))
    project.run(config_of(**recording), tmp_path / "out")
    image = tmp_path / "out" / "train" / "scans" / "image_02" / "data" / "3.png"
    assert not image.is_symlink()
    pixels = cv2.imread(str(image))
    assert pixels.shape == (*SIZE, 3)
    assert pixels[90, 150, 0] == 120


RAW = {
    "calib_velo_to_cam.txt": "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.5 -0.2\n",
    "calib_imu_to_velo.txt": "R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n",
    "calib_cam_to_cam.txt": "R_rect_00: 1 0 0 0 1 0 0 0 1\n"
    + "".join(
        f"S_rect_{camera}: 300 180\nP_rect_{camera}: 240 0 150 {shift} 0 240 90 0 0 0 1 0\n"
        for camera, shift in (("02", 0), ("03", -120))
    ),
}


@pytest.fixture
def raw(tmp_path):
    """KITTI's raw data of a car that drives at 10 m/s towards a wall; the scanner turns slowly."""
    date = tmp_path / "kitti" / "2011_09_26"
    drive = date / "2011_09_26_drive_0001_sync"
    azimuth, elevation = np.meshgrid(np.arange(-30, 30, 0.5), np.arange(-20, 20, 1.0))
    azimuth, elevation = np.radians(azimuth.ravel()), np.radians(elevation.ravel())
    rays = np.stack([np.ones(len(azimuth)), np.tan(azimuth), np.tan(elevation)], axis=1)
    for folder in ("velodyne_points", "oxts"):
        (drive / folder / "data").mkdir(parents=True)
    for name, text in RAW.items():
        (date / name).write_text(text)
    # Metres from the scanner to the wall while each point is measured, clockwise in 0.1 s.
    distance = 20.2 + 10 * 0.1 * azimuth / (2 * np.pi)
    for i in range(3):
        points = np.pad(rays * (distance - i)[:, None], ((0, 0), (0, 1))).astype("<f4")
        points.tofile(drive / "velodyne_points" / "data" / f"{i:010}.bin")
        # A metre to the east in 0.1 s, at the equator.
        longitude = np.degrees(i / 6378137)
        unit = [0, longitude, 0, 0, 0, 0, 0, 0, 10, *[0] * 21]
        (drive / "oxts" / "data" / f"{i:010}.txt").write_text(" ".join(map(str, unit)))
    return str(date.parent)


def test_the_motion_of_kittis_car_is_compensated(raw, tmp_path):
    spread = {}
    for compensate in ("auto", "none"):
        settings = {"data_dir": raw, "compensate": compensate, "ground_truth_scans": 3}
        result = project.run(config_of(**settings), tmp_path / compensate)
        assert (result["frames"], result["written"]) == (1, 1)
        frames = kitti.find_frames(tmp_path / compensate, "train", require={"ground_truth"})
        assert [frame.name.split("/")[1] for frame in frames] == ["image_02", "image_03"]
        for kind in ("sparse", "ground_truth"):
            depth = read_depth(getattr(frames[0], kind))
            spread[compensate, kind] = np.abs(depth - 19)[depth > 0].max()
    assert spread["auto", "sparse"] <= 1 / 256
    assert spread["auto", "ground_truth"] <= 1 / 256
    assert spread["none", "sparse"] > 0.05
    link = tmp_path / "auto" / "raw" / "2011_09_26"
    assert link.resolve() == (tmp_path / "kitti" / "2011_09_26").resolve()


def test_the_result_may_be_written_beside_the_raw_data(raw, tmp_path):
    project.run(config_of(data_dir=raw, cameras="03"), raw)
    names = {path.name for path in (tmp_path / "kitti").iterdir()}
    assert names == {"2011_09_26", "train", "project.json"}


@pytest.mark.slow
def test_processes_write_the_same(recording, tmp_path):
    for i in range(COUNT, 12):
        for folder, suffix in (("scans", ".npy"), ("images", ".png")):
            path = tmp_path / folder / f"{i}{suffix}"
            path.write_bytes((tmp_path / folder / f"0{suffix}").read_bytes())
    for workers in (1, 2):
        config = config_of(**recording)
        with config.unlocked():
            config.workers = workers
        assert project.run(config, tmp_path / f"out{workers}")["written"] == 12
    assert contents(tmp_path / "out1") == contents(tmp_path / "out2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either --config.data_dir, .* or --config.scans, .*; neither is given"),
        ({"scans": "a"}, "--config.calibration is empty"),
        ({"data_dir": "no"}, "--config.data_dir: .*no: there is no such folder"),
        ({"data_dir": "a", "ground_truth_scans": 4}, "ground_truth_scans must be odd, .* got 4"),
        ({"data_dir": "a", "compensate": "poses"}, "needs --config.poses"),
        ({"data_dir": "a", "poses": "p.txt"}, "--config.poses=p.txt would not be used: they are"),
        ({"data_dir": "a", "columns": "7"}, "--config.columns: columns must be 3 to 6 or the"),
        ({"data_dir": "a", "image": "b"}, "--config.image=b is for --config.scans: KITTI's raw"),
        ({"data_dir": "a", "cameras": "02,05"}, "cameras must be 02, 03 or 02,03, got '02,05'"),
        ({"data_dir": "a", "split": "test"}, "split must be one of train, val, got 'test'"),
    ],
)
def test_wrong_settings_are_refused(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        project.run(config_of(**settings), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faults_of_a_recording_are_named(recording, raw, tmp_path):
    def refused(message, **settings):
        with pytest.raises(ValueError, match=message):
            project.run(config_of(**settings), tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused("no drive has more than 5 scans", **recording | {"ground_truth_scans": 7})
    refused("--config.drives: b is not among the drives scans", **recording, drives="b")
    refused("5 of 5 scans have no oxts", **recording, ground_truth_scans=3)
    refused("differ: the calibration 180x300, --config.size 9x9", **recording, size=(9, 9))
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((90, 150, 3), np.uint8))
    refused("differ: the calibration 180x300, .*/0.png 90x150; use the calib", **recording)
    (tmp_path / "images" / "1.jpg").touch()
    refused("1.jpg and 1.png have the same name, .*; remove one", **recording)
    (tmp_path / "images" / "1.jpg").unlink()
    (tmp_path / "images" / "1.png").unlink()
    refused("1 of 5 scans have no image; the first one would be 1.png", **recording)
    (tmp_path / "kitti/2011_09_26/2011_09_26_drive_0001_sync/oxts/data/0000000001.txt").unlink()
    refused("compensate=oxts: 1 of 3 scans .* have no file", data_dir=raw, compensate="oxts")


@pytest.mark.parametrize(
    ("setting", "path", "missing"), [("poses", "poses.txt", "a.txt"), ("image", "images", "a")]
)
def test_drives_do_not_share_poses_or_images(setting, path, missing, recording, tmp_path):
    for name in ("a", "b"):
        shutil.copytree(recording["scans"], tmp_path / "both" / name)
    settings = {"scans": str(tmp_path / "both"), "calibration": recording["calibration"]}
    settings |= {setting: str(tmp_path / path)}
    settings |= {"compensate": "poses" if setting == "poses" else "none"}
    with pytest.raises(ValueError, match=f"each of the 2 drives, there is no {missing} in it;"):
        project.run(config_of(**settings), tmp_path / "out")
    assert project.run(config_of(**settings, drives="b"), tmp_path / "out")["written"] == COUNT


def test_an_official_frame_agrees(real_sensors, tmp_path):
    """Its motion is not known; a constant one was fitted by `benchmarks/projection.py`."""
    source = real_sensors / "kitti_official"
    date = tmp_path / "raw" / "2011_09_26"
    shutil.copytree(source / "raw" / "2011_09_26", date, ignore=shutil.ignore_patterns("image_*"))
    (date / "calib_imu_to_velo.txt").write_text(RAW["calib_imu_to_velo.txt"])
    unit = date / "2011_09_26_drive_0001_sync" / "oxts" / "data" / "0000000005.txt"
    unit.parent.mkdir(parents=True)
    velocity = np.array([1.328, 0.015, 0.017]) / 0.1
    rates = np.radians([-0.040, 0.053, -0.178]) / 0.1
    numbers = [*[0] * 8, *velocity, *[0] * 6, *rates, *[0] * 10]
    unit.write_text(" ".join(map(str, numbers)))
    project.run(config_of(data_dir=str(date)), tmp_path / "out")
    for frame in kitti.find_frames(source, "train", require=()):
        found = kitti.layout.depth_files(tmp_path / "out", "train", "sparse")[frame.name]
        official, ours = read_depth(frame.sparse), read_depth(found)
        agrees = (np.abs(ours - official) <= 1 / 256)[official > 0]
        # The rounded motion is worth 2% of the pixels.
        assert 0.93 < agrees.mean() < 0.98


@pytest.mark.nightly
def test_a_rendered_drive_is_close_to_its_exact_depth(tmp_path):
    calibrated, key = accumulation.calibrate(CAMERA, LIDAR), jax.random.key(3)
    scans, poses = accumulation.drive(key, CAMERA, LIDAR, calibrated)
    (tmp_path / "street").mkdir()
    for i, points in enumerate(scans):
        np.save(tmp_path / "street" / f"{i}.npy", points)
    np.savetxt(tmp_path / "poses.txt", [pose[:3].ravel() for pose in poses])
    size = {"height": CAMERA.height, "width": CAMERA.width}
    camera = {"K": calibrated.projection[:, :3].tolist()} | size
    camera["T_cam_lidar"] = calibrated.camera_from_lidar.tolist()
    (tmp_path / "camera.json").write_text(json.dumps(camera))
    settings = {"scans": str(tmp_path / "street"), "calibration": str(tmp_path / "camera.json")}
    settings |= {"poses": str(tmp_path / "poses.txt"), "poses_of": "scanner"}
    project.run(config_of(ground_truth_scans=11, **settings), tmp_path / "out")
    (frame,) = kitti.find_frames(tmp_path / "out", "train", require={"ground_truth"})
    sparse, truth = read_depth(frame.sparse), read_depth(frame.ground_truth)
    exact_depth = np.asarray(render_scene(key, CAMERA, LIDAR).depth)
    error = np.abs(truth - exact_depth)[(truth > 0) & (exact_depth > 0)]
    assert (truth > 0).sum() > 2 * (sparse > 0).sum()
    # The benchmark `accumulation` has figures for larger images.
    assert np.median(error) < 0.2
    direct = accumulate(scans, poses, calibrated).depth
    np.testing.assert_allclose(truth, np.floor(direct * 256) / 256, rtol=0, atol=1 / 256)
