"""Operations on bfloat16 by integer arithmetic, for CPUs. None of them is differentiable.

XLA's CPU backend converts bfloat16 to float32 for every operation, even to move elements, and
rounds the result with ten operations. Arrays of other dtypes are handled as usual.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike


def by_bits(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies a function that only moves elements, or inserts zeros."""
    if x.dtype != jnp.bfloat16:
        return function(x)
    return lax.bitcast_convert_type(function(lax.bitcast_convert_type(x, jnp.uint16)), x.dtype)


def widen(x: jax.Array) -> jax.Array:
    """Casts to float32."""
    if x.dtype != jnp.bfloat16:
        return x
    bits = lax.bitcast_convert_type(x, jnp.uint16).astype(jnp.uint32) << 16
    return lax.bitcast_convert_type(bits, jnp.float32)


def narrow(x: jax.Array, dtype: DTypeLike) -> jax.Array:
    """Casts float32 to `dtype`; to bfloat16 it rounds halfway cases away from zero."""
    if dtype != jnp.bfloat16:
        return x.astype(dtype)
    bits = lax.bitcast_convert_type(x, jnp.uint32) + np.uint32(0x8000)
    return lax.bitcast_convert_type((bits >> 16).astype(jnp.uint16), dtype)
