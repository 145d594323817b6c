"""The check of what callers pass as depth: its limits are those of the model."""

import warnings

import numpy as np
import pytest

from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.prediction.depth_check import DepthCheck

ROOM = {"min_depth": 0.1, "max_depth": 10.0}
ROOMS = TwoStageSpec(SparseToCoarseSpec(**ROOM), CoarseToFineSpec(**ROOM))
KITTI = TwoStageSpec(SparseToCoarseSpec(), CoarseToFineSpec())


def ramp(least, largest):
    return np.linspace(least, largest, 1200, dtype=np.float32).reshape(1, 30, 40) * POINTS


POINTS = np.random.default_rng(0).random((30, 40)) < 0.3


def test_near_depth_is_usual_for_a_model_of_rooms():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DepthCheck(ROOMS)(ramp(0.3, 1.2), 1.0)
    with pytest.warns(UserWarning, match=r"models predict at least 0\.9 m"):
        DepthCheck(KITTI)(ramp(0.3, 1.2), 1.0)


@pytest.mark.parametrize(
    ("spec", "largest", "limit"),
    [
        (ROOMS, 40.0, "10"),
        (SparseToCoarseSpec(**ROOM), 40.0, "10"),
        (KITTI, 200.0, "100"),
        (CoarseToFineSpec(), 200.0, "100"),
        (CoarseToFineSpec(**ROOM), 200.0, "11.8"),
    ],
)
def test_far_depth_is_impossible(spec, largest, limit):
    depth = ramp(1.0, largest)
    if isinstance(spec, CoarseToFineSpec):
        depth = np.maximum(depth, np.float32(1))
    with pytest.raises(ValueError, match=rf"are over {limit} m, the largest depth of a model"):
        DepthCheck(spec)(depth, 1.0)


def test_places_beyond_the_range_of_a_model_cause_a_warning():
    with pytest.warns(UserWarning, match=r"11% of the depths are over 10 m, .* is 6\.279 m$"):
        DepthCheck(ROOMS)(ramp(1.0, 11.0), 1.0)
