"""What takes the renderer's place where pictures do not matter: it compiles in no time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.sensors.camera import KITTI
from fcfrnet_jax.sensors.lidar import HDL64
from fcfrnet_jax.streets import data_set, sample
from fcfrnet_jax.streets.frame import Frame
from fcfrnet_jax.training import street_batches


def render_scene(key, camera=KITTI, lidar=HDL64, travelled=0.0, window=None, corner=(0, 0)):
    """An image of noise, and depth maps that tell each pixel's place in the whole picture.

    Counted from 1 and in steps of 1/8 m, sparse depth tells the row, where the column divides by 3,
    and ground truth the column.
    """
    size = window or (camera.height, camera.width)
    row, column = jnp.indices(size) + jnp.array(corner)[:, None, None]
    noise = jax.random.randint(jax.random.fold_in(key, travelled), (*size, 3), 0, 256)
    row, column = (1.0 + row) / 8.0, (1.0 + column) / 8.0
    return Frame(noise.astype(jnp.uint8), row, jnp.where(8.0 * column % 3 == 1, row, 0.0), column)


def put_in_place(monkeypatch):
    monkeypatch.setattr(data_set, "render_scene", render_scene)
    monkeypatch.setattr(street_batches, "render_scene", render_scene)


def write_sample(root, **size):
    with pytest.MonkeyPatch.context() as monkeypatch:
        put_in_place(monkeypatch)
        sample.write_sample(root, **size)


def places(batch):
    """The row and the column in the whole picture of each row `[B, H]` and column `[B, W]`."""
    rows = 8.0 * np.max(batch["sparse_depth"][..., 0], axis=2) - 1.0
    return rows, 8.0 * np.asarray(batch["ground_truth"])[:, 0, :, 0] - 1.0
