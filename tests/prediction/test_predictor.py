"""The predictor that other programs use, against the networks applied directly."""

import subprocess
import sys
import threading
import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.prediction import DTYPES
from fcfrnet_jax.sensors.calibration import Calibration
from fcfrnet_jax.sensors.calibration.calibration import pinhole, rigid
from fcfrnet_jax.weights import checkpoint
from tests.random_weights import random_variables

FINE = CoarseToFineSpec(18, width=4)
COARSE = SparseToCoarseSpec(18, width=4)
BOTH = TwoStageSpec(COARSE, FINE)
# Metres. The folded network rounds differently, and random weights give depths of +-1000 m.
TOLERANCE = 5e-3

pytestmark = pytest.mark.usefixtures("short_resnets")


def inputs(height=32, width=48, batch=2):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    return image, random.uniform(0, 80, (batch, height, width)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(short_resnets, tmp_path_factory):
    """The folder of a checkpoint for each spec."""
    found = {spec: tmp_path_factory.mktemp("models") / "model" for spec in (FINE, COARSE)}
    for spec, folder in found.items():
        checkpoint.save_model(folder, spec, random_variables(spec), provenance={})
    return found


@pytest.fixture(scope="module")
def fine(folders):
    return fcfrnet_jax.load(folders[FINE])


@cache
def compiled(spec):
    return jax.jit(models.build(spec).apply)


def direct(spec, image, depth):
    depth = None if depth is None else depth[..., None]
    output = compiled(spec)(random_variables(spec), image, depth)
    return np.clip(output, 0.9, spec.max_depth)[..., 0]


def test_equals_the_network(fine):
    prediction = fine(*inputs())
    assert (prediction.dtype, prediction.shape) == (np.float32, (2, 32, 48))
    np.testing.assert_allclose(prediction, direct(FINE, *inputs()), rtol=0, atol=TOLERANCE)


def test_any_size_is_padded_with_zeros_and_cropped(fine):
    image, depth = inputs(21, 37)
    prediction = fine(image, depth)
    padding = ((0, 0), (0, 11), (0, 11))
    whole = direct(FINE, np.pad(image, (*padding, (0, 0))), np.pad(depth, padding))
    assert prediction.shape == (2, 21, 37)
    np.testing.assert_allclose(prediction, whole[:, :21, :37], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("image_dtype", "depth_dtype"),
    [("int64", "float64"), ("uint16", "float16"), ("int8", "uint16"), ("uint8", "bfloat16")],
)
def test_lossless_dtypes_change_nothing(fine, image_dtype, depth_dtype):
    image, depth = inputs()
    image, depth = image // 2, np.ceil(depth)
    prediction = fine(image.astype(image_dtype), depth.astype(jnp.dtype(depth_dtype)))
    np.testing.assert_array_equal(prediction, fine(image, depth))


def test_a_gray_image_is_a_colour_image_with_equal_channels(fine):
    image, depth = inputs()
    gray = image[..., :1]
    expected = fine(np.repeat(gray, 3, axis=-1), depth)
    for form in (gray, gray[..., 0]):
        np.testing.assert_allclose(fine(form, depth), expected, rtol=0, atol=TOLERANCE)


def test_one_frame_needs_no_batch_axis(fine):
    image, depth = inputs(batch=1)
    np.testing.assert_array_equal(fine(image[0], depth[0]), fine(image, depth)[0])


def test_one_image_needs_no_batch_axis():
    spec = SparseToCoarseSpec(18, "g", width=8)
    predictor = fcfrnet_jax.Predictor(spec, random_variables(spec))
    gray = inputs(16, 16, batch=1)[0][..., :1]
    expected = predictor(gray, None)
    np.testing.assert_array_equal(predictor(gray[..., 0], None), expected)
    for form in (gray[0], gray[0, ..., 0]):
        np.testing.assert_array_equal(predictor(form, None), expected[0])


def test_one_stage_of_a_two_stage_model(folders, tmp_path):
    both = checkpoint.combine(*(checkpoint.load_model(folders[spec]) for spec in (COARSE, FINE)))
    checkpoint.save_model(tmp_path / "both", *both, provenance={})
    assert fcfrnet_jax.load(tmp_path / "both", stage="coarse").spec == COARSE
    alone, taken = (
        fcfrnet_jax.load(folders[FINE]),
        fcfrnet_jax.load(tmp_path / "both", stage="fine"),
    )
    np.testing.assert_array_equal(taken(*inputs()), alone(*inputs()))


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        (COARSE, "float32"),
        (COARSE, "bfloat16"),
        (SparseToCoarseSpec(18, "d", width=4, base="fill", keep_measured=True), "bfloat16"),
    ],
)
def test_the_largest_float_is_a_far_measurement(spec, dtype):
    image, depth = inputs(16, 32, batch=1)
    image = image if spec.uses_image else None
    predictor = fcfrnet_jax.Predictor(spec, random_variables(spec), dtype)
    depth[0, 4:6, 7] = 256
    expected = predictor(image, depth)
    depth[0, 4:6, 7] = 3.4e38
    prediction = predictor(image, depth)
    assert np.isfinite(prediction).all()
    np.testing.assert_array_equal(prediction, expected)


