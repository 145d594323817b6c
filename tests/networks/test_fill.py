"""The classical fill against OpenCV, on hand-made cases and on real frames."""

import subprocess
import sys
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.fill import opencv_fill, road_scan
from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.networks.fill import classical_fill, keep_measured

ROOT = Path(__file__).parents[2]

SIZES = ((1, 1), (1, 37), (2, 3), (5, 5), (17, 64), (40, 9), (71, 53))

# RMSE and MAE in mm of the authors' program on six frames, with its output stored as 16-bit PNG.
PUBLISHED = {
    "2011_09_26_drive_0009_sync_{}_0000000030_image_02.png": (1205.9, 262.7),
    "2011_09_26_drive_0009_sync_{}_0000000040_image_02.png": (1190.8, 217.5),
    "2011_09_30_drive_0016_sync_{}_0000000030_image_02.png": (701.6, 168.9),
    "2011_09_30_drive_0016_sync_{}_0000000030_image_03.png": (738.9, 175.6),
    "2011_09_30_drive_0016_sync_{}_0000000035_image_02.png": (491.5, 166.1),
    "2011_09_30_drive_0016_sync_{}_0000000040_image_02.png": (905.5, 174.8),
}


def fill_one(sparse_depth, max_depth=100.0):
    return np.asarray(classical_fill(sparse_depth[None, ..., None], max_depth))[0, ..., 0]


def rmse_and_mae(prediction, ground_truth):
    valid = ground_truth > 0.1
    error = 1000 * (np.maximum(prediction, 0.9)[valid].astype(np.float64) - ground_truth[valid])
    return np.sqrt(np.mean(error**2)), np.mean(np.abs(error))


@st.composite
def sparse_maps(draw):
    """Sparse depth of one of a few sizes, with some measurements below 99.9 m."""
    sparse = np.zeros(draw(st.sampled_from(SIZES)), np.float32)
    pixels = st.integers(0, sparse.size - 1)
    depths = st.floats(0.125, 99.75, width=32)
    for pixel, depth in draw(st.dictionaries(pixels, depths, max_size=40)).items():
        sparse.flat[pixel] = depth
    return sparse


@pytest.fixture(params=PUBLISHED)
def real_frame(request, kitti_real):
    """Sparse depth, ground truth and the published figures of one frame."""
    folder = kitti_real / "depth_selection" / "val_selection_cropped"
    sparse = read_depth(folder / "velodyne_raw" / request.param.format("velodyne_raw"))
    truth = read_depth(folder / "groundtruth_depth" / request.param.format("groundtruth_depth"))
    return sparse, truth, PUBLISHED[request.param]


@settings(max_examples=100)
@given(sparse_maps())
def test_equals_opencv(sparse):
    np.testing.assert_allclose(fill_one(sparse), opencv_fill(sparse), rtol=0, atol=5e-5)


@settings(max_examples=60)
@given(sparse_maps())
def test_is_the_published_algorithm_wherever_that_is_dense(sparse):
    published = opencv_fill(sparse, dense=False)
    # Each blur spreads an empty pixel by two pixels, and may fill it.
    empty = (opencv_fill(sparse, dense=False, blur=False) == 0).astype(np.uint8)
    untouched = cv2.dilate(empty, np.ones((9, 9))) == 0
    difference = np.abs(fill_one(sparse) - published)
    assert difference[untouched].max(initial=0) < 5e-5


@settings(max_examples=60)
@given(sparse_maps())
def test_any_measurement_makes_the_frame_dense_and_within_the_measured_range(sparse):
    filled = fill_one(sparse)
    measured = sparse[sparse > 0]
    assert np.isfinite(filled).all()
    assert filled.min() >= measured.min(initial=1e9 if measured.size else 0) - 5e-5
    assert filled.max() <= measured.max(initial=0) + 5e-5


def test_reference_reaches_the_published_figures(real_frame):
    sparse, truth, published = real_frame
    stored = np.floor(opencv_fill(sparse, dense=False) * 256) / 256
    assert rmse_and_mae(stored, truth) == pytest.approx(published, abs=0.06)


def test_real_frame_scores_as_published(real_frame):
    sparse, truth, published = real_frame
    assert rmse_and_mae(fill_one(sparse), truth) == pytest.approx(published, rel=0.005)


