"""A stand-in for the renderer that compiles quickly, for tests that do not depend on the images."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.sensors.camera import KITTI, Camera, Corner
from fcfrnet_jax.sensors.lidar import HDL64, Lidar
from fcfrnet_jax.streets import data_set, pool, sample
from fcfrnet_jax.streets.frame import RenderedFrame
from fcfrnet_jax.training import street_batches


def render_scene(
    key: jax.Array,
    camera: Camera = KITTI,
    lidar: Lidar = HDL64,
    travelled: float | jax.Array = 0.0,
    window: Size | None = None,
    corner: Corner = (0, 0),
    dense: float = 0.0,
) -> RenderedFrame:
    """Returns an image of noise, and depth maps that encode each pixel's place in the whole image.

    Counted from 1 and in steps of 1/8 m, the ground truth is the column. The sparse depth is the
    row, in every third column. In dense traffic, all depths are half as large.
    """
    size = window or (camera.height, camera.width)
    row, column = jnp.indices(size) + jnp.array(corner)[:, None, None]
    noise = jax.random.randint(jax.random.fold_in(key, travelled), (*size, 3), 0, 256)
    far = 1.0 - 0.5 * dense
    row, column = far * (1.0 + row) / 8.0, far * (1.0 + column) / 8.0
    sparse_depth = jnp.where(8.0 * column / far % 3 == 1, row, 0.0)
    return RenderedFrame(noise.astype(jnp.uint8), row, sparse_depth, column)


def scan_scene(key: jax.Array, camera: Camera, lidar: Lidar, dense: float = 0.0) -> jax.Array:
    """Returns the row in the columns that `render_scene` has not measured."""
    frame = render_scene(key, camera, lidar, dense=dense)
    return jnp.where(frame.sparse_depth > 0, 0.0, frame.depth)


def put_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_set, "render_scene", render_scene)
    monkeypatch.setattr(pool, "render_scene", render_scene)
    monkeypatch.setattr(pool, "scan_scene", scan_scene)
    monkeypatch.setattr(street_batches, "render_scene", render_scene)


def write_sample(root: Path, **size: int) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        put_in_place(monkeypatch)
        sample.write_sample(root, **size)


def places(batch: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the rows `[B, H]` and the columns `[B, W]` of the whole image that a batch shows."""
    rows = 8.0 * np.max(batch["sparse_depth"][..., 0], axis=2) - 1.0
    return rows, 8.0 * np.asarray(batch["ground_truth"])[:, 0, :, 0] - 1.0
