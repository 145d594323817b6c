"""Colour maps."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fcfrnet_jax.pictures.colours import colour_depth, colour_error


def test_depth_colours_run_from_warm_to_cold():
    colours = colour_depth(np.geomspace(4.0, 80.0, 200)[None])
    hue = cv2.cvtColor(colours, cv2.COLOR_RGB2HSV_FULL)[0, :, 0].astype(int)
    assert (np.diff(hue) >= -1).all()
    assert colours[0, 0, 0] > 2 * colours[0, 0, 2]
    assert colours[0, -1, 2] > 2 * colours[0, -1, 0]


def test_depth_colours_are_logarithmic():
    near, far = colour_depth(np.array([[8.0], [80.0]]), 80.0), colour_depth(np.array([[4.0]]), 40.0)
    np.testing.assert_array_equal(near[0], far[0])


def test_error_colours_become_lighter():
    colours = colour_error(np.linspace(0.0, 5.0, 200)[None])
    light = cv2.cvtColor(colours, cv2.COLOR_RGB2LAB)[0, :, 0].astype(int)
    assert (np.diff(light) >= 0).all()
    assert light[-1] - light[0] > 200


def test_error_colours_depend_on_the_share_of_the_scale():
    near, far = colour_error(np.array([0.1, 0.7]), 1.0), colour_error(np.array([0.5, 3.5]))
    np.testing.assert_array_equal(near, far)


@given(st.floats(80.0, 1e6), st.floats(1e-3, 4.0))
def test_values_outside_the_scale_have_the_colours_of_its_ends(far, near):
    ends = colour_depth(np.array([[4.0, 80.0]]))
    np.testing.assert_array_equal(colour_depth(np.array([[near, far]])), ends)


def test_missing_pixels_have_a_gray_that_no_value_has():
    missing = colour_depth(np.array([[0.0, -1.0, np.nan, np.inf]]))
    assert (missing == missing[0, 0, 0]).all()
    scales = [colour_depth(np.geomspace(1, 99, 999)), colour_error(np.linspace(0, 6, 999))]
    assert not (np.concatenate(scales) == missing[0, 0]).all(axis=-1).any()
    assert (colour_error(np.array([[np.nan]])) == missing[0, 0]).all()
