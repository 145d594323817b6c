"""Prediction from raw scans, from the command line's settings to the files that it writes."""

import json

import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.commands.inference import predict
from fcfrnet_jax.commands.inference.sources import find_source
from fcfrnet_jax.configs import predict as predict_config
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.sensors.calibration import read_calibration
from fcfrnet_jax.sensors.motion import Motion, azimuth_times, compensate
from fcfrnet_jax.sensors.projection import project

SIZE = (32, 48)
CALIBRATION = {
    "K": [[40, 0, 24], [0, 40, 16], [0, 0, 1]],
    "T_cam_lidar": [[0, -1, 0, 0], [0, 0, -1, -0.2], [1, 0, 0, 0], [0, 0, 0, 1]],
    "width": SIZE[1],
    "height": SIZE[0],
}
BENT = CALIBRATION | {"distortion": [-0.2, 0.05, 0, 0]}
# Forward, to the left and up in m/s, and about these axes in rad/s.
VELOCITY, RATES = (10.0, 0.5, 0.0), (0.0, 0.0, 0.3)


def points_of(seed):
    """A wall in front of the scanner."""
    random = np.random.default_rng(seed)
    return random.uniform([8, -4, -3], [8.5, 4, 3], (300, 3)).astype(np.float32)


def config_of(tmp_path, **settings):
    config = predict_config.get_config()
    config.update(checkpoint="", outputs="png", image=str(tmp_path / "rgb"))
    config.update(scan=str(tmp_path / "scans"), calibration=str(tmp_path / "rig.json"))
    config.update_from_flattened_dict(settings)
    return config.lock()


@pytest.fixture
def recording(tmp_path):
    """Two images and scans, in folders."""
    for name in ("rgb", "scans"):
        (tmp_path / name).mkdir()
    for i in range(2):
        image = np.random.default_rng(i).integers(0, 256, (*SIZE, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"rgb/{i}.png")
        np.save(tmp_path / f"scans/{i}.npy", points_of(i))
    (tmp_path / "rig.json").write_text(json.dumps(CALIBRATION))
    return tmp_path


def filled(sparse_depth):
    return np.asarray(classical_fill(sparse_depth[None, ..., None]))[0, ..., 0]


def assert_predicted(folder, name, sparse_depth):
    stored = read_depth(folder / "depth" / f"{name}.png")
    np.testing.assert_allclose(stored, filled(sparse_depth), atol=0.51 / 256)


def test_scans_are_projected(recording):
    result = predict.run(config_of(recording), recording / "out")
    assert (result["predicted"], result["undistorted"], result["dropped_points"]) == (2, False, 0)
    rig = read_calibration(recording / "rig.json")
    for i in range(2):
        assert_predicted(recording / "out", i, project(points_of(i), rig))


def test_a_changed_calibration_needs_another_workdir(recording):
    predict.run(config_of(recording), recording / "out")
    (recording / "rig.json").write_text(json.dumps(BENT))
    with pytest.raises(ValueError, match=r"another run: the content of .*/rig\.json has changed;"):
        predict.run(config_of(recording), recording / "out")


def test_images_are_undistorted_and_the_record_says_so(recording, capsys):
    (recording / "rig.json").write_text(json.dumps(BENT))
    result = predict.run(config_of(recording, outputs="image"), recording / "out")
    assert result["undistorted"]
    assert "The images have been undistorted" in capsys.readouterr().err
    written = np.asarray(Image.open(recording / "out" / "images" / "0.png"))
    assert not np.array_equal(written, np.asarray(Image.open(recording / "rgb" / "0.png")))


def test_missing_points_are_counted_and_dropped(recording, capsys):
    bad = np.concatenate([points_of(0), np.full((3, 3), np.nan), np.zeros((2, 3))])
    np.save(recording / "scans" / "0.npy", bad)
    result = predict.run(config_of(recording), recording / "out")
    assert result["dropped_points"] == 5
    assert "Dropped 5 points of the scans that are NaN" in capsys.readouterr().err
    assert_predicted(
        recording / "out", 0, project(points_of(0), read_calibration(recording / "rig.json"))
    )


def test_coordinates_in_millimetres_are_read_with_their_scale(recording):
    for i in range(2):
        np.save(recording / "scans" / f"{i}.npy", 1000 * points_of(i))
    predict.run(config_of(recording, depth_scale=1000.0), recording / "out")
    assert_predicted(
        recording / "out", 1, project(points_of(1), read_calibration(recording / "rig.json"))
    )


def test_the_motion_of_kittis_scanner_is_compensated(recording):
    (recording / "oxts").mkdir()
    values = np.zeros(30)
    values[8:11], values[17:20] = VELOCITY, RATES
    for i in range(2):
        (recording / "oxts" / f"{i}.txt").write_text(" ".join(map(str, values)))
    (recording / "calib_imu_to_velo.txt").write_text("R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n")
    predict.run(config_of(recording, oxts=str(recording / "oxts")), recording / "out")
    points = points_of(0)
    moved = compensate(points, azimuth_times(points), Motion(np.array(VELOCITY), np.array(RATES)))
    rig = read_calibration(recording / "rig.json")
    assert_predicted(recording / "out", 0, project(moved.astype(np.float32), rig))
    assert not np.array_equal(project(moved, rig), project(points, rig))


def test_each_frame_may_have_its_own_calibration(recording):
    (recording / "rigs").mkdir()
    shifted = CALIBRATION | {"K": [[40, 0, 20], [0, 40, 16], [0, 0, 1]]}
    for i, rig in enumerate((CALIBRATION, shifted)):
        (recording / "rigs" / f"{i}.json").write_text(json.dumps(rig))
    predict.run(config_of(recording, calibration=str(recording / "rigs")), recording / "out")
    for i in range(2):
        rig = read_calibration(recording / "rigs" / f"{i}.json")
        assert_predicted(recording / "out", i, project(points_of(i), rig))


def inverted(rig):
    return rig | {"T_cam_lidar": np.linalg.inv(rig["T_cam_lidar"]).tolist()}


def write_rig(recording, rig):
    (recording / "rig.json").write_text(json.dumps(rig))


def write_scans(recording, content):
    for i in range(2):
        path = recording / "scans" / f"{i}.npy"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)


