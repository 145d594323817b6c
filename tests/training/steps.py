"""Training steps that the tests share, so that each is compiled once."""

import functools

import optax

from fcfrnet_jax import parallel
from fcfrnet_jax.training.objective import Objective
from fcfrnet_jax.training.optimizers import make_schedule
from fcfrnet_jax.training.update import make_update

RATE = 1e-3
SCHEDULE = make_schedule("constant", RATE)
# The first change that plain SGD makes is -RATE times the gradient.
SGD = optax.sgd(RATE)


@functools.cache
def step_of(network, optimizer=SGD, objective=Objective(), **settings):  # noqa: B008
    """A training step on all devices; equal arguments return the same function."""
    update = make_update(network, optimizer, SCHEDULE, objective, **settings)
    return parallel.map_global(update, donate=True)
