"""The loop over frames, with the classical fill as the only depth map."""

import dataclasses
import threading

import numpy as np
import pytest

from fcfrnet_jax.data.images import read_depth, write_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.evaluation.depth_maps import make_eval_step
from fcfrnet_jax.evaluation.frames import measure_frames
from tests import kitti_tree as tree

SIZE = (16, 32)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    """Ten frames, of which eight fill a batch, the sixth without ground truth."""
    folder = tmp_path_factory.mktemp("kitti")
    tree.write_drive(folder, numbers=range(10), size=SIZE)
    found = find_frames(folder, "val")
    found[5] = dataclasses.replace(found[5], ground_truth=None)
    return found


@pytest.fixture(scope="module")
def step():
    return make_eval_step(None)


def measured(step, frames, crop=None):
    """What `measure_frames` returns, its visits by frame, and how it advanced."""
    visits, advanced, lock = {}, [], threading.Lock()

    def visit(frame, arrays, maps, metrics):
        with lock:
            visits[frame.name] = arrays, maps, metrics

    result = measure_frames(
        step, {}, frames, batch_size=8, crop=crop, visit=visit, advance=advanced.append
    )
    return result, visits, advanced


@pytest.fixture(scope="module")
def whole(step, frames):
    return measured(step, frames)


def test_every_frame_is_visited_once_with_its_arrays(whole, frames):
    _, visits, advanced = whole
    assert visits.keys() == {frame.name for frame in frames}
    assert advanced == [8, 2]
    for frame in frames:
        arrays, maps, _ = visits[frame.name]
        np.testing.assert_array_equal(arrays["sparse_depth"][..., 0], read_depth(frame.sparse))
        assert {name: depth.shape for name, depth in maps.items()} == {"fill": SIZE}


def test_metrics_are_those_of_the_maps_in_order(whole, frames):
    result, visits, _ = whole
    assert len(result) == len(frames)
    for frame, found in zip(frames, result, strict=True):
        _, maps, metrics = visits[frame.name]
        assert metrics == found
        if frame.ground_truth is None:
            assert found == {}
            continue
        truth = read_depth(frame.ground_truth)
        error = (maps["fill"] - truth.astype(np.float64))[truth > 0.1]
        assert found["fill"]["mae_mm"] == pytest.approx(1000 * np.abs(error).mean(), rel=1e-5)


def test_a_frame_without_ground_truth_in_the_crop_is_named(step, frames, tmp_path):
    truth = read_depth(frames[1].ground_truth)
    truth[8:] = 0
    write_depth(tmp_path / "truth.png", truth)
    bad = dataclasses.replace(frames[1], ground_truth=tmp_path / "truth.png")
    message = f"{bad.name}: rmse_mm, .* of the fill depth is not finite: either {tmp_path}"
    with pytest.raises(ValueError, match=message):
        measured(step, [frames[0], bad], crop=(8, 32))


def test_an_error_of_a_visit_is_raised(step, frames):
    def visit(*_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        measure_frames(
            step, {}, frames[:2], batch_size=8, crop=None, visit=visit, advance=lambda _: None
        )
