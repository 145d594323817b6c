"""Semi-dense ground truth of rendered frames."""

import cv2
import numpy as np

from tests.streets.conftest import SIZE


def test_ground_truth_is_the_scan_or_the_true_depth_where_the_scan_is_wrong(frames):
    for frame in frames:
        known = frame.ground_truth > 0
        scanned = known & (np.abs(frame.sparse_depth - frame.depth) < 0.03 * frame.depth)
        expected = np.where(scanned, frame.sparse_depth, frame.depth)
        np.testing.assert_array_equal(frame.ground_truth[known], expected[known])
        assert (known & scanned).sum() > 0.4 * (frame.sparse_depth > 0).sum()


def test_ground_truth_is_in_the_field_of_the_scanner(frames):
    for frame in frames:
        known = frame.ground_truth > 0
        assert frame.ground_truth.max() < 85
        assert known[: SIZE[0] // 4].mean() < 0.02
        assert known[SIZE[0] // 2 :].mean() > 0.1


def test_ground_truth_is_rare_at_edges(frames):
    shares = np.zeros(2)
    for frame in frames:
        depth = np.where(frame.depth > 0, frame.depth, 1e3)
        edge = cv2.dilate(depth, np.ones((3, 3))) > 1.5 * depth
        lower = np.arange(SIZE[0])[:, None] > SIZE[0] // 2
        shares += [(frame.ground_truth > 0)[lower & some].mean() for some in (edge, ~edge)]
    assert shares[0] < 0.6 * shares[1]


def test_the_shares_of_valid_pixels_are_close_to_kittis(frames):
    sparse = np.mean([frame.sparse_depth > 0 for frame in frames])
    truth = np.mean([frame.ground_truth > 0 for frame in frames])
    assert 0.03 < sparse < 0.06
    assert 0.12 < truth < 0.30
