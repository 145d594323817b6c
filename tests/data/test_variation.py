"""Variation of images."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from fcfrnet_jax.data.variation import blur, vary

IMAGE = np.random.default_rng(0).uniform(0, 255, (24, 40, 3)).astype(np.float32)


def test_blur_is_a_gaussian():
    found = blur(jnp.array(IMAGE), jnp.float32(0.9))
    wanted = ndimage.gaussian_filter(IMAGE, (0.9, 0.9, 0), mode="nearest", radius=(3, 3, 0))
    np.testing.assert_allclose(found, wanted, atol=0.02)


def test_images_vary_and_stay_in_range():
    keys = jax.random.split(jax.random.key(0), 64)
    found = np.asarray(jax.jit(jax.vmap(vary, (0, None)))(keys, jnp.array(IMAGE)))
    assert found.min() >= 0
    assert found.max() <= 255
    np.testing.assert_array_equal(found, np.round(found))
    means = found.mean(axis=(1, 2, 3))
    assert means.std() > 10


def test_now_and_then_an_image_is_blank():
    keys = jax.random.split(jax.random.key(1), 400)
    found = np.asarray(jax.jit(jax.vmap(vary, (0, None)))(keys, jnp.array(IMAGE)))
    blank = found.std(axis=(1, 2, 3)) == 0
    assert 0.002 < blank.mean() < 0.05
