"""The loop over frames, with the classical fill as the only depth map."""

import dataclasses
import threading

import jax
import numpy as np
import pytest

from fcfrnet_jax.data.images import read_depth, write_depth
from fcfrnet_jax.data.kitti import find_frames
from fcfrnet_jax.evaluation.depth_maps import make_eval_step
from fcfrnet_jax.evaluation.frames import measure_frames
from fcfrnet_jax.networks.fill import classical_fill
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


def measured(step, frames, crop=(0, 0), **settings):
    """What `measure_frames` returns, its visits by frame, and how it advanced."""
    visits, advanced, lock = {}, [], threading.Lock()

    def visit(frame, arrays, maps, metrics):
        with lock:
            visits[frame.name] = arrays, maps, metrics

    result = measure_frames(
        step, {}, frames, batch_size=8, crop=crop, visit=visit, advance=advanced.append, **settings
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


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory):
    """Frames of 16x32 and of 21x37 pixels, in turns."""
    folder = tmp_path_factory.mktemp("two_sizes")
    tree.write_drive(folder, numbers=range(0, 10, 2), size=SIZE)
    tree.write_drive(folder, numbers=range(1, 10, 2), size=(21, 37))
    return find_frames(folder, "val")


def test_frames_of_two_sizes_keep_their_order_and_size(two_sizes):
    shapes = []

    def step(variables, batch):
        shapes.append(batch["sparse_depth"].shape[2:4])
        return make_eval_step(None)(variables, batch)

    result, visits, advanced = measured(step, two_sizes)
    assert shapes == [SIZE, (32, 48)]
    assert advanced == [5, 5]
    for frame, found in zip(two_sizes, result, strict=True):
        arrays, maps, metrics = visits[frame.name]
        sparse, truth = read_depth(frame.sparse), read_depth(frame.ground_truth)
        np.testing.assert_array_equal(arrays["sparse_depth"][..., 0], sparse)
        assert arrays["image"].shape == (*sparse.shape, 3)
        filled = np.clip(classical_fill(sparse[None, ..., None])[0, ..., 0], 0.9, 100)
        np.testing.assert_array_equal(maps["fill"], filled)
        error = np.abs(filled.astype(np.float64) - truth)[truth > 0.1]
        assert metrics == found
        assert found["fill"]["mae_mm"] == pytest.approx(1000 * error.mean(), rel=1e-5)


@pytest.mark.parametrize("crop", [(9, 20), (0, 20), (9, 0)])
def test_a_crop_need_not_be_a_multiple_of_16(crop, step, frames):
    _, visits, _ = measured(step, frames[:1], crop=crop)
    [(arrays, maps, _)] = visits.values()
    height, width = crop[0] or SIZE[0], crop[1] or SIZE[1]
    left = (SIZE[1] - width) // 2
    cut = read_depth(frames[0].sparse)[SIZE[0] - height :, left : left + width]
    np.testing.assert_array_equal(arrays["sparse_depth"][..., 0], cut)
    filled = classical_fill(cut[None, ..., None])[0, ..., 0]
    np.testing.assert_array_equal(maps["fill"], np.clip(filled, 0.9, 100))


def test_a_bad_file_ends_the_run_or_its_frame_is_left_out(step, frames, tmp_path):
    truth = read_depth(frames[1].ground_truth)
    truth[8:] = 0
    write_depth(tmp_path / "truth.png", truth)
    bad = dataclasses.replace(frames[1], ground_truth=tmp_path / "truth.png")
    message = f"1 frame cannot be used: {tmp_path}/truth.png has no depth above 0.1 m in the crop"
    with pytest.raises(ValueError, match=message):
        measured(step, [frames[0], bad], crop=(8, 32))
    left_out = []
    result, visits, advanced = measured(
        step, [frames[0], bad, frames[2]], crop=(8, 32), leave_out=left_out.extend
    )
    assert [item.path for item in left_out] == [bad.ground_truth]
    assert (len(result), advanced) == (2, [2])
    assert visits.keys() == {frames[0].name, frames[2].name}
    assert result[1] == visits[frames[2].name][2]


def test_weights_that_are_not_finite_are_named(frames):
    def step(variables, batch):
        maps, metrics = make_eval_step(None)(variables, batch)
        return maps, jax.tree.map(lambda leaf: leaf * np.nan, metrics)

    with pytest.raises(ValueError, match=f"{frames[0].name}: rmse_mm, .* of the fill depth is not"):
        measured(step, frames[:1])


def test_an_error_of_a_visit_is_raised(step, frames):
    def visit(*_):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        measure_frames(
            step, {}, frames[:2], batch_size=8, crop=(0, 0), visit=visit, advance=lambda _: None
        )
