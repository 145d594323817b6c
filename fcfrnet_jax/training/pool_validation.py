"""Validation on whole rendered frames, whose exact depth is known everywhere.

It answers what the metrics of a dataset do not: how a model does with other scanners, above the
scan, without the image, and in dense traffic; and how bad its worst frame is. Errors are compared
with those of the classical fill.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

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
# Replaces the image where a model has to do without it.
GRAY = 128


@dataclass(frozen=True)
class Case:
    """What is done to the frames.

    Attributes:
      name: without spaces.
      every: keep every n-th beam of the scanner.
      points: use about this many random points instead of a scan, if not 0.
      gray: replace the image by a uniform gray one.
      dense: use the frames with dense traffic.
    """

    name: str
    every: int = 1
    points: int = 0
    gray: bool = False
    dense: bool = False


# The scan patterns by which models are selected.
PATTERNS = (
    Case("64_beams"),
    Case("32_beams", every=2),
    Case("16_beams", every=4),
    Case("8_beams", every=8),
    Case("1000_points", points=1000),
)
CASES = (
    *PATTERNS,
    Case("64_beams_gray", gray=True),
    Case("16_beams_gray", every=4, gray=True),
    Case("dense_traffic", dense=True),
)
# The measures of each depth map of each case; see `summarise`.
Figures = dict[str, dict[str, dict[str, float]]]
# The measures of single frames, `[N]`, of each depth map.
Measured = Mapping[str, Mapping[str, np.ndarray]]


class Frames(NamedTuple):
    """The frames to validate on: ordinary ones, and ones with dense traffic."""

    ordinary: Pool
    dense: Pool


def make_pool_validation(
    network: Network | None, options: Mapping[str, Any], frames: Frames, crop: Size
) -> Callable[[Variables], Figures]:
    """Makes the function that validates variables on all frames, on the first local device.

    Args:
      network: the network to validate; None for the fill alone.
      options: compiler options, empty for the defaults.
      frames: the frames.
      crop: (height, width) of the part at the bottom centre that is used, multiples of 16.

    Returns:
      A function of variables to what `summarise` returns for each of `CASES`. Networks without
      image input have no cases with a gray image.
    """
    prepare = jax.jit(_prepare, static_argnames=("size", "crop"))

    def measure(variables: Variables, batch: Batch) -> dict[str, dict[str, jax.Array]]:
        maps = depth_maps(network, variables, batch)
        return {name: _measured(depth, batch) for name, depth in maps.items()}

    step = jax.jit(measure, compiler_options=dict(options))
    reads_image = network is not None and network.spec.uses_image

    def validate(variables: Variables) -> Figures:
        variables = jax.device_put(variables)
        figures: Figures = {}
        for case in CASES:
            if case.gray and not reads_image:
                continue
            pool, measured = frames.dense if case.dense else frames.ordinary, []
            for i in range(len(pool)):
                frame = {name: leaf[0] for name, leaf in pool.read(np.array([i])).items()}
                settings = np.uint32(i), case.every, case.points, case.gray
                batch = prepare(frame, *settings, size=pool.plan.size, crop=crop)
                measured.append(jax.device_get(step(variables, batch)))
            figures[case.name] = summarise(jax.tree.map(lambda *rows: np.ravel(rows), *measured))
        return figures

    return validate


def relative_rmse(figures: Figures) -> float:
    """Returns the mean over `PATTERNS` of the last map's RMSE, as a share of the fill's."""
    shares = []
    for case in PATTERNS:
        *_, last = figures[case.name].values()
        shares.append(last["rmse_mm"] / figures[case.name]["fill"]["rmse_mm"])
    return float(np.mean(shares))


def summarise(measured: Measured) -> dict[str, dict[str, float]]:
    """Summarises the measures of single frames.

    Args:
      measured: by depth map, `fill` among them: `rmse_mm`, `mae_mm` and `above`, each `[N]`; NaN
        where a frame has nothing to measure.

    Returns:
      For each depth map, in the order of `MAPS`, the means over frames. For maps other than the
      fill also `rmse_change` and `mae_change`, the changes of the means as a share of the fill's;
      and `worst_change`, the largest change of a single frame's RMSE, with the index of that frame,
      `worst_frame`. A measure that no frame has is absent.
    """
    found: dict[str, dict[str, float]] = {}
    fill = measured["fill"]
    for name in (name for name in MAPS if name in measured):
        rows = measured[name]
        means = {m: float(np.nanmean(x)) for m, x in rows.items() if not np.isnan(x).all()}
        found[name] = means
        if name == "fill":
            continue
        means["rmse_change"] = means["rmse_mm"] / found["fill"]["rmse_mm"] - 1.0
        means["mae_change"] = means["mae_mm"] / found["fill"]["mae_mm"] - 1.0
        changes = rows["rmse_mm"] / fill["rmse_mm"] - 1.0
        means["worst_change"] = float(np.nanmax(changes))
        means["worst_frame"] = float(np.nanargmax(changes))
    return found


def _prepare(
    frame: dict[str, jax.Array],
    index: jax.Array,
    every: jax.Array,
    points: jax.Array,
    gray: jax.Array,
    *,
    size: Size,
    crop: Size,
) -> Batch:
    """Makes a batch of one example `[1, h, w, C]` of a frame of `Pool.read`; see `Case`."""
    (top, left), (height, width) = crop_box(size, crop), crop
    corner = jnp.array([top, left])
    exact, ground_truth, (scan, _) = frame_maps(frame, size, corner, crop)
    measurable = jnp.maximum(jnp.sum(exact > 0), 1)
    random = random_points(jax.random.key(index), exact, points / measurable)
    sparse = jnp.where(points > 0, random, scatter(scan, scan.beam % every == 0, crop))
    image = frame["image"][top : top + height, left : left + width]
    maps = {"sparse_depth": sparse, "ground_truth": ground_truth, "exact_depth": exact}
    batch = {name: leaf[None, ..., None] for name, leaf in maps.items()}
    return batch | {"image": jnp.where(gray, jnp.uint8(GRAY), image)[None]}


def _measured(depth: jax.Array, batch: Batch) -> dict[str, jax.Array]:
    """RMSE and MAE against the ground truth, and the median relative error above the scan."""
    metrics = depth_metrics(depth, batch["ground_truth"])
    exact, measured = batch["exact_depth"], batch["sparse_depth"] > 0
    row = jnp.arange(depth.shape[1])[:, None, None]
    top = jnp.argmax(measured, axis=1, keepdims=True) - MARGIN
    above = (row < top) & measured.any(axis=1, keepdims=True) & (exact > 0)
    error = jnp.where(above, jnp.abs(depth - exact) / jnp.where(above, exact, 1.0), jnp.nan)
    return {name: metrics[name] for name in ("rmse_mm", "mae_mm")} | {"above": jnp.nanmedian(error)}
