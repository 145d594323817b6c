"""The predictor that other programs use."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.networks import models
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.prediction import predictor
from fcfrnet_jax.weights import checkpoint
from tests.random_weights import random_variables

FINE = CoarseToFineSpec(18, width=4)
COARSE = SparseToCoarseSpec(18, width=4)
# Metres. The folded network rounds otherwise, and random weights give depths of +-1000 m.
TOLERANCE = 5e-3


def inputs(height=32, width=48, batch=2):
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (batch, height, width, 3), dtype=np.uint8)
    return image, random.uniform(0, 80, (batch, height, width)).astype(np.float32)


def saved(folder, spec):
    checkpoint.save_model(folder, spec, random_variables(spec), provenance={})
    return folder


def direct(spec, image, depth):
    network = jax.jit(models.build(spec).apply)
    output = network(random_variables(spec), image, depth[..., None])
    output = output[-1] if isinstance(spec, TwoStageSpec) else output
    return np.clip(output, 0.9, spec.max_depth)[..., 0]


@pytest.mark.parametrize("spec", [FINE, COARSE, TwoStageSpec(COARSE, FINE)])
def test_equals_the_network(spec, tmp_path):
    prediction = fcfrnet_jax.load(saved(tmp_path / "model", spec))(*inputs())
    assert (prediction.dtype, prediction.shape) == (np.float32, (2, 32, 48))
    np.testing.assert_allclose(prediction, direct(spec, *inputs()), rtol=0, atol=TOLERANCE)


def test_any_size_is_padded_with_zeros_and_cut_back(tmp_path):
    image, depth = inputs(21, 37)
    prediction = fcfrnet_jax.load(saved(tmp_path / "model", FINE))(image, depth)
    padding = ((0, 0), (0, 11), (0, 11))
    whole = direct(FINE, np.pad(image, (*padding, (0, 0))), np.pad(depth, padding))
    assert prediction.shape == (2, 21, 37)
    np.testing.assert_allclose(prediction, whole[:, :21, :37], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("modality", "channels"), [("d", 0), ("rgb", 3), ("g", 1), ("gd", 3)])
def test_modalities(modality, channels, tmp_path):
    spec = SparseToCoarseSpec(18, modality, width=8)
    image, depth = inputs()
    image = image[..., :channels] if channels else None
    depth = depth if modality.endswith("d") else None
    prediction = fcfrnet_jax.load(saved(tmp_path / "model", spec))(image, depth)
    assert prediction.min() >= np.float32(0.9)
    assert prediction.max() <= 100
    assert prediction.std() > 0


def test_two_checkpoints_make_one_predictor(tmp_path):
    fine, coarse = saved(tmp_path / "fine", FINE), saved(tmp_path / "coarse", COARSE)
    separate = fcfrnet_jax.load(fine, coarse_checkpoint=coarse)
    assert separate.spec == TwoStageSpec(COARSE, FINE)
    expected = direct(FINE, inputs()[0], direct(COARSE, *inputs()))
    np.testing.assert_allclose(separate(*inputs()), expected, rtol=1e-4, atol=1e-3)


def test_bfloat16_is_close(tmp_path):
    folder = saved(tmp_path / "model", FINE)
    exact, rounded = (fcfrnet_jax.load(folder, dtype)(*inputs()) for dtype in predictor.DTYPES)
    assert 0 < np.abs(exact - rounded).mean() < 0.02 * exact.mean()


@pytest.mark.parametrize(
    ("image", "depth", "message"),
    [
        (None, inputs()[1], "needs images, got image=None"),
        (inputs()[0], None, "needs depths, got depth=None"),
        (inputs()[0] / 255.0, inputs()[1], r"uint8 image .*, got float64 \[2, 32, 48, 3\]"),
        (inputs()[0], inputs()[1][..., None], r"\[B, H, W\], got float32 \[2, 32, 48, 1\]"),
        (inputs()[0], inputs()[1].astype(int), r"got int64 \[2, 32, 48\]"),
        (inputs()[0], -inputs()[1], "finite metres, 0 = missing"),
        (inputs()[0], inputs()[1] * np.nan, "finite metres, 0 = missing"),
        (
            inputs()[0][:1],
            inputs()[1],
            r"image \(1, 32, 48\) and depth \(2, 32, 48\) must have the same",
        ),
        (inputs()[0][..., :1], inputs()[1], "needs a colour image"),
    ],
)
def test_bad_input_is_refused(image, depth, message):
    predictor = fcfrnet_jax.Predictor(FINE, random_variables(FINE))
    with pytest.raises(ValueError, match=message):
        predictor(image, depth)


def test_depth_only_models_take_no_image():
    spec = SparseToCoarseSpec(18, "d", width=4)
    with pytest.raises(ValueError, match="uses no image: pass image=None"):
        fcfrnet_jax.Predictor(spec, random_variables(spec))(*inputs())


def test_unknown_dtype():
    with pytest.raises(ValueError, match="dtype must be one of float32, bfloat16, got 'half'"):
        fcfrnet_jax.Predictor(FINE, random_variables(FINE), "half")


def test_only_what_computes_is_imported():
    unwanted = "{'cv2', 'tensorflow', 'ml_collections'}"
    code = f"import sys, fcfrnet_jax; sys.exit(bool({unwanted} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
