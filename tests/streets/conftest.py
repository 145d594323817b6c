"""Streets and frames that the tests share: compiling the renderer takes most of their time."""

import jax
import numpy as np
import pytest

from fcfrnet_jax.sensors.rig import scaled_rig
from fcfrnet_jax.streets.frame import RenderedFrame, render_scene
from fcfrnet_jax.streets.scene.street import Street, make_street

SEEDS = 48
SIZE = (48, 160)
CAMERA, LIDAR = scaled_rig(SIZE)

_draw = jax.jit(jax.vmap(make_street, in_axes=(0, None, None, None)))


def draw_streets(travelled: float = 0.0, veer: float = 0.0, dense: float = 0.0) -> Street:
    """Returns a batch of the streets of the keys 0 to `SEEDS` - 1."""
    return _draw(jax.vmap(jax.random.key)(np.arange(SEEDS)), travelled, veer, dense)


def pick(streets: Street, seed: int) -> Street:
    return jax.tree.map(lambda array: array[seed], streets)


@pytest.fixture(scope="session")
def streets() -> Street:
    return draw_streets()


@pytest.fixture(scope="session")
def frames() -> list[RenderedFrame]:
    """Frames of the first streets. They use the program that `data_set` compiles as well."""
    keys = map(jax.random.key, range(6))
    return [jax.tree.map(np.asarray, render_scene(key, CAMERA, LIDAR, 0.0)) for key in keys]
