"""Batch normalisation that reads its input once for the statistics."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike


class OnePassNorm(nn.Module):
    """`nn.BatchNorm` over all axes but the last, with the same variables and the same result.

    The mean and the variance are computed in one pass, from the sums of the input and of its
    square. To lose no digits, the running mean is subtracted before: the variance does not depend
    on it, and after the first updates it is near the mean of the batch.

    The attributes are those of `nn.BatchNorm`.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: DTypeLike | None = None
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        features = x.shape[-1:]
        exact = jnp.promote_types(x.dtype, jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, features, jnp.float32)
        running_variance = self.variable("batch_stats", "var", jnp.ones, features, jnp.float32)
        scale = self.param("scale", nn.initializers.ones_init(), features, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros_init(), features, jnp.float32)
        centre = running_mean.value
        y = x.astype(exact) - centre
        if self.use_running_average:
            offset, variance = jnp.zeros(features, exact), running_variance.value
        else:
            offset, square = self._means(y, jnp.square(y))
            variance = jnp.maximum(square - jnp.square(offset), 0.0)
            if not self.is_initializing():
                for running, new in ((running_mean, centre + offset), (running_variance, variance)):
                    running.value = self.momentum * running.value + (1 - self.momentum) * new
        y = (y - offset) * (lax.rsqrt(variance + self.epsilon) * scale) + bias
        return y.astype(self.dtype or exact)

    def _means(self, *arrays: jax.Array) -> jax.Array:
        """The means over the pixels of each channel on all devices, `[len(arrays), C]`."""
        means = jnp.stack([jnp.mean(array, (0, 1, 2)) for array in arrays])
        if self.axis_name is not None and not self.is_initializing():
            means = lax.pmean(means, self.axis_name)
        return means