def test_two_checkpoints_make_one_predictor(folders):
    predictor = fcfrnet_jax.load(folders[FINE], coarse_checkpoint=folders[COARSE])
    assert predictor.spec == BOTH
    expected = direct(FINE, inputs()[0], direct(COARSE, *inputs()))
    np.testing.assert_allclose(predictor(*inputs()), expected, rtol=1e-4, atol=TOLERANCE)


def test_models_that_cannot_be_combined_are_named(folders):
    message = f"{folders[FINE]} holds a coarse_to_fine model, expected sparse_to_coarse or two_st"
    with pytest.raises(ValueError, match=message):
        fcfrnet_jax.load(folders[FINE], coarse_checkpoint=folders[FINE])
    message = f"{folders[COARSE]} and {folders[COARSE]}: a two-stage model is .* got sparse_to_coa"
    with pytest.raises(ValueError, match=message):
        fcfrnet_jax.load(folders[COARSE], coarse_checkpoint=folders[COARSE])


def test_the_coarse_network_may_be_that_of_a_two_stage_model(folders, tmp_path):
    stages = [checkpoint.load_model(folders[spec]) for spec in (COARSE, FINE)]
    checkpoint.save_model(tmp_path / "both", *checkpoint.combine(*stages), provenance={})
    predictor = fcfrnet_jax.load(folders[FINE], coarse_checkpoint=tmp_path / "both")
    expected = direct(FINE, inputs()[0], direct(COARSE, *inputs()))
    np.testing.assert_allclose(predictor(*inputs()), expected, rtol=1e-4, atol=TOLERANCE)


@pytest.mark.parametrize(("modality", "channels"), [("d", 0), ("rgb", 3), ("g", 1), ("gd", 3)])
def test_modalities(modality, channels):
    spec = SparseToCoarseSpec(18, modality, width=8)
    image, depth = inputs(16, 16)
    image = image[..., :channels] if channels else None
    depth = depth if modality.endswith("d") else None
    prediction = fcfrnet_jax.Predictor(spec, random_variables(spec))(image, depth)
    expected = direct(spec, image, depth)
    assert expected.std() > 1
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=TOLERANCE)


def test_bfloat16_is_close(folders, fine):
    assert DTYPES == ("float32", "bfloat16")
    exact, rounded = (
        model(*inputs()) for model in (fine, fcfrnet_jax.load(folders[FINE], "bfloat16"))
    )
    assert 0 < np.abs(exact - rounded).mean() < 0.02 * exact.mean()


