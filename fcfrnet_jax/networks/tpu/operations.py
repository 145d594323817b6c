"""What packed layers compute: convolutions, and the shuffle of two branches.

On chips whose vectors have 128 lanes; see `packing.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from fcfrnet_jax.networks.layers import CHANNELS_LAST


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    rows: tuple[int, int],
    columns: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
) -> jax.Array:
    """Of `[B, H, W, C]`, padded by so many rows and columns, with `[h, w, C, D]`."""
    if strides == (1, 1) and columns == (1, 1):
        return _widen(x, kernel)
    padding = (rows, columns)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=CHANNELS_LAST)


@jax.custom_vjp
def _widen(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves pairs with a kernel `[3, 2, C, D]` to one pair more in a row."""
    padding = ((1, 1), (1, 1))
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=CHANNELS_LAST)


def _widen_gradient(saved: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradients by `x` and `kernel`.

    That by the kernel is a convolution of the two pictures. The derivative has the gradient that
    comes in, the wider one, as the kernel of it, and for that XLA reverses it in a copy.
    """
    x, kernel = saved
    by_x = lax.conv_general_dilated(
        gradient,
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        ((1, 1), (0, 0)),
        dimension_numbers=CHANNELS_LAST,
    )
    # The channels of the result are the batch here, and the batch is summed as channels are.
    turned = lax.conv_general_dilated(
        gradient,
        x,
        (1, 1),
        ((1, 1), (0, 0)),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )
    return by_x, turned[::-1, ::-1].swapaxes(2, 3)


_widen.defvjp(lambda x, kernel: (_widen(x, kernel), (x, kernel)), _widen_gradient)


def shuffle_branches(
    first: jax.Array, second: jax.Array, pixels: int
) -> tuple[jax.Array, jax.Array]:
    """`layers.shuffle_branches` of `[B, H, W, C pixels]`, where a channel has so many pixels beside
    each other.

    As a product with zeros and ones, which is exact: such chips move channels from lane to lane at
    a higher price.
    """
    places = first.shape[-1]
    order = np.arange(2 * places).reshape(2, -1, pixels).swapaxes(0, 1).reshape(-1)
    chosen = np.eye(2 * places)[:, order]
    joined = jnp.concatenate([first, second], axis=-1)
    mixed = [
        lax.conv_general_dilated(
            joined,
            jnp.asarray(half[None, None], joined.dtype),
            (1, 1),
            "VALID",
            dimension_numbers=CHANNELS_LAST,
            # Else float32 would be rounded to bfloat16.
            precision=lax.Precision.HIGHEST,
        )
        for half in np.split(chosen, 2, axis=1)
    ]
    return mixed[0], mixed[1]
