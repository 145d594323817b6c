"""The metrics of depth completion on KITTI and indoors, per frame, computed as masked sums."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.data.images import MIN_DEPTH

NAMES = (
    "rmse_mm",
    "mae_mm",
    "irmse_1_per_km",
    "imae_1_per_km",
    "silog",
    "abs_rel",
    "sq_rel",
    "delta1",
    "delta2",
    "delta3",
    "delta_1_02",
    "delta_1_05",
    "delta_1_10",
)
# Limits of the ratio of prediction and truth, in the order of the names that begin with delta.
RATIOS = (1.25, 1.25**2, 1.25**3, 1.02, 1.05, 1.10)


def depth_metrics(depth: jax.Array, ground_truth: jax.Array) -> dict[str, jax.Array]:
    """Compares depth maps with ground truth, separately for each frame.

    The definitions are those of KITTI's development kit (Uhrig et al. 2017). The shares with the
    limits 1.02, 1.05 and 1.10 are common indoors, as in CSPN (Cheng et al., ECCV 2018).

    Args:
      depth: predictions p, `[B, H, W, 1]` metres, positive at all pixels with ground truth, as
        after `clip_depth`.
      ground_truth: g, `[B, H, W, 1]` metres; pixels up to 0.1 m are missing and do not count.

    Returns:
      Float32 `[B]` for every name in `NAMES`, NaN for a frame without ground truth: RMSE and MAE in
      mm; RMSE and MAE of the inverse depth in 1/km; the scale-invariant logarithmic error (Eigen et
      al. 2014) times 100; the means of |p - g| / g and (p - g)^2 / g^2; and the shares of pixels
      with max(p/g, g/p) below each of `RATIOS`.

    Raises:
      ValueError: shapes that differ or are not `[B, H, W, 1]`.
    """
    if depth.shape != ground_truth.shape or depth.ndim != 4 or depth.shape[-1] != 1:
        raise ValueError(
            "expected two maps [B, H, W, 1] of the same shape, "
            f"got {depth.shape} and {ground_truth.shape}"
        )
    valid = ground_truth > MIN_DEPTH
    truth = jnp.where(valid, ground_truth, 1.0).astype(jnp.float32)
    depth = jnp.where(valid, depth, 1.0).astype(jnp.float32)
    count = _sum(valid)

    def mean(values: jax.Array) -> jax.Array:
        return _sum(jnp.where(valid, values, 0.0)) / count

    error = depth - truth
    inverse_error = 1.0 / depth - 1.0 / truth
    log_error = jnp.log(depth) - jnp.log(truth)
    ratio = jnp.maximum(depth / truth, truth / depth)
    # The variance about the mean is more accurate in float32 than E[x^2] - E[x]^2.
    log_mean = mean(log_error)[:, None, None, None]
    values = (
        1e3 * jnp.sqrt(mean(error**2)),
        1e3 * mean(jnp.abs(error)),
        1e3 * jnp.sqrt(mean(inverse_error**2)),
        1e3 * mean(jnp.abs(inverse_error)),
        1e2 * jnp.sqrt(mean((log_error - log_mean) ** 2)),
        mean(jnp.abs(error) / truth),
        mean((error / truth) ** 2),
        *(mean(ratio < limit) for limit in RATIOS),
    )
    return dict(zip(NAMES, values, strict=True))


def _sum(values: jax.Array) -> jax.Array:
    return jnp.sum(sum_rows(values.astype(jnp.float32)), axis=1)


def sum_rows(values: jax.Array) -> jax.Array:
    """Sums maps `[B, H, W, C]` to `[B, H]`, the first step of summing over whole maps.

    On some platforms, one float32 sum of half a million terms is less accurate.
    """
    return jnp.sum(values, axis=(2, 3))


def average(frames: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Averages every metric over frames, in float64.

    Raises:
      ValueError: no frames, or a value that is not finite.
    """
    if not frames:
        raise ValueError("no frames to average over")
    values = {name: np.array([frame[name] for frame in frames], np.float64) for name in NAMES}
    means = {name: float(column.mean()) for name, column in values.items()}
    bad = [name for name, value in means.items() if not np.isfinite(value)]
    if bad:
        raise ValueError(f"not finite over the {len(frames)} frames: {', '.join(bad)}")
    return means
