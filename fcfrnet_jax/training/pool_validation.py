"""Validation on whole frames of a pool: several scan patterns, and with and without the image.

Rendered frames tell what a dataset cannot: the depth above the scan, where nothing is measured.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax import parallel
from fcfrnet_jax.evaluation.depth_maps import MAPS, depth_maps
from fcfrnet_jax.evaluation.metrics import depth_metrics
from fcfrnet_jax.geometry import Size, crop_box
from fcfrnet_jax.networks.models import Network, Variables
from fcfrnet_jax.parallel import Batch
from fcfrnet_jax.sensors.patterns import random_points, scatter
from fcfrnet_jax.streets.pool import Pool
from fcfrnet_jax.training.pool_batches import frame_maps

# Rows above the highest measured point of a column that do not count as above the scan.
MARGIN = 3
GRAY = 128
# Frames of the pool that are used.
FRAMES = 16


@dataclass(frozen=True)
class Case:
    """A scan pattern: every n-th beam, or if `points` is given, that many random points."""

    name: str
    every: int = 1
    points: int = 0
    gray: bool = False


CASES = (
    Case("64 beams"),
    Case("64 beams, gray image", gray=True),
    Case("32 beams", every=2),
    Case("16 beams", every=4),
    Case("16 beams, gray image", every=4, gray=True),
    Case("8 beams", every=8),
    Case("1000 points", points=1000),
)
# Case, depth map and measure to value.
Figures = dict[str, dict[str, dict[str, float]]]


def make_pool_validation(
    network: Network, options: Mapping[str, Any], pool: Pool, crop: Size
) -> Callable[[Variables], Figures]:
    """Makes the function that validates variables on all frames of a pool.

    Args:
      network: the network to validate.
      options: see `parallel.map_local`.
      pool: the frames.
      crop: (height, width) of the part at the bottom centre that is used.

    Returns:
      A function of variables to the means of `rmse_mm`, `mae_mm` and `above`, the median relative
      error above the scan, of each depth map in each of `CASES`.
    """

    def measure(variables: Variables, batch: Batch) -> dict[str, dict[str, jax.Array]]:
        maps = depth_maps(network, variables, batch)
        return {name: _measured(depth, batch) for name, depth in maps.items()}

    step = parallel.map_local(measure, options)

    def validate(variables: Variables) -> Figures:
        replicated = parallel.replicate(variables, jax.local_devices())
        figures: Figures = {}
        for case in CASES:
            found = []
            for i in range(min(FRAMES, len(pool))):
                example = _example(pool, i, crop, case)
                batch = {name: jnp.asarray(leaf)[None, None] for name, leaf in example.items()}
                found.append(
                    jax.tree.map(float, jax.tree.map(jnp.squeeze, step(replicated, batch)))
                )
            means = jax.tree.map(lambda *values: float(np.nanmean(values)), *found)
            figures[case.name] = {name: means[name] for name in MAPS if name in means}
        return figures

    return validate


def _example(pool: Pool, index: int, crop: Size, case: Case) -> dict[str, np.ndarray]:
    frame = {name: jnp.asarray(leaf[0]) for name, leaf in pool.read(np.array([index])).items()}
    size = pool.plan.size
    exact, ground_truth, (points, _) = frame_maps(frame, size, jnp.zeros(2, jnp.int32), size)
    if case.points:
        density = case.points / (crop[0] * crop[1])
        sparse = random_points(jax.random.key(index), exact, density)
    else:
        sparse = scatter(points, points.beam % case.every == 0, size)
    image = np.asarray(frame["image"])
    image = np.full_like(image, GRAY) if case.gray else image
    top, left = crop_box(size, crop)
    maps = {"sparse_depth": sparse, "ground_truth": ground_truth, "exact_depth": exact}
    arrays = {name: np.asarray(leaf)[..., None] for name, leaf in maps.items()} | {"image": image}
    return {n: a[top : top + crop[0], left : left + crop[1]] for n, a in arrays.items()}


def _measured(depth: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    metrics = depth_metrics(depth, batch["ground_truth"])
    exact, measured = batch["exact_depth"], batch["sparse_depth"] > 0
    row = jnp.arange(depth.shape[1])[:, None, None]
    top = jnp.argmax(measured, axis=1, keepdims=True) - MARGIN
    above = (row < top) & measured.any(axis=1, keepdims=True) & (exact > 0)
    error = jnp.where(above, jnp.abs(depth - exact) / jnp.where(above, exact, 1.0), jnp.nan)
    return {name: metrics[name] for name in ("rmse_mm", "mae_mm")} | {"above": jnp.nanmedian(error)}
