"""Batch normalisation of the outputs of the convolutions in `packing.py`."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike

from fcfrnet_jax.networks.tpu.packing import inside, is_shifted

# Checkpoint name of the batch's moments, which rematerialisation keeps.
STATISTICS = "statistics"


class PackedNorm(nn.Module):
    """`nn.BatchNorm`, with the same variables, of arrays that hold several pixels as channels.

    The last axis is `[before, C, after]` for C channels, flattened; pairs have `after` = 2.
    Statistics are computed in at least float32, over the pixels that are part of the image.

    Attributes:
      use_running_average, momentum, epsilon, dtype, axis_name: as for `nn.BatchNorm`.
      before, after: numbers of pixels, see above.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: DTypeLike | None = None
    axis_name: str | None = None
    before: int = 1
    after: int = 2

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = (x.shape[-1] // (self.before * self.after),)
        exact = jnp.promote_types(x.dtype, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        running_variance = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        scale = self.param("scale", nn.initializers.ones_init(), features, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), features, jnp.float32)
        y = x.astype(exact)
        if self.use_running_average:
            mean, variance = running_mean.value, running_variance.value
        else:
            mean = self._mean(y)
            variance = self._mean(jnp.square(y - self._placed(mean)))
            if not self.is_initializing():
                for running, new in ((running_mean, mean), (running_variance, variance)):
                    running.value = self.momentum * running.value + (1 - self.momentum) * new
        y = (y - self._placed(mean)) * self._placed(lax.rsqrt(variance + self.epsilon) * scale)
        return (y + self._placed(bias)).astype(self.dtype or exact)

    def _mean(self, x: jax.Array) -> jax.Array:
        """Mean over the pixels of each channel on all devices: `[C]`."""
        pixels = x.size // x.shape[-1] * self.before * self.after
        if (self.before, self.after) == (1, 2) and is_shifted(x):
            pixels -= 2 * x.shape[0] * x.shape[1]
            x = jnp.where(inside(*x.shape[2:]), x, 0)
        places = jnp.sum(x, tuple(range(x.ndim - 1))).reshape(self.before, -1, self.after)
        mean = jnp.sum(places, (0, 2)) / pixels
        if self.axis_name is not None and not self.is_initializing():
            mean = lax.pmean(mean, self.axis_name)
        return checkpoint_name(mean, STATISTICS)

    def _placed(self, values: jax.Array) -> jax.Array:
        """Repeats values of the channels `[C]` along the last axis of the input."""
        return jnp.tile(jnp.repeat(values, self.after), self.before)
