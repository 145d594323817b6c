"""Panels: their layout, their tiles and their captions."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.pictures.colours import colour_depth, colour_error
from fcfrnet_jax.pictures.panels import BACKGROUND, depth_bar, error_bar, panel


def make_frame(height, width, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    truth = rng.uniform(2.0, 70.0, (height, width)).astype(np.float32)
    sparse = np.where(rng.random((height, width)) < 0.1, truth, 0).astype(np.float32)
    return image, sparse, truth


@pytest.fixture
def texts(monkeypatch):
    """All texts that are drawn, in their order."""
    found, draw = [], cv2.putText

    def record(canvas, text, *arguments):
        found.append(text)
        return draw(canvas, text, *arguments)

    monkeypatch.setattr(cv2, "putText", record)
    return found


def count_of(pixels, colour):
    return (pixels == colour).all(axis=-1).sum()


@settings(max_examples=15, deadline=None)
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
    drawn = panel(image, sparse, dict.fromkeys(names, truth), truth if with_truth else None)
    assert drawn.dtype == np.uint8
    assert drawn.ndim == 3
    zoom = max(1, min(320 // width, 320 // height))
    cell = max(320, zoom * width)
    margin = (drawn.shape[1] - 2 * cell) // 3
    assert drawn.shape[1] == 2 * cell + 3 * margin
    # Captions do not run into the margins.
    for left in (0, margin + cell, 2 * (margin + cell)):
        assert (drawn[:, left : left + margin] == BACKGROUND).all()


def test_image_and_maps_appear_unscaled():
    image, sparse, truth = make_frame(40, 400)
    drawn = panel(image, sparse, {"coarse": truth}, truth)
    for pixels in (image, colour_depth(truth), colour_error(np.zeros((40, 400)))):
        match = cv2.matchTemplate(drawn, np.ascontiguousarray(pixels), cv2.TM_SQDIFF)
        assert match.min() == pytest.approx(0, abs=1e-2 * pixels.size)


def test_small_images_are_enlarged_by_whole_factors():
    image, sparse, _ = make_frame(50, 150)
    drawn = panel(image, sparse, {})
    pixels = np.kron(image, np.ones((2, 2, 1), np.uint8))
    match = cv2.matchTemplate(drawn, pixels, cv2.TM_SQDIFF)
    assert match.min() == pytest.approx(0, abs=1e-2 * pixels.size)


def test_tiles_have_the_order_of_the_maps(texts):
    image, sparse, truth = make_frame(20, 30)
    panel(image, sparse, {"fill": truth, "fine": truth}, truth)
    starts = ["image", "sparse depth", "fill", "fill: ", "fine", "fine: ", "ground truth"]
    assert all(a.startswith(b) for a, b in zip(texts, starts, strict=False))
    assert {"depth in m", "absolute error in m"} < set(texts[len(starts) :])


def test_tiles_without_ground_truth_or_image(texts):
    _, sparse, truth = make_frame(20, 30)
    panel(None, sparse, {"coarse": truth})
    assert texts[0].startswith("sparse depth")
    assert texts[1] == "coarse"
    assert "depth in m" in texts
    assert not {"image", "absolute error in m"} & set(texts)


def test_error_tiles_have_the_captions_passed_in(texts):
    _, sparse, truth = make_frame(20, 30)
    maps = {"fill": truth, "fine": truth}
    panel(None, sparse, maps, truth, captions={"fine": "RMSE 1155 mm"})
    assert "fine: RMSE 1155 mm" in texts
    assert "fill: absolute error" in texts


def test_captions_state_the_share_of_valid_pixels(texts):
    sparse = np.zeros((20, 30))
    sparse[:3] = 5.0
    panel(None, sparse, {}, np.where(sparse > 0, np.nan, 1.0))
    assert texts[0] == "sparse depth, 15.0% of pixels"
    assert texts[1] == "ground truth, 85.0% of pixels"


def test_error_tiles_show_the_absolute_error():
    truth = np.full((40, 400), 10.0)
    truth[:10] = 0.0
    depth = np.full((40, 400), 10.0)
    depth[20:] -= 2.0
    expected = colour_error(np.where(truth > 0, np.abs(depth - truth), np.nan))
    drawn = panel(None, truth, {"fine": depth}, truth)
    # Rows next to missing pixels are filled with the mean of their neighbours.
    match = cv2.matchTemplate(drawn, expected[10:], cv2.TM_SQDIFF)
    assert match.min() == pytest.approx(0, abs=1e-2 * expected.size)


def test_points_are_enlarged_in_large_images_and_keep_their_value():
    sparse = np.zeros((9, 400))
    sparse[4, 100] = 7.0
    drawn = panel(None, sparse, {})
    colour = colour_depth(np.array([7.0]))[0]
    assert count_of(drawn, colour) - count_of(depth_bar(400), colour) == 9


def test_valid_errors_are_not_averaged():
    truth = np.full((9, 400), 10.0)
    depth = truth.copy()
    depth[4, 100] = 13.0
    drawn = panel(None, truth, {"fine": depth}, truth)
    colour = colour_error(np.array([3.0]))[0]
    assert count_of(drawn, colour) - count_of(error_bar(400), colour) == 1


@pytest.mark.parametrize(
    ("image", "truth", "max_depth", "message"),
    [
        (np.zeros((4, 6, 3), np.uint8), None, 80.0, r"image has .*\(4, 6, 3\).*\(4, 5\)"),
        (np.zeros((4, 5, 3), np.float32), None, 80.0, "expected a uint8 image .* float32"),
        (np.zeros((4, 5, 2), np.uint8), None, 80.0, r"expected a uint8 image .*\(4, 5, 2\)"),
        (None, np.zeros((3, 5)), 80.0, r"ground truth has .*\(3, 5\).*\(4, 5\)"),
        (None, None, 0.0, r"max_depth must be a positive number of metres, got 0\.0"),
    ],
)
def test_invalid_arguments_are_refused(image, truth, max_depth, message):
    with pytest.raises(ValueError, match=message):
        panel(image, np.zeros((4, 5)), {}, truth, max_depth)


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"coarse has shape \(5, 4\), .*\(4, 5\)"):
        panel(None, np.zeros((4, 5)), {"coarse": np.zeros((5, 4))})


def test_sparse_depth_of_another_rank_is_refused():
    with pytest.raises(ValueError, match=r"sparse depth \[H, W\], got shape \(4, 5, 1\)"):
        panel(None, np.zeros((4, 5, 1)), {})


def test_confidence_is_the_last_tile_in_gray(texts):
    image, sparse, truth = make_frame(40, 320)
    confidence = np.tile(np.linspace(0, 1, 320, dtype=np.float32), (40, 1))
    drawn = panel(image, sparse, {"fine": truth}, confidence=confidence, image_caption="mine")
    assert texts[0] == "mine"
    captions = [text for text in texts if text.startswith(("fine", "confidence"))]
    assert captions == ["fine", "confidence: black 0, white 1"]
    gray = np.repeat(np.rint(255 * confidence).astype(np.uint8)[..., None], 3, axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(drawn, gray.shape)[:, :, 0]
    assert any((window == gray).all() for row in windows for window in row)


@pytest.mark.parametrize(("count", "share"), [(1, "0.008%"), (100, "0.8%")])
def test_captions_state_small_shares(count, share, texts):
    sparse = np.zeros((40, 320), np.float32)
    sparse.flat[:count] = 5
    panel(None, sparse, {})
    assert f"sparse depth, {share} of pixels" in texts
