"""Random disturbances of images."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.streets.picture.disturb import clutter_gain, shift_image, swap_parts

draw_gain = jax.jit(clutter_gain, static_argnums=1)


def test_clutter_has_edges_and_keeps_the_mean():
    gains = [draw_gain(jax.random.key(i), (40, 60), 0.7) for i in range(20)]
    assert np.mean(gains) == pytest.approx(1, abs=1e-5)
    assert np.min(gains) >= 0
    steepest = [np.abs(np.diff(gain[..., 0], axis=1)).max() for gain in gains]
    assert np.median(steepest) > 0.1


def test_blobs_show_other_parts_of_the_image():
    row, column = np.mgrid[:40, :60]
    image = np.stack([row, column, row], axis=-1).astype(np.float32)
    keys = jax.random.split(jax.random.key(2), 20)
    found = np.asarray(jax.vmap(swap_parts, (0, None, None))(keys, jnp.array(image), 0.3))
    changed = (found != image).any(axis=-1)
    share = changed.mean(axis=(1, 2))
    assert 0.02 < share.mean() < 0.2
    assert share.max() < 0.31
    for example, where in zip(found - image, changed, strict=True):
        # All blobs of an image are shifted equally, around its borders.
        assert len(np.unique(example[where] % [40, 60, 40], axis=0)) <= 1


def test_clutter_of_strength_0_changes_nothing():
    assert draw_gain(jax.random.key(0), (40, 60), 0.0) == pytest.approx(1)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -2.0), (0.25, 0.75), (-3.5, 1.5)])
def test_an_image_is_shifted_as_by_opencv(shift):
    image = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    matrix = np.array([[1.0, 0.0, shift[1]], [0.0, 1.0, shift[0]]])
    expected = cv2.warpAffine(image, matrix, (17, 12), borderMode=cv2.BORDER_REPLICATE)
    found = np.asarray(shift_image(jnp.asarray(image), jnp.array(shift)))
    # OpenCV interpolates in fixed-point arithmetic.
    assert np.abs(found.astype(int) - expected).max() <= 1
