"""The protocol of depth completion on NYU Depth v2: size, crop, sparse points and calibration.

Frames of 480x640 pixels are resized to 240x320 and cropped at the centre to 228x304, and the sparse
depth is 500 random pixels of the ground truth (Ma and Karaman, ICRA 2018, arXiv 1709.07492).

How to resize differs between codes: sparse-to-dense takes the nearest pixels, while CSPN (Cheng et
al., ECCV 2018) and NLSPN (Park et al., ECCV 2020), with which later methods compare themselves, use
torchvision's default for image and depth: Pillow's bilinear filter, which averages 4x4 pixels with
the weights 1, 3, 3, 1. It is implemented here to the bit. Likewise, NLSPN draws exactly 500 points,
the others 500 on average.
"""

import zlib

import numpy as np

from fcfrnet_jax.data.frame import Intrinsics
from fcfrnet_jax.data.images import MIN_DEPTH
from fcfrnet_jax.geometry import Size

STORED: Size = (480, 640)
HALF: Size = (240, 320)
CROP: Size = (228, 304)
POINTS = 500
# Metres, the range of the Kinect with which the data set was recorded.
LIMITS = (0.1, 10.0)
# The weights are multiples of 1/8.
_WEIGHTS = (1, 3, 3, 1)
# The first row and column of the crop in the image of half the size.
_TOP, _LEFT = (HALF[0] - CROP[0]) // 2, (HALF[1] - CROP[1]) // 2
# A resized pixel has a depth if at least this share of its weights has one.
_LEAST_WEIGHT = 0.5


def _half_intrinsics() -> Intrinsics:
    # Of the colour camera, from the toolbox of the data set. Pixel centres have whole numbers, so
    # that the centre of the first pixel of half the size is at 0.5 in the stored image.
    fx, fy, cx, cy = 518.85790117450188, 519.46961112127485, 325.58244941119034, 253.73616633400465
    return fx / 2, fy / 2, (cx - 0.5) / 2 - _LEFT, (cy - 0.5) / 2 - _TOP


# (fx, fy, cx, cy) in pixels of the crop.
INTRINSICS = _half_intrinsics()


def resize_image(image: np.ndarray) -> np.ndarray:
    """Resizes and crops an image, uint8 `[480, 640, 3]` RGB, to `[228, 304, 3]`."""
    pixels = image.astype(np.uint16)
    # As Pillow, first along the rows; both steps round to whole numbers.
    for axis in (1, 0):
        taps = [weight * tap for weight, tap in zip(_WEIGHTS, _taps(pixels, axis), strict=True)]
        pixels = np.right_shift(sum(taps[1:], start=taps[0]) + np.uint16(4), 3)
    return pixels.astype(np.uint8)


def resize_depth(depth: np.ndarray) -> np.ndarray:
    """Resizes and crops a depth map of `[480, 640]` metres to float32 `[228, 304]`.

    Missing depth, which is 0, negative or not finite, has no part in the averages. A pixel for
    which more than half of the weights are missing is 0. The published data has no missing depth.
    """
    # Not-a-number compares as False.
    valid = (depth > 0) & (depth < np.inf)
    total, weight = np.where(valid, depth, 0.0).astype(np.float32), valid.astype(np.float32)
    for axis in (1, 0):
        total, weight = (_average(values, axis) for values in (total, weight))
    known = weight >= _LEAST_WEIGHT
    return np.where(known, total / np.where(known, weight, 1), 0).astype(np.float32)


def sample_points(
    depth: np.ndarray, image: np.ndarray, points: int = POINTS, seed: int = 0
) -> np.ndarray:
    """Draws pixels of a depth map without replacement, uniformly among those with a depth.

    The pixels depend only on the seed, the image and the set of pixels with a depth, so that a
    frame has the same ones in all ways of storing the data set. They do not depend on the version
    of NumPy: the streams of its bit generators do not change.

    Args:
      depth: `[228, 304]` metres, 0 = missing, as of `resize_depth`.
      image: uint8 `[228, 304, 3]`, as of `resize_image`.
      points: how many pixels to draw; all if fewer have a depth.
      seed: not negative.

    Returns:
      The depth at these pixels, elsewhere 0.
    """
    pixels = np.flatnonzero(depth > MIN_DEPTH)
    digest = zlib.crc32(image.tobytes())
    draws = np.random.PCG64(np.random.SeedSequence([seed, digest])).random_raw(pixels.size)
    if points < pixels.size:
        pixels = pixels[np.argpartition(draws, points)[:points]]
    sparse = np.zeros_like(depth)
    sparse.flat[pixels] = depth.flat[pixels]
    return sparse


def _taps(pixels: np.ndarray, axis: int) -> list[np.ndarray]:
    """The four neighbours along an axis, in the image, of each pixel of the crop."""
    first, count = ((_TOP, CROP[0]), (_LEFT, CROP[1]))[axis]
    starts = range(2 * first - 1, 2 * first + 3)
    slices = (slice(start, start + 2 * count, 2) for start in starts)
    return [pixels[(slice(None),) * axis + (taken,)] for taken in slices]


def _average(values: np.ndarray, axis: int) -> np.ndarray:
    """Averages in float64 and rounds to float32, as Pillow."""
    taps = (tap.astype(np.float64) for tap in _taps(values, axis))
    terms = [weight / 8 * tap for weight, tap in zip(_WEIGHTS, taps, strict=True)]
    return sum(terms[1:], start=terms[0]).astype(np.float32)