def write_bins(recording, content):
    for path in list((recording / "scans").iterdir()):
        path.unlink()
        path.with_suffix(".bin").write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "content", "message"),
    [
        (
            write_rig,
            inverted(CALIBRATION),
            r"scans/0\.npy: none of the 300 points falls into the image of 32x48 \(\d+ behind.*"
            r"the inverse of T_cam_lidar, \d+ would: .* so invert it \(the calibration is .*rig",
        ),
        (
            write_rig,
            CALIBRATION | {"width": 96},
            r"rig\.json: the calibration is for images of 32x96 \(height x width\), the image is "
            "32x48; give the calibration of this camera and resolution",
        ),
        (
            write_rig,
            {"K": CALIBRATION["K"]},
            r"--config\.calibration: .*rig\.json.*T_cam_lidar",
        ),
        (
            write_scans,
            1000 * points_of(0),
            r"scans/0\.npy: with 1 values per metre, .*likely --config.depth_scale=1000 \(milli",
        ),
        (
            write_scans,
            256 * points_of(0),
            r"scans/0\.npy: with 1 values per metre, .*depth_scale=256 \(1/256 m, as KITTI's\)",
        ),
        (write_scans, np.zeros((0, 3)), r"scans/0\.npy: the scan is empty, expected at least one"),
        (
            write_scans,
            np.full((4, 3), np.nan),
            r"scans/0\.npy: all 4 points are NaN, infinite or \(0, 0, 0\), expected at least one",
        ),
        (write_scans, b"\x93NUMPY damaged", r"scans/0\.npy: "),
        (
            write_bins,
            bytes(37),
            r"scans/0\.bin: has 37 bytes, expected a multiple of 16 or 20, .*truncated, or set "
            "--config.columns to",
        ),
    ],
    ids=("inverse", "size", "extrinsics", "mm", "1/256 m", "empty", "missing", "damaged", "cut"),
)  # fmt: skip
def test_recordings_that_cannot_be_used(spoil, content, message, recording):
    spoil(recording, content)
    with pytest.raises(ValueError, match=message) as raised:
        predict.run(config_of(recording), recording / "out")
    assert "\n" not in str(raised.value)
    assert not (recording / "out" / "depth").exists()


