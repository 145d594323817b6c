"""The inputs that networks accept."""

import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.geometry import luma
from fcfrnet_jax.networks.inputs import checked_depth, select_channels

COLOUR = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
GRAY = COLOUR[..., :1]


def test_a_network_gets_the_channels_of_its_modality():
    np.testing.assert_array_equal(select_channels(jnp.asarray(COLOUR), "rgbd"), COLOUR)
    np.testing.assert_array_equal(select_channels(jnp.asarray(GRAY), "gd"), GRAY)
    np.testing.assert_array_equal(select_channels(jnp.asarray(COLOUR), "g"), luma(COLOUR))


def test_a_gray_image_becomes_colour_by_repetition():
    found = select_channels(jnp.asarray(GRAY), "rgb")
    np.testing.assert_array_equal(found, np.repeat(GRAY, 3, axis=-1))


def test_depths_are_unchanged_up_to_the_maximum_of_a_png():
    depth = jnp.asarray([[0, 65535 / 256], [256, 3.4e38]], jnp.float32)[None, ..., None]
    found = checked_depth(depth)[0, ..., 0]
    np.testing.assert_array_equal(found, np.float32([[0, 65535 / 256], [256, 256]]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, "modality 'rgbd' needs an image, got None"),
        (COLOUR[0], r"an image \[B, H, W, 3\] or \[B, H, W, 1\], got \(4, 6, 3\)"),
        (COLOUR[..., :2], r"an image \[B, H, W, 3\] or \[B, H, W, 1\], got \(2, 4, 6, 2\)"),
    ],
)
def test_wrong_images_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        select_channels(image, "rgbd")


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (None, "needs a depth map, got None"),
        (np.zeros((2, 4, 6)), r"expected a depth map \[B, H, W, 1\], got \(2, 4, 6\)"),
        (np.zeros((2, 4, 6, 3)), r"expected a depth map \[B, H, W, 1\], got \(2, 4, 6, 3\)"),
    ],
)
def test_wrong_depth_maps_are_refused(depth, message):
    with pytest.raises(ValueError, match=message):
        checked_depth(depth)
