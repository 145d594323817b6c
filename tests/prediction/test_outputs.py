"""The files of a prediction: confidence, thresholds and the frame of point clouds."""

import numpy as np
import plyfile
import pytest
from PIL import Image

from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.prediction.outputs import CloudLimits, Outputs, Prediction

DEPTH = np.array([[4.0, 4.1], [4.2, 4.3]], np.float32)
CONFIDENCE = np.array([[0.0, 0.2], [0.5, 1.0]], np.float32)
IMAGE = np.zeros((2, 2, 3), np.uint8)
MATRIX = np.array([[10.0, 0, 0], [0, 10, 0], [0, 0, 1]])
TURN = np.array([[0.0, 0, 1, 5], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]])


def write(folder, kinds, min_confidence=0.0, **settings):
    limits = CloudLimits(max_jump=1.0, above_scan=True)
    outputs = Outputs(folder, kinds, limits=limits, min_confidence=min_confidence)
    values = {"confidence": CONFIDENCE} | settings
    outputs.write("a", Prediction({"fine": DEPTH}, DEPTH, IMAGE, MATRIX, **values))


def test_confidence_is_written_as_gray_levels_and_as_an_array(tmp_path):
    write(tmp_path, ("confidence", "confidence_npy"))
    levels = np.asarray(Image.open(tmp_path / "confidence" / "a.png"))
    np.testing.assert_array_equal(levels, [[0, 51], [128, 255]])
    np.testing.assert_array_equal(np.load(tmp_path / "confidence_npy" / "a.npy"), CONFIDENCE)


def test_uncertain_pixels_are_missing_in_pngs_and_clouds_but_not_in_arrays(tmp_path):
    write(tmp_path, ("png", "npy", "ply"), min_confidence=0.5)
    kept = CONFIDENCE >= 0.5
    np.testing.assert_array_equal(read_depth(tmp_path / "depth" / "a.png") > 0, kept)
    np.testing.assert_array_equal(np.load(tmp_path / "npy" / "a.npy"), DEPTH)
    cloud = plyfile.PlyData.read(tmp_path / "ply" / "a.ply")
    np.testing.assert_array_equal(cloud["vertex"].data["z"], DEPTH[kept])


@pytest.mark.parametrize("kind", ["ply", "pcd"])
def test_a_cloud_says_what_its_frame_is(kind, tmp_path):
    write(tmp_path, (kind,), lidar_from_camera=TURN, undistorted=True)
    header = (tmp_path / kind / f"a.{kind}").read_bytes()[:300].decode("ascii", "ignore")
    assert "metres in the frame of the scanner\n" in header
    assert "pixels of the undistorted image\n" in header


def test_a_cloud_can_be_in_the_frame_of_the_scanner(tmp_path):
    write(tmp_path, ("ply",), lidar_from_camera=TURN)
    vertex = plyfile.PlyData.read(tmp_path / "ply" / "a.ply")["vertex"].data
    np.testing.assert_allclose(vertex["x"], DEPTH.ravel() + 5)
    np.testing.assert_allclose(vertex["z"], [0, 0, -0.42, -0.43], atol=1e-6)


@pytest.mark.parametrize(
    ("kinds", "least", "needed"),
    [(("png",), 0.0, False), (("png",), 0.1, True), (("png", "confidence"), 0.0, True)],
)
def test_confidence_is_computed_when_it_is_used(kinds, least, needed, tmp_path):
    assert Outputs(tmp_path, kinds, min_confidence=least).needs_confidence is needed


def test_a_recording_is_in_the_frame_of_the_camera(tmp_path):
    pytest.importorskip("rerun", reason="needs the extra `viewer`, which installs rerun-sdk")
    reader = pytest.importorskip("rerun.chunk", reason="needs rerun-sdk 0.41 or newer").RrdReader
    write(tmp_path, ("rrd",), min_confidence=0.5, lidar_from_camera=TURN)
    found = {}
    for chunk in reader(str(tmp_path / "rrd" / "a.rrd")).stream():
        table = chunk.to_record_batch()
        for name in (n for n in table.schema.names if ":" in n and "time" not in n):
            found[f"{chunk.entity_path}/{name}"] = table.column(name).to_pylist()
    kept = CONFIDENCE >= 0.5
    [cloud] = found["/cloud/Points3D:positions"]
    np.testing.assert_array_equal(np.float32(cloud)[:, 2], DEPTH[kept])
    [[depth]] = found["/camera/depth/DepthImage:buffer"]
    shown = np.array(depth, np.uint8).view(np.float32)
    np.testing.assert_array_equal(shown, np.where(kept, DEPTH, 0).ravel())
