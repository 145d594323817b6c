"""Channel shuffle and energy fusion of the two branches of the coarse-to-fine network.

Modules without parameters wrap the operations, so that `capture_intermediates` returns their
outputs. Branches are `[B, H, W, C]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax


@jax.jit
def channel_shuffle(x: jax.Array) -> jax.Array:
    """Interleaves the halves of the channels: `[a1 a2 .., b1 b2 ..]` becomes `[a1 b1 a2 b2 ..]`.

    Args:
      x: `[..., 2C]`.

    Returns:
      `[..., 2C]`: the channels viewed as (2, C), transposed to (C, 2) and flattened.

    Raises:
      ValueError: an odd number of channels.
    """
    *lead, channels = x.shape
    if channels % 2:
        raise ValueError(f"channel_shuffle needs an even number of channels, got shape {x.shape}")
    return x.reshape(*lead, 2, channels // 2).swapaxes(-1, -2).reshape(*lead, channels)


class ChannelShuffle(nn.Module):
    """Shuffles the channels of two branches `[B, H, W, C]` and returns the halves as branches."""

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
        mixed = channel_shuffle(jnp.concatenate([first, second], axis=-1))
        first, second = jnp.split(mixed, 2, axis=-1)
        return first, second


class EnergyFusion(nn.Module):
    """`energy_fusion` of two branches `[B, H, W, C]`."""

    window: int = 5

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> jax.Array:
        return energy_fusion(first, second, self.window)


def energy_fusion(first: jax.Array, second: jax.Array, window: int = 5) -> jax.Array:
    """Selects, for each pixel and channel, the branch with the larger local energy, times two.

    The energy is the sum of squares over a `window` x `window` box, zero-padded, in at least
    float32. `first` is selected in case of a tie (FCFR-Net, section "energy-based fusion").

    Args:
      first, second: `[B, H, W, C]`, of the same shape.
      window: side of the box in pixels, odd.

    Returns:
      `[B, H, W, C]`.

    Raises:
      ValueError: `window` is not odd and positive, or the shapes differ.
    """
    if window % 2 == 0 or window < 1:
        raise ValueError(f"the window of energy_fusion must be odd and positive, got {window}")
    if first.shape != second.shape:
        raise ValueError(f"energy_fusion needs equal shapes, got {first.shape} and {second.shape}")
    # The comparison has no gradient. Without this, the backward pass would still compute box sums.
    stronger = _energy(lax.stop_gradient(first), window) >= _energy(
        lax.stop_gradient(second), window
    )
    return 2 * jnp.where(stronger, first, second)


def _energy(x: jax.Array, window: int) -> jax.Array:
    squares = jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32)))
    box = (1, window, window, 1)
    zero = np.zeros((), squares.dtype)
    return lax.reduce_window(squares, zero, lax.add, box, (1, 1, 1, 1), "SAME")


class ExchangeHalves(nn.Module):
    """`ChannelShuffle` for kernels that `fold.py` has reordered: exchanges the last halves.

    Each branch gets the same channels as from the shuffle, in another order. No channel changes its
    position, which saves a copy of both branches on accelerators.
    """

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
        channels = first.shape[-1]
        kept = np.arange(channels) < channels // 2
        return jnp.where(kept, first, second), jnp.where(kept, second, first)


class GatherHalves(nn.Module):
    """`ChannelShuffle` for reordered kernels, where `EnergyFusion` reads the branches.

    The fusion compares equal channels of both branches, so both must have the same order: the first
    branch gets the first halves of both, the second branch the last halves.
    """

    @nn.compact
    def __call__(self, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
        half = first.shape[-1] // 2
        return (
            jnp.concatenate([first[..., :half], second[..., :half]], axis=-1),
            jnp.concatenate([first[..., half:], second[..., half:]], axis=-1),
        )
