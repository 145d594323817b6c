"""Validation on rendered frames, compared with NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.models import clip_depth
from fcfrnet_jax.sensors.views import VIEWS
from fcfrnet_jax.streets.pool import SHARD, UNIT, Pool, PoolPlan, write_pool
from fcfrnet_jax.training.pool_validation import (
    CASES,
    MARGIN,
    PATTERNS,
    Frames,
    make_pool_validation,
    relative_rmse,
    summarise,
)
from tests import numbered_scenes

SIZE, CROP = (40, 120), (32, 96)
BOX = np.s_[8:40, 12:108]
PLAN = PoolPlan(SHARD, 0, (VIEWS[0].scaled(SIZE),), (1,), dense=0.0)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    root = tmp_path_factory.mktemp("pools")
    with pytest.MonkeyPatch.context() as monkeypatch:
        numbered_scenes.put_in_place(monkeypatch)
        plans = (PLAN, replace(PLAN, dense=1.0))
        return Frames(*(write_pool(root / str(i), plan) for i, plan in enumerate(plans)))


@pytest.fixture(scope="module")
def figures(frames):
    return make_pool_validation(None, {}, frames, CROP)({})


def arrays(pool: Pool, every: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact depth, ground truth and sparse depth of the crop of the first frame."""
    frame = {name: leaf[0] for name, leaf in pool.read(np.array([0])).items()}
    exact = frame["depth"] / np.float32(UNIT)
    known = np.unpackbits(frame["known"]).reshape(SIZE) > 0
    scan = np.zeros(SIZE, np.float32)
    pixel, beam = frame["pixel"][0], frame["beam"][0]
    kept = (pixel >= 0) & (beam % every == 0)
    scan.ravel()[pixel[kept]] = frame["range"][0][kept] / np.float32(UNIT)
    # The scan of numbered scenes is exact, so the ground truth is the exact depth.
    return exact[BOX], np.where(known, exact, 0)[BOX], scan[BOX]


@pytest.mark.parametrize(
    ("name", "every"), [("64_beams", 1), ("16_beams", 4), ("dense_traffic", 1)]
)
def test_the_errors_of_the_fill(name, every, frames, figures):
    """All frames of numbered scenes have the same depth."""
    exact, truth, sparse = arrays(frames[name == "dense_traffic"], every)
    fill = np.asarray(clip_depth(classical_fill(sparse[None, ..., None]), (0.9, 100.0)))[0, ..., 0]
    error = 1e3 * (fill - truth)[truth > 0.1]
    top = np.where((sparse > 0).any(axis=0), np.argmax(sparse > 0, axis=0), 0)
    above = np.arange(CROP[0])[:, None] < top - MARGIN
    expected = {"rmse_mm": np.sqrt(np.mean(error**2)), "mae_mm": np.mean(np.abs(error))}
    if above.any():
        expected["above"] = np.median((np.abs(fill - exact) / exact)[above])
    assert figures[name]["fill"] == pytest.approx(expected, rel=1e-4)


def test_cases_without_an_image_are_left_out_for_networks_that_read_none(figures):
    assert list(figures) == [case.name for case in CASES if not case.gray]


def test_changes_are_relative_to_the_fill_and_the_worst_frame_is_found():
    measured = {
        "fill": {"rmse_mm": np.array([100.0, 300.0]), "mae_mm": np.array([10.0, 30.0])},
        "fine": {"rmse_mm": np.array([50.0, 330.0]), "mae_mm": np.array([5.0, 15.0])},
    }
    above = {"fill": np.array([np.nan, 0.5]), "fine": np.array([np.nan, np.nan])}
    found = summarise({name: rows | {"above": above[name]} for name, rows in measured.items()})
    assert found["fill"] == {"rmse_mm": 200.0, "mae_mm": 20.0, "above": 0.5}
    assert found["fine"] == pytest.approx(
        {
            "rmse_mm": 190.0,
            "mae_mm": 10.0,
            "rmse_change": -0.05,
            "mae_change": -0.5,
            "worst_change": 0.1,
            "worst_frame": 1,
        }
    )


def test_models_are_selected_by_the_mean_over_patterns_of_the_rmse_relative_to_the_fill():
    figures = {
        case.name: {"fill": {"rmse_mm": 100.0 * i}, "fine": {"rmse_mm": 10.0 * i * i}}
        for i, case in enumerate(PATTERNS, start=1)
    }
    assert relative_rmse(figures) == pytest.approx(0.3)
