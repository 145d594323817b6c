"""Both networks on patches of pixels: the form for fast models with few channels.

The features have one position for each patch of `spec.patch` x `spec.patch` pixels, so that most of
the work is done at a small size with enough channels for fast convolutions. Depths are logarithms.
The last layer of each network returns, for each patch,

  - a residual of the patch's mean log depth;
  - weights with which the patches exchange their depth with neighbours, over `STEPS` steps (convex
    combinations, as in CSPN, arXiv 1808.00150, with dilations as in PENet);
  - for each pixel, weights of the depth of the nine patches around it (convex upsampling, as in
    RAFT, arXiv 2003.12039), and of the depth of the pixel before.

All combinations are convex: a depth between two surfaces appears only where the network predicts
one. The wiring of encoders, shuffles, fusion and decoder is that of `models.py`.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.inputs import select_channels

# Metres and a share of the largest depth: the smaller one is the base depth of frames without
# measurements.
UNKNOWN, UNKNOWN_SHARE = 20.0, 0.23
STEPS = 6
DILATIONS = (1, 2, 4)
# The steps take turns with two sets of weights.
SETS = 2
NEIGHBOURS = 9
# Added to the logits of the position itself, so that training starts near the base depth.
OWN = 3.0
# With this, no power overflows, and the smallest share is nothing next to the largest.
LIMIT = 30.0
# The name under which the fine network stores the logarithm of the scale of its error, `[B, H, W,
# 1]`; see `error_scale`.
LOG_SCALE = "log_scale"
# The scale of the error of log depth that a network starts from, and the largest difference of its
# logarithm from that of a prediction.
TYPICAL_SCALE = 0.03
SCALE_LIMIT = 5.0


# The smallest and the largest depth in metres.
Limits = tuple[float, float]


def outputs(patch: int) -> int:
    """The number of channels of the last layer."""
    return 1 + SETS * NEIGHBOURS + (NEIGHBOURS + 1) * patch**2


def to_patches(x: jax.Array, patch: int) -> jax.Array:
    """`[B, H, W, C]` to `[B, H / patch, W / patch, patch * patch * C]`."""
    batch, height, width, channels = x.shape
    # These axes are those of `from_patches`, so that XLA cancels both if they follow each other.
    x = x.reshape(batch, height // patch, patch, width // patch, patch * channels)
    return x.swapaxes(2, 3).reshape(batch, height // patch, width // patch, -1)


def from_patches(x: jax.Array, patch: int) -> jax.Array:
    """`[B, h, w, patch * patch]` to `[B, h * patch, w * patch, 1]`."""
    batch, height, width, _ = x.shape
    x = x.reshape(batch, height, width, patch, patch).swapaxes(2, 3)
    return x.reshape(batch, height * patch, width * patch, 1)


def log_depth(depth: jax.Array, limits: Limits) -> jax.Array:
    """The logarithm of metres, which are clipped to `limits`."""
    return jnp.log(jnp.clip(depth, *limits))


def metres(log_depth: jax.Array) -> jax.Array:
    """The inverse of `log_depth`. Far beyond any depth, it ends before it overflows."""
    return jnp.exp(jnp.clip(log_depth, -3.0, 7.0))


def error_scale(log_scale: jax.Array) -> jax.Array:
    """The scale of the error of log depth, which is the mean absolute error that is expected.

    Args:
      log_scale: what the fine network stores as `LOG_SCALE`: the logarithm of the scale of a
        Laplace distribution, relative to `TYPICAL_SCALE`.
    """
    return TYPICAL_SCALE * jnp.exp(jnp.clip(log_scale, -SCALE_LIMIT, SCALE_LIMIT))


def filled(sparse_depth: jax.Array, max_depth: float) -> jax.Array:
    """The classical fill, or the depth of `UNKNOWN` where there is none."""
    fill = classical_fill(sparse_depth, max_depth)
    return jnp.where(fill > 0, fill, min(UNKNOWN, UNKNOWN_SHARE * max_depth))


def normalised(image: jax.Array | None, modality: str) -> jax.Array:
    """The image of a modality with a mean of about 0 and a deviation of about 1."""
    return (select_channels(image, modality) / 255.0 - 0.45) / 0.25


def pixelwise(function: Callable[..., jax.Array], patch: int, *maps: jax.Array) -> jax.Array:
    """Applies a function of single pixels to maps `[B, H, W, 1]`, in the arrangement of patches.

    The result is that of `function(*maps)`. XLA cancels changes of the arrangement that follow each
    other, so that everything between two networks is computed without one.
    """
    return from_patches(function(*(to_patches(x, patch) for x in maps)), patch)


def scan_maps(
    sparse_depth: jax.Array, dense: jax.Array, base: jax.Array, limits: Limits
) -> jax.Array:
    """What a network reads of a scan: where and what it measured, and dense log depth.

    Args:
      sparse_depth: `[B, h, w, patch * patch]` metres, 0 = missing.
      dense: dense log depth of the same shape, with which the measured depth is compared.
      base: the log depth to refine, of the same shape.
      limits: depths of `sparse_depth` outside these count as the limits.

    Returns:
      `[B, h, w, patch * patch * 4]`: the maps of `to_patches`, four for each pixel.
    """
    measured = sparse_depth > 0.1
    log_sparse = log_depth(sparse_depth, limits)
    maps = [
        0.25 * base,
        jnp.where(measured, 0.25 * log_sparse, 0.0),
        measured.astype(log_sparse.dtype),
        jnp.where(measured, log_sparse - dense, 0.0),
    ]
    return jnp.stack(maps, axis=-1).reshape(*base.shape[:3], -1)


def combine(head: jax.Array, base: jax.Array, patch: int) -> jax.Array:
    """Computes log depth from the output of the last layer.

    Args:
      head: `[B, h, w, outputs(patch)]`.
      base: `[B, h, w, patch * patch]`, the log depth to refine.
      patch: side of the patches.

    Returns:
      Log depth of the shape of `base`.
    """
    residual, *parts = lax.split(head, (1, *[NEIGHBOURS] * SETS, *[patch**2] * (NEIGHBOURS + 1)), 3)
    affinities, upsampling = parts[:SETS], parts[SETS:]
    depth = jnp.mean(base, axis=-1, keepdims=True) + residual  # [B, h, w, 1]
    for step in range(STEPS):
        logits = list(lax.split(affinities[step % SETS], (1,) * NEIGHBOURS, 3))
        logits[NEIGHBOURS // 2] += OWN
        depth = mix(logits, neighbours(depth, DILATIONS[step % len(DILATIONS)]))
    upsampling[-1] += OWN
    return mix(upsampling, [*neighbours(depth), base])


def mix(logits: Sequence[jax.Array], values: Sequence[jax.Array]) -> jax.Array:
    """The mean of arrays with the softmax of `logits` as weights, at each position.

    Logits count up to `LIMIT`.
    """
    # Sums of whole arrays are much faster on CPUs than reductions over a short axis, and one
    # division of the sums lets XLA compute everything in one loop. Subtracting the largest logit,
    # as is usual, would make XLA look for it again for each of the arrays.
    powers = [jnp.exp(jnp.clip(array, -LIMIT, LIMIT)) for array in logits]
    products = [power * value for power, value in zip(powers, values, strict=True)]
    return functools.reduce(jnp.add, products) / functools.reduce(jnp.add, powers)


def neighbours(x: jax.Array, dilation: int = 1) -> list[jax.Array]:
    """The 3x3 positions around each of `x` `[B, h, w, 1]`, with the border repeated."""
    _, height, width, _ = x.shape
    margin = (dilation, dilation)
    padded = jnp.pad(x, ((0, 0), margin, margin, (0, 0)), "edge")
    return [
        padded[:, row : row + height, column : column + width]
        for row in range(0, 2 * dilation + 1, dilation)
        for column in range(0, 2 * dilation + 1, dilation)
    ]