@pytest.mark.parametrize(
    ("image", "depth", "message"),
    [
        (None, inputs()[1], "needs images, got image=None"),
        (inputs()[0], None, "needs depths, got depth=None"),
        (inputs()[0] / 255.0, inputs()[1], r"uint8 image .*, got float64 \[2, 32, 48, 3\]"),
        (inputs()[0] > 9, inputs()[1], r"uint8 image .*, got bool \[2, 32, 48, 3\]"),
        (
            inputs()[0].astype(int) * 2 + 7,
            inputs()[1],
            r"values 0\.\.255, got int64 .* with values 7\.\.517",
        ),
        (inputs()[0][..., :2], inputs()[1], r"expected the image as .* got uint8 \[2, 32, 48, 2\]"),
        (inputs()[0], inputs()[1][..., None], r"\[B, H, W\], .* got float32 \[2, 32, 48, 1\]"),
        (inputs()[0], inputs()[1] > 9, r"float32 depth map .* got bool \[2, 32, 48\]"),
        (inputs()[0], inputs()[1] * 1j, r"float32 depth map .* got complex64 \[2, 32, 48\]"),
        (
            inputs()[0],
            inputs()[1].astype(float) + 1e-9,
            r"float64 depth map .* pass depth.astype\(np.float32\)",
        ),
        (inputs()[0], np.full((2, 32, 48), 1e300), "finite metres, 0 = missing"),
        (inputs()[0], -inputs()[1], "finite metres, 0 = missing"),
        (inputs()[0], inputs()[1] * np.nan, "finite metres, 0 = missing"),
        (
            inputs()[0][:1],
            inputs()[1],
            r"image \(1, 32, 48\) and depth \(2, 32, 48\) must have the same",
        ),
        (inputs()[0], inputs()[1][0], r"expected the image as .* got uint8 \[2, 32, 48, 3\]"),
        (inputs()[0][:0], inputs()[1], r"at least one pixel, got image \[0, 32, 48, 3\]"),
        (inputs()[0], inputs()[1][:0], r"at least one pixel, got depth \[0, 32, 48\]"),
        (
            inputs()[0][0, ..., :1],
            inputs()[1][0, ..., None],
            r"or \[H, W\] for one frame, got float32 \[32, 48, 1\]; .* pass depth\[..., 0\]",
        ),
        (inputs()[0][0], inputs()[1], r"image \(32, 48, 3\) and depth \(2, 32, 48\) must have"),
    ],
)
def test_bad_input_is_refused(fine, image, depth, message):
    with pytest.raises(ValueError, match=message):
        fine(image, depth)


def test_depth_only_models_take_no_image():
    spec = SparseToCoarseSpec(18, "d", width=4)
    with pytest.raises(ValueError, match="uses no image: pass image=None"):
        fcfrnet_jax.Predictor(spec, random_variables(spec))(*inputs())


def test_unknown_dtype():
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, got 'half'"):
        fcfrnet_jax.Predictor(FINE, random_variables(FINE), "half")


def test_no_data_library_is_imported():
    unwanted = {"cv2", "tensorflow", "ml_collections", "tensorboardX"}
    code = f"import sys, fcfrnet_jax; fcfrnet_jax.load; print({unwanted} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_impossible_depth_is_refused(folders):
    image, depth = inputs()
    coarse = fcfrnet_jax.load(folders[COARSE])
    with pytest.raises(ValueError, match=r"sparse depth: .* over 100 m, .*; check_depth=False"):
        coarse(image, 1000 * depth)
    unchecked = fcfrnet_jax.load(folders[COARSE], check_depth=False)
    assert np.isfinite(unchecked(image, 1000 * depth)).all()


