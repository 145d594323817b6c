"""The panel: its layout, its colours and the figures in it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.pictures import panels
from fcfrnet_jax.pictures.panels import colour_depth, colour_error, panel


def make_frame(height, width, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    truth = rng.uniform(2.0, 70.0, (height, width)).astype(np.float32)
    sparse = np.where(rng.random((height, width)) < 0.1, truth, 0).astype(np.float32)
    return image, sparse, truth


def count_tiles(monkeypatch, *arguments):
    captions = []
    draw = panels._captioned

    def record(caption, pixels, cell):
        captions.append(caption)
        return draw(caption, pixels, cell)

    monkeypatch.setattr(panels, "_captioned", record)
    panel(*arguments)
    return captions


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 400),
    channels=st.sampled_from([None, 1, 3]),
    names=st.lists(st.text(max_size=60), max_size=3, unique=True),
    with_truth=st.booleans(),
)
def test_every_size_gives_two_equal_columns(height, width, channels, names, with_truth):
    image, sparse, truth = make_frame(height, width)
    image = None if channels is None else image[..., :channels]
    picture = panel(image, sparse, dict.fromkeys(names, truth), truth if with_truth else None)
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    zoom = max(1, min(320 // width, 320 // height))
    cell = max(320, zoom * width)
    margin = (picture.shape[1] - 2 * cell) // 3
    assert picture.shape[1] == 2 * cell + 3 * margin
    # Nothing, captions least of all, runs into the margins.
    for left in (0, margin + cell, 2 * (margin + cell)):
        assert (picture[:, left : left + margin] == panels.BACKGROUND).all()


def test_image_and_maps_appear_unscaled_in_the_picture():
    image, sparse, truth = make_frame(40, 400)
    picture = panel(image, sparse, {"coarse": truth}, truth)
    for pixels in (image, colour_depth(truth), colour_error(np.zeros((40, 400)))):
        match = cv2.matchTemplate(picture, np.ascontiguousarray(pixels), cv2.TM_SQDIFF)
        assert match.min() == pytest.approx(0, abs=1e-2 * pixels.size)


def test_tiles_come_in_the_order_of_the_maps(monkeypatch):
    image, sparse, truth = make_frame(20, 30)
    captions = count_tiles(monkeypatch, image, sparse, {"fill": truth, "fine": truth}, truth)
    starts = ["image", "sparse depth", "fill", "fill: ", "fine", "fine: ", "ground truth"]
    assert len(captions) == len(starts) + 2
    assert all(a.startswith(b) for a, b in zip(captions, starts, strict=False))


def test_without_ground_truth_or_image_their_tiles_are_left_out(monkeypatch):
    _, sparse, truth = make_frame(20, 30)
    captions = count_tiles(monkeypatch, None, sparse, {"coarse": truth})
    assert [caption.split(",")[0] for caption in captions] == [
        "sparse depth",
        "coarse",
        "depth in m",
    ]


def test_caption_of_an_error_tile_states_known_errors(monkeypatch):
    truth = np.full((4, 5), 10.0)
    truth[0] = 0
    prediction = np.full((4, 5), 10.0)
    prediction[:2] += 2.0
    captions = count_tiles(monkeypatch, None, truth, {"fine": prediction}, truth)
    # 5 of 15 pixels are off by 2 m: MAE 2/3 m, RMSE sqrt(4/3) m.
    assert "fine: RMSE 1155 mm, MAE 667 mm" in captions


def test_caption_tells_of_pixels_without_a_prediction(monkeypatch):
    truth = np.full((2, 5), 10.0)
    prediction = truth.copy()
    prediction[0, 0] = 0
    captions = count_tiles(monkeypatch, None, truth, {"fill": prediction}, truth)
    assert "fill: RMSE 0 mm, MAE 0 mm, 10.0% not predicted" in captions


def test_a_frame_without_common_pixels_says_so(monkeypatch):
    _, sparse, truth = make_frame(4, 5)
    captions = count_tiles(monkeypatch, None, sparse, {"fine": np.zeros_like(truth)}, truth)
    assert "fine: no pixel to compare" in captions


def test_depth_colours_run_from_warm_to_cold_without_turning_back():
    colours = colour_depth(np.geomspace(4.0, 80.0, 200)[None])
    hue = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV_FULL)[0, :, 0].astype(int)
    assert (np.diff(hue) >= -1).all()
    assert colours[0, 0, 0] > 2 * colours[0, 0, 2]
    assert colours[0, -1, 2] > 2 * colours[0, -1, 0]


def test_error_colours_grow_lighter():
    colours = colour_error(np.linspace(0.0, 5.0, 200)[None])
    light = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(light) >= 0).all()
    assert light[-1] - light[0] > 200


@given(st.floats(80.0, 1e6), st.floats(1e-3, 4.0))
def test_values_off_the_scale_take_its_end_colours(far, near):
    ends = colour_depth(np.array([[4.0, 80.0]]))
    np.testing.assert_array_equal(colour_depth(np.array([[near, far]])), ends)


def test_missing_pixels_are_a_gray_no_value_has():
    missing = colour_depth(np.array([[0.0, -1.0, np.nan, np.inf]]))
    assert (missing == missing[0, 0, 0]).all()
    scales = [colour_depth(np.geomspace(1, 99, 999)), colour_error(np.linspace(0, 6, 999))]
    assert not (np.concatenate(scales) == missing[0, 0]).all(axis=-1).any()
    assert (colour_error(np.array([[np.nan]])) == missing[0, 0]).all()


def test_points_grow_in_large_pictures_and_keep_their_value():
    depth = np.full((9, 400), np.nan)
    depth[4, 100] = 7.0
    grown = panels._enlarge(depth)
    np.testing.assert_allclose(grown[3:6, 99:102], 7.0)
    assert np.isfinite(grown).sum() == 9


def test_small_errors_are_not_replaced_by_their_neighbours():
    error = np.zeros((9, 400))
    error[4, 100] = 3.0
    np.testing.assert_array_equal(panels._enlarge(error), error)


@pytest.mark.parametrize(
    ("image", "truth", "max_depth", "message"),
    [
        (np.zeros((4, 6, 3), np.uint8), None, 80.0, r"\(4, 6, 3\).*\(4, 5\)"),
        (np.zeros((4, 5, 3), np.float32), None, 80.0, "float32"),
        (np.zeros((4, 5, 2), np.uint8), None, 80.0, r"\(4, 5, 2\)"),
        (None, np.zeros((3, 5)), 80.0, r"ground truth.*\(3, 5\).*\(4, 5\)"),
        (None, None, 0.0, "max_depth"),
    ],
)
def test_disagreeing_inputs_are_refused_with_their_shapes(image, truth, max_depth, message):
    with pytest.raises(ValueError, match=message):
        panel(image, np.zeros((4, 5)), {}, truth, max_depth)
    with pytest.raises(ValueError, match=r"coarse.*\(5, 4\).*\(4, 5\)"):
        panel(None, np.zeros((4, 5)), {"coarse": np.zeros((5, 4))})
