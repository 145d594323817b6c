"""Measuring models with different scanners: `benchmarks/scanners.py` and its parts."""

import json

import numpy as np
import pytest

from benchmarks import scanners
from benchmarks.fill import opencv_fill
from benchmarks.quality import card, scenes
from benchmarks.quality.measures import (
    above_the_scan,
    confidence_figures,
    depth_errors,
    sparsification_area,
)
from fcfrnet_jax.data.images import write_image
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.weights import checkpoint
from tests import numbered_scenes
from tests.conftest import ROOT
from tests.random_weights import random_variables

RNG = np.random.default_rng(0)
NARROW = {"layers": 10, "width": 8, "patch": 4}


def test_beams_are_thinned_evenly():
    beams = np.arange(64)[:, None] * np.ones((1, 3), int)
    scans = scenes.thinned_scans(np.full((64, 3), 5.0, np.float32), beams)
    assert {name: np.count_nonzero(sparse) // 3 for name, sparse in scans.items()} == {
        "64 beams": 64,
        "32 beams": 32,
        "16 beams": 16,
        "8 beams": 8,
    }


def test_evenly_divided_beams_are_bands_of_rows_ahead():
    sparse = np.full((200, 5), 7.0, np.float32)
    beams = scenes.evenly_divided(sparse, (1000.0, 1000.0, 2.0, 50.0))
    angle = np.degrees(np.arctan((50 - np.arange(200)) / 1000))  # in the middle column
    np.testing.assert_array_equal(beams[:, 2], np.clip((2 - angle) // (26.9 / 64), 0, 63))


def test_rendered_scenes_have_random_points_of_the_exact_depth(monkeypatch):
    monkeypatch.setattr(scenes, "render_scene", numbered_scenes.render_scene)
    rig = scaled_rig((48, 160))
    (scene,) = scenes.rendered_scenes(1, 3, 1.0, *rig)
    sparse = scene.scans[scenes.RANDOM]
    assert np.count_nonzero(sparse) == 1000
    np.testing.assert_array_equal(sparse[sparse > 0], scene.exact[sparse > 0])
    assert sparse[sparse > 0].min() > 0.5
    # Dense traffic halves the numbered depths, of which the last row is the farthest.
    assert scene.exact.max() == 48 / 16


def test_above_the_scan():
    exact = np.array([[0, 0, 9], [10, 20, 9], [10, 10, 9], *[[5, 5, 5]] * 4], np.float32)
    sparse = np.zeros_like(exact)
    sparse[6, :2] = 5  # rows 0 to 2 are above it, and the last column has no scan
    depth = np.full_like(exact, 11)
    depth[0, 0] = 70
    found = above_the_scan(depth, sparse, exact)
    # Relative errors of 0.1, 0.45 and twice 0.1 again; one of two pixels of sky is far.
    np.testing.assert_allclose(found["above_percent"], 10, rtol=1e-5)
    assert found["sky_percent"] == 50


def test_sparsification_area_of_three_orders():
    error = np.abs(RNG.standard_normal(5000))
    assert sparsification_area(error, error**2) == 0
    # Removed at random, the mean error stays 1 of itself; the ideal curve is integrated directly.
    kept = 1 - np.arange(1000) / 1000
    ideal = np.mean([np.sort(error)[: round(5000 * share)].mean() for share in kept])
    random = sparsification_area(error, RNG.random(5000))
    np.testing.assert_allclose(random, 1 - ideal / error.mean(), atol=0.03)
    assert sparsification_area(error, -error) > 1.3 * random


def test_a_calibrated_confidence():
    truth = RNG.uniform(5.0, 60.0, (200, 300)).astype(np.float32)
    scale = np.exp(RNG.uniform(-5.0, -2.0, truth.shape)).astype(np.float32)
    depth = truth * np.exp(RNG.laplace(0.0, scale)).astype(np.float32)
    sparse = np.where(RNG.random(truth.shape) < 0.05, truth, 0)
    found = confidence_figures(depth, depth * scale, sparse, truth)
    np.testing.assert_allclose(found["error_mm"], found["expected_mm"], rtol=0.1)
    np.testing.assert_allclose(found["correct"], found["confidence"], atol=0.03)
    expected, by_depth, by_distance = found["ause"]
    assert expected < 0.8 * by_depth < 0.8 * by_distance


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The figures of a narrow model, and the frame and the indoor frame they are from."""
    root = tmp_path_factory.mktemp("scanners")
    spec = TwoStageSpec(
        SparseToCoarseSpec(modality="d", base="fill", keep_measured=True, **NARROW),
        CoarseToFineSpec(**NARROW),
    )
    checkpoint.save_model(root / "model", spec, random_variables(spec), provenance={})
    numbered_scenes.write_sample(root / "scenes", frames=1, height=32, width=48)
    (root / "indoor").mkdir()
    write_image(root / "indoor" / "image.png", RNG.integers(0, 256, (32, 48, 3), np.uint8))
    np.save(root / "indoor" / "gt.npy", RNG.uniform(1.0, 9.0, (32, 48)))
    np.save(root / "indoor" / "sparse_50.npy", scenes.random_scan(np.full((32, 48), 4.0), 0, 50))
    line = ["--model", str(root / "model"), "--data_dir", str(root / "scenes"), "--split", "val"]
    line += ["--rendered", "0", "--indoor", str(root / "indoor"), "--json", str(root / "a.json")]
    scanners.main(line)
    (scene,) = scenes.real_scenes(root / "scenes", "val")
    return json.loads((root / "a.json").read_text())["groups"], scene


@pytest.mark.slow
def test_the_command_measures_each_scanner(measured):
    groups, scene = measured
    rows = {row["case"]: row for row in groups["real, val"]}
    assert rows.keys() == {*scenes.BEAMS, "64 beams, gray image", "16 beams, gray image"}
    for name in scenes.BEAMS:
        fill = np.clip(opencv_fill(scene.scans[name]), 0.9, 100)
        expected = depth_errors(fill, scene.ground_truth)
        np.testing.assert_allclose(rows[name]["fill"]["mae_mm"], expected["mae_mm"], rtol=0.01)
    row = rows["16 beams"]
    ratio = row["model"]["rmse_mm"] / row["fill"]["rmse_mm"]
    np.testing.assert_allclose(row["change"][0], 100 * (ratio - 1))
    assert row["worst"]["rmse_percent"] == row["change"][0]
    assert rows["16 beams, gray image"]["model"] != row["model"]
    assert (np.diff(row["confidence"]["expected_mm"]) >= 0).all()


@pytest.mark.slow
def test_the_command_measures_an_indoor_frame(measured):
    assert [row["case"] for row in measured[0]["indoor"]] == ["50 points"]


def test_there_must_be_something_to_measure(capsys):
    with pytest.raises(SystemExit):
        scanners.main(["--rendered", "0"])
    assert "error: nothing to measure: give --data_dir, --rendered or --indoor" in (
        capsys.readouterr().err
    )


def test_the_tables_of_the_card_are_filled():
    figures = {"rmse_mm": 200.0, "mae_mm": 50.0}
    row = {"case": "64 beams", "fill": figures, "others": {}, "change": (-50.0, -60.0)}
    row |= {"model": {"rmse_mm": 100.0, "mae_mm": 20.0}}
    row["worst"] = {"frame": "2011_09_26_drive_0001_sync/image_02/0000000005", "rmse_percent": 1.0}
    place, other = "<!-- errors of kitti: real, val -->", "<!-- exact of rendered: rendered -->"
    text = f"before\n{place}\nold\n<!-- end -->\n{other}\nold\n<!-- end -->\nafter\n"
    filled, missing = card.fill_tables(text, {"kitti": {"real, val": [row]}})
    last = "| 64 beams | 200 / 50 | 100 / 20 | -50.0%, -60.0% | +1.0% (0001/image_02/5) |"
    assert filled.startswith(f"before\n{place}\n\n| case |")
    assert filled.endswith(f"{last}\n\n<!-- end -->\n{other}\nold\n<!-- end -->\nafter\n")
    assert missing == [other]
    assert card.fill_tables(filled, {"kitti": {"real, val": [row]}})[0] == filled


def test_every_table_of_the_card_is_of_a_known_kind():
    text = (ROOT / "docs" / "model_card.md").read_text()
    places = card.PLACE.findall(text)
    assert len(places) == text.count("<!-- end -->") > 5
    assert {kind for _, kind, *_ in places} <= card.KINDS.keys()
