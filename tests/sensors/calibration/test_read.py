"""Calibration files of all formats."""

import json
from pathlib import Path

import numpy as np
import pytest

from fcfrnet_jax.sensors.calibration import read_calibration

ROTATION = np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
T_CAM_LIDAR = np.block([[ROTATION, np.array([[0.1], [-0.2], [0.3]])], [np.zeros((1, 3)), 1]])
RECTIFICATION = np.array([[0.6, -0.8, 0], [0.8, 0.6, 0], [0, 0, 1.0]])
PROJECTION = np.array([[700.0, 0, 600, 45], [0, 700, 170, 0.2], [0, 0, 1, 0.003]])
K = [[900.0, 0, 640], [0, 910, 360], [0, 0, 1]]


def words(array):
    return " ".join(f"{value:e}" for value in np.ravel(array))


RAW_CAMERAS = f"""calib_time: 09-Jan-2012 13:57:47
S_rect_03: 1.242e+03 3.75e+02
R_rect_00: {words(RECTIFICATION)}
P_rect_03: {words(PROJECTION)}
"""
RAW_LIDAR = f"R: {words(ROTATION)}\nT: {words(T_CAM_LIDAR[:3, 3])}\n"
OBJECT = f"""P0: {words(np.eye(3, 4))}
P3: {words(PROJECTION)}
R0_rect: {words(RECTIFICATION)}
Tr_velo_to_cam: {words(T_CAM_LIDAR[:3])}
"""
# Without colons, as in the tracking benchmark.
TRACKING = OBJECT.replace("R0_rect:", "R_rect").replace("Tr_velo_to_cam:", "Tr_velo_cam")
RECTIFIED = np.block([[RECTIFICATION, np.zeros((3, 1))], [np.zeros((1, 3)), 1]]) @ T_CAM_LIDAR
ODOMETRY = f"P0: {words(PROJECTION)}\nP3: {words(PROJECTION)}\nTr: {words(RECTIFIED[:3])}\n"


def raw_data(folder: Path, change=lambda text: text.encode()) -> Path:
    (folder / "calib_velo_to_cam.txt").write_bytes(change(RAW_LIDAR))
    (folder / "calib_cam_to_cam.txt").write_bytes(change(RAW_CAMERAS))
    return folder


def windows(text):
    return b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()


def with_comments(text):
    return ("# a comment\n\n" + text.replace(": ", ":\t").replace("\n", "  # end\n")).encode()


@pytest.mark.parametrize(
    "change", [str.encode, windows, with_comments, lambda t: t.encode("utf-16")]
)
def test_kittis_files_are_read(change, tmp_path):
    files = [raw_data(tmp_path, change), tmp_path / "calib_cam_to_cam.txt"]
    for name, text in (("object", OBJECT), ("tracking", TRACKING), ("odometry", ODOMETRY)):
        files.append(tmp_path / f"{name}.txt")
        files[-1].write_bytes(change(text))
    for file in files:
        calibration = read_calibration(file, camera="03")
        np.testing.assert_allclose(calibration.projection, PROJECTION)
        np.testing.assert_allclose(calibration.camera_from_lidar, RECTIFIED, atol=1e-12)
        assert calibration.size == ((375, 1242) if "calib" in file.name or file.is_dir() else None)
        assert calibration.intrinsics == (700, 700, 600, 170)


@pytest.mark.parametrize("change", [str.encode, windows, lambda text: f"// mine\n{text}".encode()])
def test_json_is_read(change, tmp_path):
    values = {
        "K": K,
        "T_cam_lidar": T_CAM_LIDAR.tolist(),
        "width": 1280,
        "height": 720,
        "name": "a",
    }
    (tmp_path / "camera.json").write_bytes(change(json.dumps(values, indent=1)))
    calibration = read_calibration(tmp_path / "camera.json")
    np.testing.assert_array_equal(calibration.projection[:, :3], K)
    np.testing.assert_array_equal(calibration.projection[:, 3], 0)
    np.testing.assert_array_equal(calibration.camera_from_lidar, T_CAM_LIDAR)
    assert (calibration.size, calibration.distortion) == ((720, 1280), None)


CALIBRATOR = """%YAML:1.0
# from camera_calibration
image_width: 1280
image_height: 720
camera_name: front
camera_matrix: !!opencv-matrix
  rows: 3
  cols: 3
  data: [900, 0, 640, 0, 910, 360, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
\trows: 1
\tcols: 5
\tdata: [-0.3, 0.1, 0.001, 0.002, 0]
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [850, 0, 630, 0, 0, 860, 350, 0, 0, 0, 1, 0]}
"""
TOPIC = """header: {seq: 1, frame_id: camera}
height: 720
width: 1280
distortion_model: rational_polynomial
D: [0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.5, 0.6]
K: [900.0, 0.0, 640.0, 0.0, 910.0, 360.0, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [850.0, 0.0, 630.0, -99.0, 0.0, 860.0, 350.0, 0.0, 0.0, 0.0, 1.0, 0.0]
---
"""


