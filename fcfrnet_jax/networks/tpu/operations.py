"""Operations of packed layers, for chips whose vectors have 128 lanes; see `packing.py`."""

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
    """Convolves `[B, H, W, C]` with a kernel `[h, w, C, D]`.

    Args:
      rows, columns: padding before and after `x`.
    """
    if strides == (1, 1) and columns == (1, 1):
        return _widen(x, kernel)
    padding = (rows, columns)
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=CHANNELS_LAST)


@jax.custom_vjp
def _widen(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolves pairs with a kernel `[3, 2, C, D]`; the result has one more pair in each row."""
    padding = ((1, 1), (1, 1))
    return lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=CHANNELS_LAST)


def _widen_gradient(saved: tuple, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The gradients with respect to `x` and `kernel`.

    The gradient with respect to the kernel is a convolution of `x` and the incoming gradient. XLA's
    own derivative uses the incoming gradient, the larger array, as the kernel of that convolution,
    and reverses it in a copy.
    """
    x, kernel = saved
    x_gradient = lax.conv_general_dilated(
        gradient,
        kernel[::-1, ::-1].swapaxes(2, 3),
        (1, 1),
        ((1, 1), (0, 0)),
        dimension_numbers=CHANNELS_LAST,
    )
    # Channels take the place of the batch, and the batch that of the channels, which are summed.
    reversed_gradient = lax.conv_general_dilated(
        gradient,
        x,
        (1, 1),
        ((1, 1), (0, 0)),
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
    )
    return x_gradient, reversed_gradient[::-1, ::-1].swapaxes(2, 3)


_widen.defvjp(lambda x, kernel: (_widen(x, kernel), (x, kernel)), _widen_gradient)


def shuffle_branches(
    first: jax.Array, second: jax.Array, pixels: int
) -> tuple[jax.Array, jax.Array]:
    """`ChannelShuffle` of branches `[B, H, W, C * pixels]`, where a channel holds `pixels` pixels.

    Computed as a product with a matrix of zeros and ones, which is exact. On these chips it takes
    less time than to move channels between lanes.
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
            # The default precision would round float32 to bfloat16.
            precision=lax.Precision.HIGHEST,
        )
        for half in np.split(chosen, 2, axis=1)
    ]
    return mixed[0], mixed[1]