def test_real_frame_equals_opencv(real_frame):
    sparse = real_frame[0]
    np.testing.assert_array_equal(fill_one(sparse), opencv_fill(sparse))


@pytest.mark.parametrize("frame", [5, 10, 15])
def test_uncropped_frame_is_dense_and_no_worse_than_published(kitti_real, frame):
    folder = kitti_real / "train" / "2011_09_26_drive_0009_sync" / "proj_depth"
    name = f"image_03/{frame:010d}.png"
    sparse = read_depth(folder / "velodyne_raw" / name)
    truth = read_depth(folder / "groundtruth" / name)
    filled = fill_one(sparse)
    assert filled.min() > 0.1
    published = rmse_and_mae(opencv_fill(sparse, dense=False), truth)
    assert all(np.array(rmse_and_mae(filled, truth)) <= np.array(published) + 1e-3)


def test_batch_equals_single_frames_bit_for_bit():
    frames = road_scan(3, 61, 83)
    frames[1] = 0
    frames[2, :, 40:] = 0
    single = [classical_fill(frame[None])[0] for frame in frames]
    np.testing.assert_array_equal(classical_fill(frames), np.stack(single))


def test_jit_vmap_and_pmap_change_nothing():
    frames = road_scan(4, 31, 45)
    frames[0, :, 20:] = 0
    pairs = jnp.asarray(frames).reshape(2, 2, 31, 45, 1)
    expected = np.asarray(classical_fill(frames)).reshape(pairs.shape)
    np.testing.assert_array_equal(jax.jit(jax.vmap(classical_fill))(pairs), expected)
    np.testing.assert_array_equal(jax.pmap(classical_fill)(pairs), expected)


@pytest.mark.parametrize("density", [0.01, 0.3])
@pytest.mark.parametrize("size", [(2, 3), (5, 48), (32, 7), (17, 33), (31, 47)], ids=str)
def test_padding_does_not_change_the_fill_of_a_frame(size, density):
    random, (height, width) = np.random.default_rng(0), size
    padded = np.zeros((2, 32, 48, 1), np.float32)
    sparse = random.uniform(0.2, 99, (height, width, 1)).astype(np.float32)
    sparse[random.random(sparse.shape) > density] = 0
    padded[1, :height, :width] = sparse
    # What is outside the frame does not count.
    padded[0] = random.uniform(1, 99, padded[0].shape)
    padded[0, :height, :width] = sparse
    found = classical_fill(padded, size=np.full((2, 2), size, np.int32))
    expected = np.asarray(classical_fill(sparse[None]))[0]
    for i in range(2):
        np.testing.assert_array_equal(found[i, :height, :width], expected)
        assert not found[i, height:].any()
        assert not found[i, :, width:].any()


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, np.nan, np.inf, -np.inf])
def test_frame_without_a_valid_measurement_stays_empty(value):
    filled = fill_one(np.full((20, 33), value, np.float32))
    np.testing.assert_array_equal(filled, np.zeros((20, 33)))


def test_invalid_values_count_as_missing():
    clean = road_scan(1, 40, 50)[0, ..., 0]
    dirty = clean.copy()
    dirty[0, ::4] = [np.nan, np.inf, -np.inf, -1, 0.05, 0.1, *[np.nan] * 7]
    assert (clean[0] == 0).all()
    np.testing.assert_array_equal(fill_one(dirty), fill_one(clean))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (99, 120), (50, 3)])
def test_single_measurement_fills_the_frame(row, column):
    sparse = np.zeros((100, 121), np.float32)
    sparse[row, column] = 12.5
    filled = classical_fill(sparse[None, ..., None])
    assert filled.dtype == jnp.float32
    np.testing.assert_array_equal(filled, np.full((1, 100, 121, 1), 12.5))


def test_pixels_beyond_the_published_reach_take_the_nearest_filled_ones():
    sparse = np.zeros((9, 200), np.float32)
    sparse[:, 10], sparse[:, 180] = 20, 60
    filled = fill_one(sparse)
    # Both sides first reach 5 pixels, then 15 more at a time: columns 90 and 100 after the fifth.
    # The sixth reaches the rest from both sides. The nearer surface wins there; the blurs follow.
    assert (filled[:, :96] == 20).all()
    assert (filled[:, 104:] == 60).all()
    assert opencv_fill(sparse, dense=False)[:, 60].max() == 0


