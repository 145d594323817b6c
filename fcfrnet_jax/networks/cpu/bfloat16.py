"""What XLA's CPU backend does slowly in bfloat16, by bits. None of it has a gradient.

That backend turns operations in bfloat16 into ones in float32, also those that only move elements,
and takes ten operations to round. Arrays of other dtypes pass through all of this as they are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def moved(function: Callable[[jax.Array], jax.Array], x: jax.Array) -> jax.Array:
    """Applies what only moves elements, or fills in zeros."""
    if x.dtype != jnp.bfloat16:
        return function(x)
    return lax.bitcast_convert_type(function(lax.bitcast_convert_type(x, jnp.uint16)), x.dtype)


def widen(x: jax.Array) -> jax.Array:
    """Casts to float32."""
    if x.dtype != jnp.bfloat16:
        return x
    bits = lax.bitcast_convert_type(x, jnp.uint16).astype(jnp.uint32) << 16
    return lax.bitcast_convert_type(bits, jnp.float32)


def narrow(x: jax.Array, dtype: Any) -> jax.Array:
    """Casts float32 to `dtype`; bfloat16 with halfway cases rounded away from zero."""
    if dtype != jnp.bfloat16:
        return x.astype(dtype)
    bits = lax.bitcast_convert_type(x, jnp.uint32) + np.uint32(0x8000)
    return lax.bitcast_convert_type((bits >> 16).astype(jnp.uint16), dtype)
