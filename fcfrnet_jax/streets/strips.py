"""Work on long arrays a piece at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def in_strips(function: Callable, size: int, *arrays: Any) -> Any:
    """Applies a function to strips of `size` of the arrays' last axis, and joins what it returns.

    What lies between the steps of `function` then stays in a CPU's cache. The last strip is filled
    up with copies of the last element, and cut again.

    Args:
      function: takes as many trees of arrays as `arrays` has, with last axes of `size`, and returns
        a tree of arrays of such a last axis.
      arrays: trees of arrays whose last axes are equally long.
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


def settle(function: Callable, *arrays: Any) -> Any:
    """Applies a function to the two halves of the arrays, so that its results exist in memory.

    XLA otherwise computes a value again in each kernel that uses it, down to the inputs, and on
    CPUs ignores barriers; but it does not fuse across a loop. Arguments as for `in_strips`.
    """
    count = jax.tree.leaves(arrays)[0].shape[-1]
    return in_strips(function, -(-count // 2), *arrays)
