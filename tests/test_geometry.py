"""The crop's arithmetic, calibration under crops and scales, rotations, and gray values."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcfrnet_jax.geometry import crop_box, crop_intrinsics, luma, rotate, scale_intrinsics

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 1300))
POINTS = st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(1, 80))
INTRINSICS = (721.5, 720.0, 609.6, 172.9)


def project(point, intrinsics):
    """The pixel (row, column) of a point (x, y, z) in a pinhole camera."""
    x, y, z = point
    fx, fy, cx, cy = intrinsics
    return np.array([fy * y / z + cy, fx * x / z + cx])


@given(SIZES, SIZES)
def test_a_crop_is_at_the_bottom_and_in_the_middle(size, crop):
    if crop[0] > size[0] or crop[1] > size[1]:
        with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} is smaller than"):
            crop_box(size, crop)
        return
    top, left = crop_box(size, crop)
    right = size[1] - crop[1] - left
    assert top + crop[0] == size[0]
    assert 0 <= left <= right <= left + 1


@pytest.mark.parametrize("size", [(375, 1242), (370, 1226), (374, 1238), (376, 1241), (370, 1224)])
def test_kitti_sizes_are_cropped_as_in_the_reference(size):
    # The reference rounds the halves of odd margins to even.
    assert crop_box(size, (352, 1216)) == (size[0] - 352, round((size[1] - 1216) / 2.0))


@given(POINTS, SIZES)
def test_a_point_keeps_its_pixel_under_a_crop(point, offset):
    cropped = project(point, crop_intrinsics(INTRINSICS, *offset)) + offset
    np.testing.assert_allclose(cropped, project(point, INTRINSICS), atol=1e-9)


@given(POINTS, st.sampled_from([0.25, 0.5, 2.0]))
def test_a_pixel_is_scaled_with_the_image(point, scale):
    scaled = project(point, scale_intrinsics(np.array(INTRINSICS), scale))
    np.testing.assert_allclose(scaled, scale * project(point, INTRINSICS), rtol=1e-9)


def test_rotate_is_a_matrix_product():
    rng = np.random.default_rng(0)
    matrix, vectors = rng.normal(size=(2, 3)), rng.normal(size=(3, 7))
    np.testing.assert_allclose(rotate(matrix, jnp.array(vectors)), matrix @ vectors, rtol=1e-5)


def test_luma_equals_the_definition():
    image = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    expected = np.floor(image.astype(np.float64) @ [19595, 38470, 7471] / 65536 + 0.5)
    np.testing.assert_array_equal(luma(image)[..., 0], expected)
