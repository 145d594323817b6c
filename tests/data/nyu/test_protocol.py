"""The field's protocol against Pillow, which the codes of CSPN and NLSPN use, and NumPy."""

import numpy as np
import pytest
from PIL import Image

from fcfrnet_jax.data.nyu import protocol
from tests.nyu_rooms import room


def by_pillow(pixels):
    """Half size and centre crop, as in the loaders of CSPN and NLSPN."""
    half = Image.fromarray(pixels).resize((320, 240), Image.Resampling.BILINEAR)
    return np.asarray(half.crop((8, 6, 312, 234)))


def window(depth, row, column):
    """The 4x4 stored pixels that make a pixel of the crop."""
    top, left = 2 * (row + 6) - 1, 2 * (column + 8) - 1
    return depth[top : top + 4, left : left + 4].astype(np.float64)


def test_the_size_and_the_crop_are_those_of_the_protocol():
    assert protocol.CROP == (228, 304)
    assert protocol.POINTS == 500


@pytest.mark.parametrize("seed", [0, 1])
def test_images_are_resized_as_by_pillow(seed):
    noise = np.random.default_rng(seed).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    for image in (room(seed)[0], noise):
        np.testing.assert_array_equal(protocol.resize_image(image), by_pillow(image))


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_dense_depth_is_resized_as_by_pillow(dtype):
    depth = room(2)[1].astype(dtype)
    found = protocol.resize_depth(depth)
    np.testing.assert_array_equal(found, by_pillow(depth.astype(np.float32)))
    assert found.dtype == np.float32


@pytest.mark.parametrize("missing", [0.0, -1.0, np.nan, np.inf])
def test_missing_depth_has_no_part_in_the_averages(missing):
    rng = np.random.default_rng(3)
    depth = room(3)[1]
    depth[rng.random(depth.shape) < 0.5] = missing
    found = protocol.resize_depth(depth)
    weights = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    for row, column in zip(rng.integers(0, 228, 200), rng.integers(0, 304, 200), strict=True):
        taps = window(depth, row, column)
        known = np.where(np.isfinite(taps) & (taps > 0), weights, 0)
        mean = np.sum(known * np.where(known > 0, taps, 0)) / known.sum()
        assert found[row, column] == pytest.approx(mean if known.sum() >= 0.5 else 0, rel=1e-6)


def test_a_recorded_room(real_sensors):
    folder = real_sensors / "indoor"
    image, depth = np.asarray(Image.open(folder / "image.png")), np.load(folder / "gt.npy")
    np.testing.assert_array_equal(protocol.resize_image(image), by_pillow(image))
    found, theirs = protocol.resize_depth(depth), by_pillow(depth.astype(np.float32))
    # Pillow's is too near where a missing depth, which is 0, has a part in it.
    complete = by_pillow((depth > 0).astype(np.float32)) == 1
    assert 0.5 < complete.mean() < 1
    np.testing.assert_array_equal(found[complete], theirs[complete])
    assert np.all(found[~complete & (found > 0)] > theirs[~complete & (found > 0)])


def test_points_are_pixels_of_the_depth():
    image, depth = protocol.resize_image(room(0)[0]), protocol.resize_depth(room(0)[1])
    depth[:, :100] = 0
    sparse = protocol.sample_points(depth, image)
    assert np.count_nonzero(sparse) == 500
    np.testing.assert_array_equal(sparse[sparse > 0], depth[sparse > 0])
    # Uniformly: each quarter of the rows has about as many.
    quarters = np.count_nonzero(sparse.reshape(4, 57, 304), axis=(1, 2))
    assert np.all(np.abs(quarters - 125) < 5 * np.sqrt(125 * 0.75))


def test_points_depend_on_the_seed_and_the_image_alone():
    depth = protocol.resize_depth(room(0)[1])
    image, other = (protocol.resize_image(room(seed)[0]) for seed in (0, 1))
    first = protocol.sample_points(depth, image, 300, seed=5)
    np.testing.assert_array_equal(protocol.sample_points(depth, image, 300, seed=5), first)
    for differing in (
        protocol.sample_points(depth, image, 300, seed=6),
        protocol.sample_points(depth, other, 300, seed=5),
    ):
        assert np.count_nonzero(differing) == 300
        assert np.count_nonzero((differing > 0) & (first > 0)) < 30
    # The depth of another storage is rounded.
    rounded = protocol.sample_points(depth.astype(np.float16), image, 300, seed=5)
    np.testing.assert_array_equal(rounded > 0, first > 0)


def test_the_points_of_a_frame_stay_the_same():
    """Published results depend on them."""
    image, depth = np.zeros((228, 304, 3), np.uint8), np.ones((228, 304), np.float32)
    found = np.flatnonzero(protocol.sample_points(depth, image, 3, seed=0))
    assert found.tolist() == [17178, 38684, 64472]


def test_fewer_points_than_wanted():
    image, depth = np.zeros((228, 304, 3), np.uint8), np.zeros((228, 304), np.float32)
    depth[3, 4:9] = 2.0
    depth[100, 100] = 0.05
    sparse = protocol.sample_points(depth, image)
    assert np.flatnonzero(sparse).tolist() == [3 * 304 + column for column in range(4, 9)]


def test_intrinsics_of_the_crop():
    """A point is seen at the centre of the same stored pixels as before."""
    x, y, z = 0.4, -0.3, 2.0
    stored = 518.857901 * x / z + 325.582449, 519.469611 * y / z + 253.736166
    fx, fy, cx, cy = protocol.INTRINSICS
    found = fx * x / z + cx, fy * y / z + cy
    # A pixel is two stored ones, and the centres of pixels have whole numbers.
    edges = (stored[0] + 0.5) / 2 - 8, (stored[1] + 0.5) / 2 - 6
    assert found == pytest.approx((edges[0] - 0.5, edges[1] - 0.5), abs=1e-4)
