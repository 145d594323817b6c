"""Depth maps as lists of points."""

import numpy as np
import pytest

from fcfrnet_jax.data.shards.points import pack, unpack


@pytest.mark.parametrize("density", [0.0, 0.0005, 0.004, 0.2, 1.0])
def test_maps_are_restored(density):
    rng = np.random.default_rng(0)
    depth = rng.integers(1, 65536, (37, 411), dtype=np.uint16) * (rng.random((37, 411)) < density)
    restored = unpack(*pack(depth), depth.shape)
    assert restored.dtype == np.float32
    np.testing.assert_array_equal(restored, depth / 256)


@pytest.mark.parametrize("first", [0, 1, 254, 255, 256, 510, 511, 1000])
def test_distances_around_the_largest_byte(first):
    depth = np.zeros((1, 1600), np.uint16)
    depth[0, [first, first + 255, first + 511]] = 7, 8, 9
    gaps, values = pack(depth)
    np.testing.assert_array_equal(unpack(gaps, values, depth.shape), depth / 256)
    # One point of depth 0 for 256 pixels, and those before the first.
    assert len(gaps) == 4 + max(first - 1, 0) // 255


def test_points_outside_the_map():
    gaps, values = pack(np.ones((3, 4), np.uint16))
    with pytest.raises(ValueError, match="has a point 11 of 8 pixels"):
        unpack(gaps, values, (2, 4))
    with pytest.raises(ValueError, match="has 12 distances of points, but 11 depths"):
        unpack(gaps, values[2:], (3, 4))
