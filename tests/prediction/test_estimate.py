"""Depth with its expected error, against what the network stores."""

import jax
import numpy as np
import pytest

import fcfrnet_jax
from fcfrnet_jax.networks import models, patches
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.prediction.expected_error import expected_error
from tests.random_weights import random_variables

NARROW = {"layers": 10, "width": 8, "patch": 4}
SPEC = TwoStageSpec(
    SparseToCoarseSpec(modality="d", base="fill", keep_measured=True, **NARROW),
    CoarseToFineSpec(**NARROW),
)


@pytest.mark.slow
def test_the_expected_error_is_that_of_the_stored_scale():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (30, 45, 3), np.uint8)
    sparse = random.uniform(2, 80, (30, 45)) * (random.random((30, 45)) < 0.05)
    predictor = fcfrnet_jax.Predictor(SPEC, random_variables(SPEC))
    found = predictor(image, sparse.astype(np.float32), return_confidence=True)

    padded = [np.pad(image, ((0, 2), (0, 3), (0, 0))), np.pad(sparse, ((0, 2), (0, 3)))[..., None]]
    apply = jax.jit(lambda *inputs: models.build(SPEC).apply(*inputs, mutable="intermediates"))
    (coarse, depth), stored = apply(random_variables(SPEC), *(np.float32(x)[None] for x in padded))
    [log_scale] = stored["intermediates"]["fine"][patches.LOG_SCALE]
    padded_depth = np.float32(padded[1])[None]
    error = expected_error(np.clip(depth, 0.9, 85), coarse, log_scale, padded_depth)
    depth, error = (np.asarray(x)[0, :30, :45, 0] for x in (np.clip(depth, 0.9, 85), error))
    np.testing.assert_allclose(found.depth, depth, rtol=1e-3)
    np.testing.assert_allclose(found.expected_error, error, rtol=2e-2)
    np.testing.assert_allclose(found.confidence, 1 - np.exp(-0.05 * depth / error), rtol=2e-2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SparseToCoarseSpec(18, width=4), "a sparse_to_coarse network predicts no confidence"),
        (
            TwoStageSpec(SparseToCoarseSpec(18, width=4), CoarseToFineSpec(18, width=4)),
            "predicts no confidence: its fine network has patch=1",
        ),
    ],
)
def test_other_models_predict_no_confidence(spec, message):
    predictor = fcfrnet_jax.Predictor(spec, random_variables(spec))
    image, depth = np.zeros((16, 16, 3), np.uint8), np.ones((16, 16), np.float32)
    with pytest.raises(ValueError, match=message):
        predictor(image, depth, return_confidence=True)
