"""The inverse warp against the reference, SciPy, and motions with a known result."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from fcfrnet_jax.training.warp import inverse_warp, sample_bilinear
from tests import golden_data
from tests.training.near_views import random_data, view

# XLA rounds subnormal numbers to 0.
ANYWHERE = st.floats(allow_nan=False, allow_subnormal=False, width=32)
NEAR_THE_IMAGE = st.floats(-1, 8, width=32, allow_subnormal=False)
warp = jax.jit(inverse_warp)
sample = jax.jit(sample_bilinear)


def test_warp_matches_the_reference() -> None:
    data = golden_data.load("losses")
    near = view(data | {"intrinsics": data["intrinsics"].astype(np.float32)})
    warped = warp(near.image, data["depth"], *near[1:])
    np.testing.assert_allclose(warped, data["warped_full"], atol=3e-3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(NEAR_THE_IMAGE, ANYWHERE), min_size=12, max_size=12))
def test_sampling_matches_scipy(values: list[float]) -> None:
    image = np.random.default_rng(0).uniform(1, 9, (1, 5, 7, 1)).astype(np.float32)
    coordinates = np.array(values, np.float32).reshape(1, 2, 3, 2)
    x, y = np.moveaxis(coordinates, -1, 0)
    inside = (x >= 0) & (x <= 6) & (y >= 0) & (y <= 4)
    points = np.where(inside, [y, x], 0).reshape(2, -1).astype(np.float64)
    plane = scipy.ndimage.map_coordinates(image[0, ..., 0].astype(np.float64), points, order=1)
    expected = np.where(inside, plane.reshape(1, 2, 3), 0)
    np.testing.assert_allclose(sample(image, coordinates)[..., 0], expected, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(-7, 7), st.integers(-7, 7), st.floats(2, 50))
def test_sideways_motion_shifts_a_parallel_plane(right: int, down: int, distance: float) -> None:
    data = random_data(batch=1)
    near = data["rgb_near"]
    fx, fy = data["intrinsics"][0, :2]
    translation = np.array([[right * distance / fx, down * distance / fy, 0]], np.float32)
    depth = np.full((1, 64, 96, 1), distance, np.float32)
    warped = warp(near, depth, np.eye(3, dtype=np.float32)[None], translation, data["intrinsics"])
    # Rounding may move the outermost row or column over the border.
    inner = np.s_[:, 8:-8, 8:-8]
    expected = np.roll(near, (-down, -right), (1, 2))
    np.testing.assert_allclose(warped[inner], expected[inner], atol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        {"intrinsics": jnp.eye(3)[None]},
        {"rotation": jnp.zeros((2, 3))},
        {"translation": jnp.zeros((2, 4))},
    ],
)
def test_poses_of_another_shape_are_refused(change: dict[str, Any]) -> None:
    data = random_data()
    near = view(data)._replace(**change)
    message = r"expected rotation \[B, 3, 3\], translation \[B, 3\] and \(fx, fy, cx, cy\)"
    with pytest.raises(ValueError, match=message):
        inverse_warp(near.image, data["depth"], *near[1:])
