"""Pairs of frames with known poses, for the warp and the photometric loss."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.linalg
import scipy.ndimage

from fcfrnet_jax.training.losses import NearView

Arrays = dict[str, Any]
VIEW = ("rgb_near", "rotation", "translation", "intrinsics")


def view(data: Arrays) -> NearView:
    return NearView(*(jnp.asarray(data[key]) for key in VIEW))


def random_data(seed: int = 0, height: int = 64, width: int = 96, batch: int = 2) -> Arrays:
    """Smooth images, a slanted depth map, a third of it supervised, and a different pose each."""
    rng = np.random.default_rng(seed)

    def smooth(shape: tuple[int, ...], sigma: float) -> np.ndarray:
        noise = scipy.ndimage.gaussian_filter(rng.normal(size=shape), (0, sigma, sigma, 0))
        return noise / np.abs(noise).max()

    maps = (batch, height, width)
    gt = 10 + 3 * smooth((*maps, 1), 3)
    # Blocks: if a third of the pixels were scattered, every pooled pixel would be supervised.
    gt[:, height // 3 - 5 :, width // 2 - 5 :] = 0
    angles = rng.uniform(-0.02, 0.02, (batch, 3))
    data = {
        "depth": 10 + 4 * smooth((*maps, 1), 6),
        "gt": gt,
        "rgb": 120 + 100 * smooth((*maps, 3), 5),
        "rgb_near": 120 + 100 * smooth((*maps, 3), 5),
        "rotation": np.array([rotation_matrix(a) for a in angles]),
        "translation": rng.uniform(-0.5, 0.5, (batch, 3)),
        "intrinsics": np.array([60, 55, width / 2 - 3, height / 2 + 2])
        * rng.uniform(0.9, 1.1, (batch, 1)),
    }
    return {key: value.astype(np.float32) for key, value in data.items()}


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    return scipy.linalg.expm(np.cross(np.eye(3), -vector))
