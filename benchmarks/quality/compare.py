"""Measures models on scenes, next to the classical fill."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

import fcfrnet_jax
from benchmarks.quality.measures import above_the_scan, confidence_figures, depth_errors
from benchmarks.quality.scenes import RANDOM, Scene
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.models import clip_depth
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec
from fcfrnet_jax.prediction.estimate import check_confidence

GRAY = 128
GRAY_CASE = ", gray image"
# The scans that are also measured with a gray image.
WITH_GRAY = ("64 beams", "16 beams", RANDOM)
ORDERS = ("expected error", "depth", "distance")

Record = dict[str, Any]


class Model:
    """A model to measure.

    Attributes:
      name: as it was given.
      confident: whether it predicts the error of its depth.

    Raises:
      ValueError: a model that does not take sparse depth.
    """

    def __init__(self, name: str, blank: bool = False) -> None:
        """Loads the model `name`; with `blank`, it always gets a gray image."""
        self.name = name
        self._blank = blank
        self._predictor = fcfrnet_jax.load(name)
        spec = self._predictor.spec
        if isinstance(spec, CoarseToFineSpec) or not spec.uses_depth:
            raise ValueError(
                f"{name} does not take sparse depth: give a two-stage model, or a coarse one"
            )
        try:
            check_confidence(spec)
        except ValueError:
            self.confident = False
        else:
            self.confident = True

    def __call__(
        self, image: np.ndarray, sparse: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Predicts depth `[H, W]` in metres, and its expected error or None."""
        seen = np.full_like(image, GRAY) if self._blank else image
        inputs = seen if self._predictor.spec.uses_image else None, sparse
        if not self.confident:
            return self._predictor(*inputs), None
        estimate = self._predictor(*inputs, return_confidence=True)
        return estimate.depth, estimate.expected_error


@jax.jit
def _filled(sparse: jax.Array) -> jax.Array:
    return clip_depth(classical_fill(sparse), SparseToCoarseSpec().limits)


def fill_of(sparse: np.ndarray) -> np.ndarray:
    """The classical fill `[H, W]` of sparse depth, as evaluation measures it."""
    return np.asarray(_filled(sparse[None, ..., None]))[0, ..., 0]


def measure(scenes: Iterable[Scene], model: Model, others: Mapping[str, Model]) -> Iterator[Record]:
    """Yields a record for each scene and case.

    A record has `frame` and `case`; `fill` and `model`, the errors of each; `others`, those of
    other models by their name; and `confidence`, the result of `confidence_figures`, if the model
    predicts it and the image is not replaced.
    """
    for scene in scenes:
        for name, sparse in scene.scans.items():
            base = _figures(fill_of(sparse), scene, sparse, name)
            for gray in (False, True)[: 1 + (name in WITH_GRAY)]:
                image = np.full_like(scene.image, GRAY) if gray else scene.image
                depth, expected_error = model(image, sparse)
                record = {
                    "frame": scene.name,
                    "case": name + GRAY_CASE * gray,
                    "fill": base,
                    "model": _figures(depth, scene, sparse, name),
                    "others": {
                        label: _figures(other(image, sparse)[0], scene, sparse, name)
                        for label, other in others.items()
                    },
                }
                if expected_error is not None and not gray:
                    truth = scene.ground_truth if scene.exact is None else scene.exact
                    record["confidence"] = confidence_figures(depth, expected_error, sparse, truth)
                yield record


def _figures(depth: np.ndarray, scene: Scene, sparse: np.ndarray, scan: str) -> dict[str, float]:
    figures = depth_errors(depth, scene.ground_truth)
    if scene.exact is not None and scan != RANDOM:
        figures |= above_the_scan(depth, sparse, scene.exact)
    return figures


def summarise(records: list[Record]) -> list[Record]:
    """Averages the records of each case over its frames.

    Returns:
      One row for each case: `case`, `frames`, the means `fill`, `model` and `others`; the change
      of the model against the fill in percent of RMSE and MAE, `change`; the frame with the largest
      change of RMSE, `worst`; and the means `confidence`, if there are any.
    """
    rows = []
    for case in dict.fromkeys(record["case"] for record in records):
        chosen = [record for record in records if record["case"] == case]
        row: Record = {"case": case, "frames": len(chosen)}
        for name in ("fill", "model", "confidence"):
            if name in chosen[0]:
                row[name] = _means([record[name] for record in chosen])
        others = chosen[0]["others"]
        row["others"] = {
            label: _means([record["others"][label] for record in chosen]) for label in others
        }
        row["change"] = change(row["model"], row["fill"])
        changes = [change(record["model"], record["fill"])[0] for record in chosen]
        worst = int(np.argmax(changes))
        row["worst"] = {"frame": chosen[worst]["frame"], "rmse_percent": changes[worst]}
        rows.append(row)
    return rows


def _means(figures: list[Record]) -> Record:
    """The mean of each value, over the frames that have it; of lists, of each of their values."""
    return {
        key: np.nanmean([values[key] for values in figures], axis=0).tolist() for key in figures[0]
    }


def change(figures: dict[str, float], base: dict[str, float]) -> tuple[float, float]:
    """The change of RMSE and MAE against `base`, in percent."""
    rmse, mae = (100 * (figures[key] / base[key] - 1) for key in ("rmse_mm", "mae_mm"))
    return rmse, mae
