"""Processing long arrays piece by piece."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

# A tree of arrays.
Tree = TypeVar("Tree")


def in_strips(function: Callable[..., Tree], size: int, *arrays: Any) -> Tree:
    """Applies a function to strips of the arrays' last axis and concatenates the results.

    The intermediate results of `function` then stay in a CPU's cache. The last strip is padded with
    copies of the last element; the padding is removed from the results.

    Args:
      function: maps as many trees of arrays as `arrays` has, with last axes of length `size`, to a
        tree of arrays with such a last axis.
      size: the length of a strip.
      arrays: trees of arrays whose last axes all have the same length.
    """
    count = jax.tree.leaves(arrays)[0].shape[-1]
    strips = -(-count // size)

    def cut(array: jax.Array) -> jax.Array:
        margin = [(0, 0)] * (array.ndim - 1) + [(0, strips * size - count)]
        padded = jnp.pad(array, margin, mode="edge")
        return jnp.moveaxis(padded.reshape(*array.shape[:-1], strips, size), -2, 0)

    def paste(array: jax.Array) -> jax.Array:
        pieces = jnp.moveaxis(array, 0, -2)
        return pieces.reshape(*pieces.shape[:-2], -1)[..., :count]

    results = jax.lax.map(lambda pieces: function(*pieces), jax.tree.map(cut, arrays))
    return jax.tree.map(paste, results)


def settle(function: Callable[..., Tree], *arrays: Any) -> Tree:
    """Applies a function to the two halves of the arrays, so that its results exist in memory.

    Otherwise XLA would fuse `function` into each consumer and recompute it there. On CPUs it
    ignores optimization barriers, but it does not fuse across a loop. Arguments as for `in_strips`.
    """
    count = jax.tree.leaves(arrays)[0].shape[-1]
    return in_strips(function, -(-count // 2), *arrays)
