"""The expected error of depth, against OpenCV and planted errors."""

import cv2
import jax
import numpy as np

from benchmarks.quality import calibrate
from fcfrnet_jax.prediction import expected_error

SIZE = 40, 60
# What networks of patches add to the scale, 3% of the depth.
TYPICAL_SCALE = 0.03


def maps(seed=0):
    random = np.random.default_rng(seed)
    depth, before = random.uniform(1, 80, (2, *SIZE)).astype(np.float32)
    log_scale = random.normal(0, 1, SIZE).astype(np.float32)
    sparse = np.where(random.random(SIZE) < 0.01, depth, 0)
    sparse[:, 30:] = 0
    return depth, before, log_scale, sparse


def batched(*arrays):
    return [array[None, ..., None] for array in arrays]


def test_the_distance_is_that_of_opencv_up_to_the_reach():
    measured = maps()[-1] > 0
    # The second frame has no point.
    frames = np.stack([measured, np.zeros_like(measured)])[..., None]
    found = jax.jit(expected_error.distance_to_points)(frames)
    exact = cv2.distanceTransform(np.uint8(~measured), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert exact.max() > 16
    np.testing.assert_allclose(found[0, ..., 0], np.minimum(exact, 16), rtol=1e-5)
    np.testing.assert_array_equal(found[1], 16)


def test_the_error_is_a_product_of_the_measures():
    depth, before, log_scale, sparse = maps()
    found = jax.jit(expected_error.expected_error)(*batched(depth, before, log_scale, sparse))

    window = np.ones((3, 3))
    log_depth = np.log(depth)
    steepness = cv2.dilate(log_depth, window) - cv2.erode(log_depth, window)
    far = cv2.distanceTransform(np.uint8(sparse <= 0), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    measures = (
        TYPICAL_SCALE * np.exp(log_scale),
        np.abs(log_depth - np.log(before)) + 0.01,
        steepness + 0.01,
        np.minimum(far, 16) + 1,
    )
    powers = [m**p for m, p in zip(measures, expected_error.EXPONENTS, strict=True)]
    np.testing.assert_allclose(
        found[0, ..., 0], depth * expected_error.FACTOR * np.prod(powers, axis=0), rtol=1e-3
    )


def test_without_a_scan_every_pixel_has_a_typical_distance():
    depth, before, log_scale, _ = maps()
    *_, distance = expected_error.error_measures(*batched(depth, before, log_scale), None)
    np.testing.assert_array_equal(distance, 1 + expected_error.TYPICAL_DISTANCE)


def test_calibration_finds_the_constants_that_errors_were_drawn_with():
    random = np.random.default_rng(0)
    true = np.array([-1.0, 0.5, 0.2, 0.7, -0.1])
    groups = []
    for weight in (0.75, 0.25):
        measures = random.normal(-2, 1, (50_000, 4))
        scale = np.exp(true[0] + measures @ true[1:])
        groups.append(([(measures, np.abs(random.laplace(0, scale)))], weight))
    np.testing.assert_allclose(calibrate.fit(groups), true, atol=0.03)
