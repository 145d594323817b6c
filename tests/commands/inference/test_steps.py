"""Depth and confidence of the command, against those of the predictor."""

import json

import numpy as np
import pytest
from PIL import Image

import fcfrnet_jax
from fcfrnet_jax.commands.inference import predict
from fcfrnet_jax.configs import predict as predict_config
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.weights import checkpoint
from tests.random_weights import random_variables

NARROW = {"layers": 10, "width": 8, "patch": 4}
COARSE = SparseToCoarseSpec(modality="d", base="fill", keep_measured=True, **NARROW)
SPEC = TwoStageSpec(COARSE, CoarseToFineSpec(**NARROW))
CALIBRATION = {
    "K": [[40, 0, 24], [0, 40, 16], [0, 0, 1]],
    "T_cam_lidar": [[0, -1, 0, 0], [0, 0, -1, -0.2], [1, 0, 0, 0], [0, 0, 0, 1]],
    "distortion": [-0.2, 0.05, 0, 0],
}
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)
POINTS = np.random.default_rng(1).uniform([8, -4, -3], [9, 4, 3], (300, 3)).astype(np.float32)


def config_of(folder, spec, **settings):
    """Writes a model and a recording, and returns a config for them."""
    checkpoint.save_model(folder / "model", spec, random_variables(spec), provenance={})
    Image.fromarray(IMAGE).save(folder / "image.png")
    np.save(folder / "scan.npy", POINTS)
    (folder / "rig.json").write_text(json.dumps(CALIBRATION))
    config = predict_config.get_config()
    files = {"image": "image.png", "scan": "scan.npy", "calibration": "rig.json"}
    files = {name: str(folder / path) for name, path in files.items()}
    config.update(checkpoint=str(folder / "model"), **files | settings)
    return config.lock()


@pytest.mark.slow
def test_confidence_is_that_of_the_predictor(tmp_path):
    config = config_of(tmp_path, SPEC, outputs="npy,confidence_npy")
    predict.run(config, tmp_path / "out")
    rig = fcfrnet_jax.read_calibration(tmp_path / "rig.json")
    predictor = fcfrnet_jax.load(tmp_path / "model")
    expected = predictor.from_scan(IMAGE, POINTS, rig, return_confidence=True)
    depth = np.load(tmp_path / "out" / "npy" / "image.npy")
    np.testing.assert_allclose(depth, expected.depth, rtol=1e-3)
    confidence = np.load(tmp_path / "out" / "confidence_npy" / "image.npy")
    np.testing.assert_allclose(confidence, expected.confidence, atol=5e-3)
    assert np.ptp(confidence) > 0.01


def test_a_model_without_confidence_is_refused(tmp_path):
    config = config_of(tmp_path, COARSE, outputs="confidence")
    with pytest.raises(ValueError, match="a sparse_to_coarse network predicts no confidence"):
        predict.run(config, tmp_path / "out")