def test_points_in_another_unit_are_refused_and_warnings_name_the_caller(folders):
    random, axes = np.random.default_rng(0), [[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]
    calibration = Calibration(pinhole(np.diag([20.0, 20, 1])), rigid(np.array(axes)), (32, 48))
    points = random.uniform([8, -9, -9], [9, 0, 0], (900, 3))
    coarse = fcfrnet_jax.load(folders[COARSE])
    image = inputs()[0][0]
    with pytest.raises(ValueError, match=r"over 100 m, .*; the points must be in metres; check_"):
        coarse.from_scan(image, 1000 * points, calibration)
    coarse.warm_up([(32, 48)], batch_size=2)
    with pytest.warns(UserWarning, match="compiling the model for a batch of 1") as warned:
        coarse.from_scan(image, points, calibration)
    assert warned[0].filename == __file__


def test_coarse_depth_with_holes_is_refused():
    image, depth = inputs()
    depth[:, :10] = 0
    with pytest.raises(ValueError, match=r"coarse depth: 31.25% of the pixels have no depth"):
        fcfrnet_jax.Predictor(FINE, random_variables(FINE))(image, depth)


def test_an_empty_scan_gives_one_warning(folders):
    coarse = fcfrnet_jax.load(folders[COARSE])
    image, depth = inputs()
    scan = np.where(depth < 8, depth, 0)
    for _ in range(5):
        coarse(image, scan)  # more frames than are checked
    coarse.warm_up([(32, 48)], batch_size=4)
    with pytest.warns(UserWarning, match="sparse depth: no pixel has a depth") as warned:
        coarse(np.tile(image, (2, 1, 1, 1)), np.tile(0 * depth, (2, 1, 1)))
    assert [warning.filename for warning in warned] == [__file__]


def test_a_stream_returns_what_calls_return(fine):
    batches = [inputs(batch=1), inputs(), inputs(batch=1)]
    pairs = [batches[0], batches[1], (batches[2][0][0], batches[2][1][0] / 2)]
    fine.warm_up([(32, 48)])
    found = list(fine.stream(pair for pair in pairs))
    for depth, pair in zip(found, pairs, strict=True):
        np.testing.assert_array_equal(depth, fine(*pair))
    assert [depth.ndim for depth in found] == [3, 3, 2]


def test_the_source_of_a_stream_may_reuse_its_arrays(fine):
    image, depth = inputs()
    expected = [fine(image, depth / (1 + number)) for number in range(4)]

    def source():
        buffer = np.empty_like(depth)
        for number in range(4):
            np.copyto(buffer, depth / (1 + number))
            yield image, buffer

    np.testing.assert_array_equal(list(fine.stream(source())), expected)


def test_an_error_ends_a_stream_at_its_frame(fine):
    image, depth = inputs()
    stream = fine.stream([(image, depth), (image, depth), (image, -depth), (image, depth)])
    assert [next(stream).shape for _ in range(2)] == [(2, 32, 48)] * 2
    with pytest.raises(ValueError, match="a depth map must hold finite metres"):
        next(stream)
    assert list(stream) == []


def test_a_stream_may_be_left(fine):
    def endless():
        while True:
            yield inputs()

    for depth in fine.stream(endless()):
        assert depth.shape == (2, 32, 48)
        break
    names = [thread.name for thread in threading.enumerate()]
    assert not any("fcfrnet-stream" in name for name in names)


def test_a_new_size_gives_a_warning_unless_it_was_warmed_up(folders):
    coarse = fcfrnet_jax.load(folders[COARSE], check_depth=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        coarse(*inputs())
        coarse.warm_up([(16, 32)], batch_size=2)
        coarse(*inputs(15, 30))
        coarse(*inputs(31, 47))
    message = "compiling the model for a batch of 1 and 32x48 pixels"
    with pytest.warns(UserWarning, match=message) as warned:
        coarse(*inputs(batch=1))
    assert warned[0].filename == __file__
    with pytest.raises(ValueError, match="must be positive, got 0x48 pixels and a batch of 1"):
        coarse.warm_up([(0, 48)])
    with pytest.raises(ValueError, match="predicts no confidence"):
        coarse.warm_up([(32, 48)], return_confidence=True)
