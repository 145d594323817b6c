"""What is measured of a depth map: errors, depth above the scan, and how good a confidence is."""

import cv2
import jax
import numpy as np

from fcfrnet_jax.evaluation.metrics import depth_metrics

# Rows above the highest measured point of a column that do not count as above the scan.
MARGIN = 3
# Metres: predictions beyond this are far enough for the sky.
FAR = 60.0
# Metres: exact depths beyond this count as sky.
FARTHEST = 85.0
DECILES = 10
# Points of a sparsification curve.
SHARES = 200
# The expected errors of at most this many pixels of a frame are judged, drawn at random.
PIXELS = 60_000

_metrics = jax.jit(depth_metrics)


def depth_errors(depth: np.ndarray, ground_truth: np.ndarray) -> dict[str, float]:
    """Returns `rmse_mm` and `mae_mm` of a depth map `[H, W]`; see `depth_metrics`."""
    metrics = _metrics(depth[None, ..., None], ground_truth[None, ..., None])
    return {name: float(metrics[name][0]) for name in ("rmse_mm", "mae_mm")}


def above_the_scan(depth: np.ndarray, sparse: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Measures a depth map above the highest measured point of each column.

    Args:
      depth: `[H, W]` metres.
      sparse: `[H, W]` metres, 0 = missing. Columns without measured points do not count.
      exact: `[H, W]` metres, 0 = sky.

    Returns:
      `above_percent`, the median relative error where there are surfaces, and `sky_percent`, the
      share of the sky that is predicted beyond `FAR`. NaN where there is nothing to measure.
    """
    measured = sparse > 0
    top = np.argmax(measured, axis=0) - MARGIN
    above = (np.arange(len(sparse))[:, None] < top) & measured.any(axis=0)
    sky = above & (exact <= 0)
    surface = above & (exact > 0) & (exact < FARTHEST)
    error = np.abs(depth[surface] - exact[surface]) / exact[surface]
    return {
        "above_percent": 100 * float(np.median(error)) if error.size else float("nan"),
        "sky_percent": 100 * float(np.mean(depth[sky] > FAR)) if sky.any() else float("nan"),
    }


def confidence_figures(
    depth: np.ndarray, expected_error: np.ndarray, sparse: np.ndarray, truth: np.ndarray
) -> dict[str, list[float]]:
    """Measures how well the expected error of a depth map agrees with its error.

    Args:
      depth, expected_error: `[H, W]` metres.
      sparse: `[H, W]` metres, 0 = missing.
      truth: `[H, W]` metres, 0 = missing.

    Returns:
      `expected_mm` and `error_mm`: the mean of both in each decile of the expected error;
      `correct` and `confidence`: the share of relative errors below 5%, and its mean estimate.
      `ause`: three areas under the sparsification error, when the pixels are removed in the order
      of the expected error, of the depth, and of the distance to the next measured point. An area
      is relative to the mean error.
    """
    valid = (truth > 0) & (truth < FARTHEST)
    distance = cv2.distanceTransform(
        (sparse <= 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    # Pixels with equal values are in random order.
    order = np.random.default_rng(0).permutation(np.count_nonzero(valid))[:PIXELS]
    depths, expected, far, true = (
        array[valid][order].astype(np.float64) for array in (depth, expected_error, distance, truth)
    )
    error = np.abs(depths - true)
    parts = np.array_split(np.argsort(expected, kind="stable"), DECILES)
    confidence = -np.expm1(-0.05 * depths / expected)
    return {
        "expected_mm": [1e3 * float(expected[part].mean()) for part in parts],
        "error_mm": [1e3 * float(error[part].mean()) for part in parts],
        "correct": [float(np.mean(error[part] < 0.05 * true[part])) for part in parts],
        "confidence": [float(confidence[part].mean()) for part in parts],
        "ause": [sparsification_area(error, by) for by in (expected, depths, far)],
    }


def sparsification_area(error: np.ndarray, uncertainty: np.ndarray) -> float:
    """Returns the area under the sparsification error (AUSE; Ilg et al. 2018, arXiv 1802.07095).

    It is the mean difference, over all shares of removed values, of the mean errors of the values
    that are left when the most uncertain or those of the largest error are removed first. It is
    relative to the mean error: 0 for a perfect order.

    Args:
      error, uncertainty: `[N]`.
    """
    curves = [_remaining(error, by) for by in (uncertainty, error)]
    return float(np.mean(curves[0] - curves[1]) / error.mean())


def _remaining(error: np.ndarray, by: np.ndarray) -> np.ndarray:
    """The mean error of what is left, for each share that is removed."""
    ascending = error[np.argsort(by, kind="stable")]
    means = np.cumsum(ascending) / np.arange(1, len(error) + 1)
    kept = np.ceil(len(error) * (1 - np.arange(SHARES) / SHARES)).astype(int)
    return means[kept - 1]