def test_nearer_surface_wins():
    sparse = np.zeros((11, 11), np.float32)
    sparse[5, 5], sparse[5, 6] = 10, 30
    assert fill_one(sparse)[5, 6] == 10


def test_measured_depths_are_put_back_where_nothing_is_in_front():
    sparse = np.float32([0.0, 9.0, 10.9, 11.1, 30.0]).reshape(1, 1, 5, 1)
    kept = keep_measured(sparse, np.full_like(sparse, 10.0))
    np.testing.assert_array_equal(kept.ravel(), np.float32([10.0, 9.0, 10.9, 10.0, 10.0]))


def test_depths_beyond_the_limit_count_as_the_limit():
    sparse = np.zeros((7, 7), np.float32)
    sparse[3, 3] = 12.0
    np.testing.assert_allclose(fill_one(sparse, max_depth=10.0), 9.9, atol=1e-5)


def test_max_depth_only_moves_the_origin():
    sparse = road_scan(1, 40, 50)[0, ..., 0]
    np.testing.assert_allclose(fill_one(sparse, 90.0), opencv_fill(sparse, 90.0), atol=5e-5)
    np.testing.assert_allclose(fill_one(sparse, 90.0), fill_one(sparse, 100.0), atol=5e-5)


@pytest.mark.parametrize("size", SIZES)
def test_dense_measurements_equal_opencv(size):
    dense = np.random.default_rng(1).uniform(0.2, 99, size).astype(np.float32)
    np.testing.assert_allclose(fill_one(dense), opencv_fill(dense), rtol=0, atol=5e-5)


def test_columns_are_extended_to_the_top():
    sparse = np.zeros((100, 40), np.float32)
    sparse[90, 3], sparse[90, 36] = 10, 20
    top = fill_one(sparse)[0]
    # Without the extension, repeated dilations would carry the nearer surface to all columns.
    assert (top[:5] == 10).all()
    assert (top[35:] == 20).all()


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (1, 4, 5, 3), (1, 0, 5, 1), (1, 4, 0, 1)])
def test_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
        classical_fill(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", [np.uint16, np.float64, np.float16, jnp.bfloat16])
def test_wrong_dtype_is_refused(dtype):
    with pytest.raises(ValueError, match=rf"{np.dtype(dtype)} of shape \(1, 4, 5, 1\)"):
        classical_fill(np.zeros((1, 4, 5, 1), dtype))


@pytest.mark.parametrize("max_depth", [0.2, -1.0, np.nan, np.inf])
def test_max_depth_without_room_is_refused(max_depth):
    with pytest.raises(ValueError, match="max_depth"):
        classical_fill(np.zeros((1, 4, 5, 1), np.float32), max_depth)


@pytest.mark.slow
def test_benchmark_needs_no_data_libraries(tmp_path):
    command = ROOT / "benchmarks" / "fill.py"
    hidden = ("tensorflow", "tensorflow_datasets", "ml_collections")
    code = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({hidden}))
sys.argv = ["fill.py", "--height", "32", "--width", "48", "--repeats", "2"]
runpy.run_path({str(command)!r}, run_name="__main__")
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "ms per frame" in run.stdout


def test_the_fill_of_rooms_does_not_depend_on_the_largest_depth():
    """Except that depths over 9.9 m count as 9.9 m, if it is 10 m."""
    rng = np.random.default_rng(0)
    depth = np.linspace(9.85, 0.6, 71)[:, None] * rng.uniform(0.9, 1, (71, 53))
    sparse = np.where(rng.random(depth.shape) < 0.05, depth, 0).astype(np.float32)
    near, far = fill_one(sparse, 10.0), fill_one(sparse, 100.0)
    np.testing.assert_allclose(near, far, atol=2e-5)
    assert near.min() >= sparse[sparse > 0].min() - 2e-5
    assert fill_one(np.full_like(sparse, 9.99), 10.0) == pytest.approx(9.9, abs=1e-5)
