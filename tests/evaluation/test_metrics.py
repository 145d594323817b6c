"""The measures of KITTI and indoors against a float64 version, and against the reference's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcfrnet_jax.data.images import read_depth
from fcfrnet_jax.evaluation import metrics
from fcfrnet_jax.networks.models import clip_depth
from tests import golden_data


def in_float64(depth, truth):
    """The measures of one frame, from KITTI's definitions."""
    valid = truth > 0.1
    p, g = depth[valid].astype(np.float64), truth[valid].astype(np.float64)
    logs, ratio = np.log(p) - np.log(g), np.maximum(p / g, g / p)
    return {
        "rmse_mm": 1000 * np.sqrt(np.mean((p - g) ** 2)),
        "mae_mm": 1000 * np.mean(np.abs(p - g)),
        "irmse_1_per_km": 1000 * np.sqrt(np.mean((1 / p - 1 / g) ** 2)),
        "imae_1_per_km": 1000 * np.mean(np.abs(1 / p - 1 / g)),
        "silog": 100 * np.sqrt(np.mean(logs**2) - np.mean(logs) ** 2),
        "abs_rel": np.mean(np.abs(p - g) / g),
        "sq_rel": np.mean((p - g) ** 2 / g**2),
        **{f"delta{i}": np.mean(ratio < 1.25**i) for i in (1, 2, 3)},
        "delta_1_02": np.mean(ratio < 1.02),
        "delta_1_05": np.mean(ratio < 1.05),
        "delta_1_10": np.mean(ratio < 1.10),
    }


measured = jax.jit(metrics.depth_metrics)


@given(st.integers(1, 9), st.integers(1, 40), st.integers(0, 999))
def test_against_float64(height, width, seed):
    random = np.random.default_rng(seed)
    # One shape, so that one program serves all cases; the rest of each map has no ground truth.
    truth = np.zeros((2, 9, 40, 1), np.float32)
    truth[:, :height, :width] = random.uniform(0.2, 85, (2, height, width, 1))
    truth[:, 1:][random.random(truth[:, 1:].shape) < 0.7] = 0
    depth = random.uniform(0.9, 85, truth.shape).astype(np.float32)
    found = measured(depth, truth)
    for i in range(2):
        for name, value in in_float64(depth[i], truth[i]).items():
            assert found[name][i] == pytest.approx(value, rel=2e-5, abs=1e-4)


def test_on_real_ground_truth(kitti_real):
    folder = kitti_real / "depth_selection" / "val_selection_cropped" / "groundtruth_depth"
    truth = np.stack([read_depth(path) for path in sorted(folder.iterdir())])[..., None]
    noise = np.random.default_rng(0).normal(1, 0.1, truth.shape)
    depth = np.clip(truth * noise, 0.9, 85).astype(np.float32)
    found = measured(depth, truth)
    for i in range(len(truth)):
        for name, value in in_float64(depth[i], truth[i]).items():
            assert found[name][i] == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", ["fcfrnet18_rgbd", "fcfrnet34_gd"])
def test_against_the_reference(name):
    golden = golden_data.load(name)
    # The reference took the whole batch as one image.
    depth, truth = (golden[key].reshape(1, -1, 96, 1) for key in ("pred_eval", "gt"))
    found = metrics.depth_metrics(clip_depth(depth, (0.9, 85.0)), truth)
    # Not the deltas: the reference counts them as integers and always gets 0.
    theirs = ("rmse", "mae", "irmse", "imae", "silog", "absrel", "squared_rel")
    for ours, name in zip(metrics.NAMES, theirs, strict=False):
        assert found[ours][0] == pytest.approx(float(golden[f"metric_{name}"]), rel=1e-5)


def test_perfect_depth():
    truth = jnp.full((1, 4, 4, 1), 7.0)
    found = metrics.depth_metrics(truth, truth)
    assert [float(found[name][0]) for name in metrics.NAMES] == [0.0] * 7 + [1.0] * 6


def test_frame_without_ground_truth_is_nan():
    found = metrics.depth_metrics(jnp.ones((1, 4, 4, 1)), jnp.full((1, 4, 4, 1), 0.1))
    assert all(np.isnan(found[name][0]) for name in metrics.NAMES)


def test_average_is_over_frames():
    frames = [dict.fromkeys(metrics.NAMES, value) for value in (1.0, 4.0)]
    assert metrics.average(frames)["rmse_mm"] == 2.5


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"got \(1, 4, 4, 1\) and \(1, 4, 5, 1\)"):
        metrics.depth_metrics(jnp.ones((1, 4, 4, 1)), jnp.ones((1, 4, 5, 1)))