@pytest.mark.parametrize(
    ("text", "model", "coefficients"),
    [
        (CALIBRATOR, "plumb_bob", (-0.3, 0.1, 0.001, 0.002, 0)),
        (TOPIC, "rational_polynomial", (0.1, 0.2, 0, 0, 0.3, 0.4, 0.5, 0.6)),
        (
            TOPIC.replace("rational_polynomial", "fisheye").replace("D: [0.1, 0.2, ", "D: [")
            .replace(", 0.5, 0.6]", "]"),
            "equidistant",
            (0, 0, 0.3, 0.4),
        ),
        # Without further terms, a fisheye lens still is no pinhole.
        (
            TOPIC.replace("rational_polynomial", "Kannala-Brandt")
            .replace("D: [0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.5, 0.6]", "D: [0, 0, 0, 0]"),
            "equidistant",
            (0, 0, 0, 0),
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("change", [str.encode, windows])
@pytest.mark.parametrize("extrinsics", ["numbers.txt", "calib_velo_to_cam.txt", "other.json"])
def test_camera_info_is_read(text, model, coefficients, change, extrinsics, tmp_path):
    raw_data(tmp_path)
    (tmp_path / "numbers.txt").write_text(f"# rows\n{words(T_CAM_LIDAR)}\n")
    (tmp_path / "other.json").write_text(json.dumps({"T_cam_lidar": T_CAM_LIDAR[:3].tolist()}))
    (tmp_path / "camera.yaml").write_bytes(change(text))
    read = read_calibration(tmp_path / "camera.yaml", extrinsics=tmp_path / extrinsics)
    assert (read.intrinsics, read.size) == ((850, 860, 630, 350), (720, 1280))
    # A baseline of ROS does not apply.
    np.testing.assert_array_equal(read.projection[:, 3], 0)
    np.testing.assert_allclose(read.camera_from_lidar, T_CAM_LIDAR)
    assert read.distortion.model == model
    np.testing.assert_array_equal(read.distortion.coefficients, coefficients)
    np.testing.assert_array_equal(read.distortion.camera_matrix, K)


def json_with(**changes):
    values = {"K": K, "T_cam_lidar": T_CAM_LIDAR.tolist()} | changes
    return json.dumps({key: value for key, value in values.items() if value is not None})


# In millimetres.
FAR = (T_CAM_LIDAR * ([[1, 1, 1, 1000]] * 3 + [[1] * 4])).tolist()
MIRROR = np.diag([1.0, 1, -1, 1]).tolist()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.json", json_with(K=None), "has T_cam_lidar, expected K, the intrinsic matrix"),
        ("a.json", json_with(K=K[:2]), "K must be 9 numbers, a 3x3 matrix, got 6"),
        (
            "a.json",
            json_with(K=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]]),
            "positive focal lengths, got -1",
        ),
        ("a.json", json_with(K=["a"]), "K must be numbers, got"),
        (
            "a.json",
            json_with(K=np.transpose(K).tolist()),
            "must have the last row 0, 0, 1, got 640",
        ),
        ("a.json", json_with(T_cam_lidar=None), "has no T_cam_lidar, the 4x4 .* extrinsics"),
        (
            "a.json",
            json_with(K=np.diag([0.9, 1.2, 1]).tolist()),
            "focal lengths in pixels, got 0.9",
        ),
        ("a.json", json_with(T_cam_lidar=FAR), "a translation of 374.2 m, expected .* millimetres"),
        ("a.json", json_with(T_cam_lidar=[1, 2]), "T_cam_lidar must be 16 numbers, a 4x4 .* got 2"),
        ("a.json", json_with(T_cam_lidar=MIRROR), "must be a rotation, got a reflection"),
        ("a.json", json_with(T_cam_lidar=(2 * np.eye(4)).tolist()), "must be a rotation: .* got 3"),
        ("a.json", json_with(D="abc"), r"(?<!\.: )D must be numbers, got abc"),
        ("a.json", "[" * 99999, "cannot be read as JSON: maximum recursion depth"),
        ("a.json", json_with(D=[1, 2, 3]), "has 3 distortion coefficients without .*; add dist"),
        ("a.json", json_with(D=[1] * 12), "has 12 distortion coefficients without .*; add dist"),
        ("a.json", json_with(distortion_model="fisheye"), "has distortion_model fisheye but no co"),
        ("a.json", json_with(D=[1, 2, 3], model="plumb_bob"), r"4 or 5 dist.* got shape \[3\]"),
        (
            "a.json",
            json_with(distortion_coeffs=[1]),
            "unknown distortion_coeffs; the distortion is",
        ),
        ("a.json", json_with(width=True, height=2), "both be integers, got 2 and True"),
        ("a.json", json_with(width=5), "height and width must both be integers, got None and 5"),
        ("a.json", "{K: 1", "is not JSON from line 1, column 2 on; correct the file, in which"),
        ("a.json", "[1]", "holds list, expected named values such as K"),
        ("a.yaml", "K: [1", "cannot be read as YAML: .*; correct the file"),
        ("a.txt", OBJECT.replace("P3", "P4"), "expected P3, found P0, P4, R0_rect, Tr_velo_to_cam"),
        ("a.txt", OBJECT.replace("P3: 7", "P3: x"), "P3 must be 12 numbers, got 'x.0"),
        (
            "a.txt",
            OBJECT.replace("Tr_", "T_"),
            "expected Tr_velo_to_cam or Tr_velo_cam or Tr, found",
        ),
        ("a.txt", "hello", "found hello, expected P_rect_03 .KITTI's raw data., P3 "),
        ("a.txt", RAW_CAMERAS, "there is no such file; copy it from the raw data"),
        ("no.txt", None, "cannot be read: No such file"),
    ],
)
def test_wrong_files_are_described(name, text, fault, tmp_path):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=f"^{tmp_path}/.*: .*{fault}") as caught:
        read_calibration(tmp_path / name, camera="03")
    assert "\n" not in str(caught.value)


def test_two_sources_of_the_extrinsics_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json_with())
    (tmp_path / "a.txt").write_text(OBJECT)
    for name in ("a.json", "a.txt"):
        with pytest.raises(ValueError, match=f"{name}: .* extrinsics must be empty"):
            read_calibration(tmp_path / name, extrinsics=tmp_path / "a.json")


def test_another_camera_is_refused(tmp_path):
    with pytest.raises(ValueError, match="camera must be one of 00, 01, 02, 03, got '4'"):
        read_calibration(raw_data(tmp_path), camera="4")
