"""Convolutions on pairs of neighbouring pixels, for chips whose vectors have 128 lanes.

At full resolution a network has 64 channels, half of what such a chip computes at a time. Taken as
one pixel of twice the channels, a pair fills it. All of it is exact: the same products are summed,
beside products with zeros.

A packed array `[B, H, W / 2, 2 C]` has the pixel q of a pair's channel c at the place 2 c + q, so
that channels are concatenated and sliced as in unpacked arrays. Its pairs start at the picture's
edge, or half a pair before it (`shifted`), and then there is one more, and the outer pixels are not
part of the picture. A 3x3 convolution turns one kind into the other, for then its kernel covers two
pairs in a row, and not three.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen import dtypes
from jax import lax

from fcfrnet_jax.networks.tpu.operations import convolve

# Pixels in a row that the first and the last layers, of few channels, take as one. All widths are
# multiples of it.
RUN = 16
# The same for a batch of volumes.
VOLUMES = ("NDHWC", "DHWIO", "NDHWC")


def unpack(x: jax.Array) -> jax.Array:
    """Pairs that are not shifted as pixels: `[B, H, W, C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // 2, 2)
    return x.swapaxes(3, 4).reshape(batch, height, 2 * width, channels // 2)


def is_shifted(x: jax.Array) -> bool:
    """Pictures are of multiples of 16 pixels, so only the shifted have odd numbers of pairs."""
    return x.shape[2] % 2 == 1


def pairs_of_runs(x: jax.Array) -> jax.Array:
    batch, height, runs, channels = x.shape
    return x.reshape(batch, height, runs * RUN // 2, channels * 2 // RUN)


def pairs_of_double_rows(x: jax.Array) -> jax.Array:
    batch, height, _, width, channels = x.shape
    return x.reshape(batch, 2 * height, width, channels)


def pixels_of_double_rows(x: jax.Array) -> jax.Array:
    batch, height, _, width, channels = x.shape
    return x.reshape(batch, 2 * height, 2 * width, channels // 2)


class PackingConv(nn.Module):
    """A 3x3 `nn.Conv` with the variables of one, from few channels to what `pairs_of_runs` makes
    pairs of.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: int = 1
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        x, kernel, bias = _variables(self, x, 3, channels)
        # A run of pixels, with the one before it and the one after it, as channels.
        runs = x.reshape(batch, height, width // RUN, RUN * channels)
        before = jnp.pad(runs[:, :, :-1, -channels:], ((0, 0), (0, 0), (1, 0), (0, 0)))
        after = jnp.pad(runs[:, :, 1:, :channels], ((0, 0), (0, 0), (0, 1), (0, 0)))
        places = _places(lambda _, d, r: d - r, (0,), RUN + 2, RUN, 3)[0]
        spread = _einsum("qrv,uvio->uqiro", places, kernel)
        # From pixels to pairs of them, beside each other in every channel.
        spread = spread.reshape(3, 1, -1, RUN // 2, 2, self.features).swapaxes(4, 5)
        spread = spread.reshape(*spread.shape[:3], -1)
        x = convolve(jnp.concatenate([before, runs, after], axis=-1), spread, (1, 1), (0, 0))
        return x if bias is None else x + jnp.tile(jnp.repeat(bias, 2), RUN // 2)


class PackedConv(nn.Module):
    """`nn.Conv` with the variables of one, on pairs: 3x3, or 1x1.

    With stride 1 the result is packed too, and of 3x3 the other way than the input. With stride 2
    the input is not shifted and the result is not packed.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: int = 0
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, outputs = self.kernel_size[0], 2 // self.strides[0]
        x, kernel, bias = _variables(self, x, size, x.shape[-1] // 2)
        shifted = is_shifted(x)
        if shifted:
            x = jnp.where(inside(*x.shape[2:]), x, 0)
        # The pairs of the result start a pixel before those of the input, or after them.
        further = (-1 if shifted else 1) if outputs == 2 and size == 3 else 0
        places = _places(
            lambda d, q, r: 2 * d + q - r + further + size // 2, (-1, 0, 1), 2, outputs, size
        )
        reached = np.flatnonzero(places.any(axis=(1, 2, 3)))
        spread = _einsum("dqrv,uvio->udiqor", places[reached], kernel)
        spread = spread.reshape(size, reached.size, -1, self.features * outputs)
        columns = (1 - int(reached[0]), int(reached[-1]) - 1 + further)
        x = convolve(x, spread, (size // 2, size // 2), columns, (self.strides[0], 1))
        return x if bias is None else x + jnp.repeat(bias, outputs)


class PackedDoublingConv(nn.Module):
    """`layers.DoublingConv` with the variables of one, from pixels to what `pairs_of_double_rows`
    makes pairs of.
    """

    features: int
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, kernel, bias = _variables(self, x, 3, x.shape[-1])
        x = _double(x, _einsum("dpu,eqv,uvio->dpeioq", *_DOUBLING, kernel))
        return x if bias is None else x + jnp.repeat(bias, 2)


class UnpackedDoublingConv(nn.Module):
    """The same to what `pixels_of_double_rows` makes pixels of."""

    features: int
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, kernel, bias = _variables(self, x, 3, x.shape[-1])
        x = _double(x, _einsum("dpu,eqv,uvio->dpeiqo", *_DOUBLING, kernel))
        return x if bias is None else x + jnp.tile(bias, 2)


class PackedHead(nn.Module):
    """A 1x1 `nn.Conv` to one channel, with the variables of one, of packed arrays that would be
    concatenated if they lay alike: `[B, H, W, 1]`.
    """

    features: int = 1
    use_bias: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, parts: list[jax.Array]) -> jax.Array:
        channels = [part.shape[-1] // 2 for part in parts]
        *parts, kernel, bias = _variables(self, parts, 1, sum(channels))
        total, start = bias, 0
        for part, count in zip(parts, channels, strict=True):
            places = _run_places(is_shifted(part))
            of_part = kernel[:, :, start : start + count]
            spread = _einsum("dqrv,uvio->udiqor", places, of_part)
            spread = spread.reshape(1, len(places), -1, RUN)
            total = total + convolve(part, spread, (0, 0), (0, 0), (1, RUN // 2))
            start += count
        batch, height, runs, _ = total.shape
        return total.reshape(batch, height, runs * RUN, 1)


def _variables(module: Any, x: Any, size: int, inputs: int) -> tuple[Any, ...]:
    """What the module computes with, in one dtype: `x`, its kernel and its bias or None."""
    shape = (size, size, inputs, module.features)
    kernel = module.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = None
    if module.use_bias:
        bias = module.param("bias", nn.initializers.zeros_init(), (module.features,))
    arrays = x if isinstance(x, list) else [x]
    return tuple(dtypes.promote_dtype(*arrays, kernel, bias, dtype=module.dtype))


def _places(
    place: Callable[[int, int, int], int],
    reach: Sequence[int],
    inputs: int,
    outputs: int,
    size: int,
) -> np.ndarray:
    """1 where the pixel q of the input's group at d and the pixel r of a group of the result meet
    at a place of the kernel: `[len(reach), inputs, outputs, size]`.
    """
    found = np.zeros((len(reach), inputs, outputs, size))
    for i, q, r in np.ndindex(len(reach), inputs, outputs):
        if 0 <= place(reach[i], q, r) < size:
            found[i, q, r, place(reach[i], q, r)] = 1
    return found


def _run_places(shifted: bool) -> np.ndarray:
    """Where the pixels of pairs and those of a run of them meet in a 1x1 kernel, as `_places`."""
    # A run of pixels is one of pairs, and if they are shifted of one more.
    reach = range(RUN // 2 + shifted)
    return _places(lambda d, q, r: 2 * d + q - r - shifted, reach, 2, RUN, 1)


def _doubling_places() -> tuple[np.ndarray, np.ndarray]:
    """Where the pixel d and the pixel p of a pair of the result meet, on either axis: `[2, 2, 3]`.

    On the first axis the pairs are backwards, as `_double` takes them.
    """
    columns = _places(lambda d, _, r: 2 * d - r + 1, range(2), 1, 2, 3)[:, 0]
    return columns[:, ::-1], columns


_DOUBLING = _doubling_places()


def _einsum(rule: str, *operands: Any) -> jax.Array:
    """Spreads a kernel, the last operand, by places: every element is one of the kernel's, or 0."""
    *places, kernel = operands
    places = [place.astype(kernel.dtype) for place in places]
    return jnp.einsum(rule, *places, kernel, precision=lax.Precision.HIGHEST)


def _double(x: jax.Array, spread: jax.Array) -> jax.Array:
    """Convolves with a kernel `[2, 2, 2, C, D, E]`: `[B, H, 2, W, D E]`, two rows of one.

    The kernel meets the picture, one pixel deep, with either of its ends. So both rows land where
    they belong, without a copy.
    """
    spread = spread.reshape(*spread.shape[:4], -1)
    padding = ((0, 1), (1, 1), (0, 1))
    return lax.conv_general_dilated(
        x[:, :, None], spread, (1, 1, 1), padding, dimension_numbers=VOLUMES
    )


def inside(width: int, channels: int) -> np.ndarray:
    """Which pixels of shifted pairs are part of the picture: `[width, channels]`."""
    column = 2 * np.arange(width)[:, None] + np.arange(channels) % 2 - 1
    return (column >= 0) & (column < 2 * width - 2)
