"""Fits the expected error of the compact model:

    python -m benchmarks.quality.calibrate --kitti KITTI --rendered 6

Prints the constants of `fcfrnet_jax/prediction/expected_error.py`. They maximise the likelihood of
the relative errors under a Laplace distribution, on frames of KITTI's training split, with all
beams and with every fourth one, and on rendered streets, which have exact depth above the scan and
also random points.
"""

import argparse
from collections.abc import Iterable, Iterator

import jax
import numpy as np
import scipy.optimize

import fcfrnet_jax
from benchmarks.quality.measures import FARTHEST
from benchmarks.quality.scenes import RANDOM, Scene, real_scenes, rendered_scenes
from fcfrnet_jax.networks import select
from fcfrnet_jax.networks.models import Variables
from fcfrnet_jax.prediction.arrays import padded
from fcfrnet_jax.prediction.estimate import predict_with_scale
from fcfrnet_jax.prediction.expected_error import error_measures
from fcfrnet_jax.weights import checkpoint

SCANS = ("64 beams", "16 beams", RANDOM)
# Real frames have three times the weight of rendered ones: errors of recordings are what the
# measures are for.
REAL_WEIGHT = 0.75
# The frames of `benchmarks/scanners.py` have another seed.
SEED = 77
DENSE = 0.25
PIXELS = 8000

Samples = tuple[np.ndarray, np.ndarray]


def samples(scenes: Iterable[Scene], model: str) -> Iterator[Samples]:
    """Yields the logarithms of the measures `[N, 4]` and the relative errors `[N]` of each scan."""
    spec, variables = checkpoint.load_model(model)
    network, folded, options = select.for_prediction(spec, variables)

    def run(variables: Variables, image: jax.Array, sparse: jax.Array) -> tuple[jax.Array, ...]:
        shown = predict_with_scale(network, variables, image, sparse)
        return shown[0], *error_measures(*shown)

    compiled = jax.jit(run, compiler_options=options)
    for scene in scenes:
        truth = scene.ground_truth if scene.exact is None else scene.exact
        known = np.flatnonzero((truth > 0) & (truth < FARTHEST))
        chosen = np.random.default_rng(0).permutation(known)[:PIXELS]
        for name in SCANS:
            if name not in scene.scans:
                continue
            sparse = scene.scans[name][None, ..., None]
            maps = compiled(folded, padded(scene.image[None]), padded(sparse))
            height, width = truth.shape
            depth, *measures = (
                np.asarray(leaf)[0, :height, :width, 0].ravel()[chosen] for leaf in maps
            )
            true = truth.ravel()[chosen]
            yield np.log(np.stack(measures, axis=-1)), np.abs(depth - true) / depth


def fit(groups: list[tuple[list[Samples], float]]) -> np.ndarray:
    """Returns the logarithm of the factor and the exponents.

    Args:
      groups: samples, and the weight of their mean.
    """
    measures = np.concatenate([log for found, _ in groups for log, _ in found])
    errors = np.concatenate([error for found, _ in groups for _, error in found])
    sizes = [sum(len(error) for _, error in found) for found, _ in groups]
    shares = [weight / size for (_, weight), size in zip(groups, sizes, strict=True)]
    weights = np.repeat(shares, sizes)
    columns = np.c_[np.ones(len(errors)), measures].astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        log_expected = columns @ parameters
        ratio = errors * np.exp(-log_expected)
        return float(weights @ (ratio + log_expected)), columns.T @ (weights * (1.0 - ratio))

    # The network's own scale.
    start = np.array([0.0, 1.0, 0.0, 0.0, 0.0])
    return scipy.optimize.minimize(loss, start, jac=True, method="BFGS").x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=fcfrnet_jax.COMPACT)
    parser.add_argument("--kitti", required=True, help="a dataset in KITTI's layout")
    parser.add_argument("--frames", type=int, default=9, help="of KITTI's training split")
    parser.add_argument("--rendered", type=int, default=6, help="the number of rendered streets")
    options = parser.parse_args()
    groups = [
        (real_scenes(options.kitti, "train", options.frames), REAL_WEIGHT),
        (rendered_scenes(options.rendered, SEED, DENSE), 1 - REAL_WEIGHT),
    ]
    log_factor, *exponents = fit(
        [(list(samples(scenes, options.model)), weight) for scenes, weight in groups]
    )
    print(f"FACTOR = {np.exp(log_factor):.3f}")
    print(f"EXPONENTS = ({', '.join(f'{power:.3f}' for power in exponents)})")


if __name__ == "__main__":
    main()