def test_a_likely_inverse_is_reported(recording, caplog):
    random = np.random.default_rng(0)
    azimuth, distance = random.uniform(-np.pi, np.pi, 4000), random.uniform(8, 20, 4000)
    height = random.uniform(-2, 2, 4000)
    around = np.stack([distance * np.cos(azimuth), distance * np.sin(azimuth), height], axis=1)
    write_scans(recording, around)
    predict.run(config_of(recording), recording / "right")
    assert "level" not in caplog.text
    write_rig(recording, inverted(CALIBRATION))
    predict.run(config_of(recording), recording / "wrong")
    assert "with the inverse of T_cam_lidar it would be" in caplog.text
    assert "principal point" not in caplog.text
    double = np.diag([2, 2, 1]) @ CALIBRATION["K"]
    without_size = {"K": double.tolist(), "T_cam_lidar": CALIBRATION["T_cam_lidar"]}
    write_rig(recording, without_size)
    predict.run(config_of(recording), recording / "double")
    assert "principal point (48, 32) is far from the middle of the images of 32x48" in caplog.text


def test_a_bad_scan_of_a_folder_is_skipped_and_listed(recording):
    (recording / "scans" / "0.npy").write_bytes((recording / "scans" / "0.npy").read_bytes()[:500])
    result = predict.run(config_of(recording), recording / "out")
    assert [item["name"] for item in result["skipped"]] == ["0"]
    assert result["predicted"] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": ""}, "^--config.calibration is empty, but --config.scan=.* needs the cal"),
        ({"scan": ""}, r"^--config.calibration=.* is for raw scans: give them by --config.scan"),
        ({"depth": "depth"}, "^--config.depth=depth and --config.scan=.* exclude each other"),
        ({"scan": "absent"}, "^--config.scan=absent: there is no such file or folder"),
        ({"scan_pattern": "a_{name}"}, "no file that matches --config.scan_pattern=a_"),
        ({"camera": "2"}, "^--config.camera must be one of 00, 01, 02, 03, got '2'"),
        ({"columns": "x,y,t"}, "^--config.columns=x,y,t must have x, y and z among the names, or"),
        ({"columns": "2"}, "^--config.columns: columns must be 3 to 6 or the names"),
        ({"calibration": "absent"}, "^--config.calibration: absent: cannot be read"),
        ({"oxts": "."}, r"^--config.oxts=\. has no file for 2 of 2 frames; the first"),
        ({"oxts": "0.txt"}, "^--config.oxts=0.txt is not a folder, but there are 2 scans; give"),
        ({"cloud.frame": "world"}, "^--config.cloud.frame must be one of camera, lidar, got"),
        ({"outputs": "confidence"}, "^--config.checkpoint= selects the classical fill, which has"),
        ({"min_confidence": 2.0}, "min_confidence must be at least 0.0 and at most 1.0, got 2"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_used(settings, message, recording):
    with pytest.raises(ValueError, match=message):
        predict.run(config_of(recording, **settings), recording / "out")


KITTI = "kitti_official/raw/2011_09_26"
DRIVE = f"{KITTI}/2011_09_26_drive_0001_sync"
RECORDINGS = {
    "kitti": (f"{DRIVE}/image_02/data", f"{DRIVE}/velodyne_points/data", KITTI),
    "object": tuple(f"kitti_object/training/{name}" for name in ("image_2", "velodyne", "calib")),
    "nuscenes": ("nuscenes_32/front.jpg", "nuscenes_32/scan.bin", "nuscenes_32/calibration.json"),
    "vlp16": ("vlp16/front.jpg", "vlp16/scan.pcd", "vlp16/calibration.json"),
}


@pytest.mark.parametrize(
    ("name", "size", "pixels"),
    [
        ("kitti", (375, 1242), 19137),
        ("object", (375, 1242), 18600),
        # 3067 points fall into the image.
        ("nuscenes", (900, 1600), 3059),
        ("vlp16", (720, 1280), 3003),
    ],
)
def test_recordings_are_read_without_own_code(name, size, pixels, real_sensors, tmp_path):
    image, scan, calibration = (str(real_sensors / path) for path in RECORDINGS[name])
    files = {"image": image, "scan": scan, "calibration": calibration}
    config = config_of(tmp_path, **files, remove_hidden=False)
    source = find_source(config)
    (frame,) = source.frames
    arrays, bad = predict.make_reader(config, source)(frame, (0, 0))
    assert bad == []
    assert np.count_nonzero(arrays["sparse_depth"]) == pixels
    assert arrays["sparse_depth"].shape == arrays["image"].shape[:2] == size
