"""Convolutions on pairs of adjacent pixels, for chips whose vectors have 128 lanes.

At full resolution a network has 64 channels, which fill half of such a vector. Two adjacent pixels,
packed into one pixel with twice the channels, fill it completely. Packing is exact: it sums the
same products, and products with zeros.

A packed array is `[B, H, W / 2, 2 C]`. Pixel q of a pair, in channel c, is at index 2 c + q of the
last axis. Packed arrays can therefore be concatenated and sliced along channels like unpacked ones.

In a *shifted* packed array, the first pair starts one pixel before the edge of the image. A row
then has one more pair, and its first and last pixel are not part of the image. A 3x3 convolution
maps an array that is not shifted to a shifted one and vice versa. Its kernel then covers two pairs
in a row; without the shift it would cover three.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax
from jax.typing import DTypeLike

from fcfrnet_jax.networks.layers import with_kernel
from fcfrnet_jax.networks.tpu.operations import convolve

# Pixels in a row that the first and the last layer, which have few channels, pack into one. Image
# widths are multiples of it.
RUN = 16
# Dimension numbers, channels last, of a batch of volumes.
VOLUMES = ("NDHWC", "DHWIO", "NDHWC")


def unpack(x: jax.Array) -> jax.Array:
    """Unpacks pairs that are not shifted to pixels `[B, H, W, C]`."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // 2, 2)
    return x.swapaxes(3, 4).reshape(batch, height, 2 * width, channels // 2)


def is_shifted(x: jax.Array) -> bool:
    """Whether a packed array is shifted.

    Image widths are multiples of 16 pixels, so only shifted arrays have an odd number of pairs.
    """
    return x.shape[2] % 2 == 1


def pairs_of_runs(x: jax.Array) -> jax.Array:
    """Reshapes the output of `PackingConv` to pairs."""
    batch, height, runs, channels = x.shape
    return x.reshape(batch, height, runs * RUN // 2, channels * 2 // RUN)


def pairs_of_double_rows(x: jax.Array) -> jax.Array:
    """Reshapes the output of `ArrangedDoublingConv` to pairs."""
    batch, height, _, width, channels = x.shape
    return x.reshape(batch, 2 * height, width, channels)


def pixels_of_double_rows(x: jax.Array) -> jax.Array:
    """Reshapes the output of `ArrangedDoublingConv` to pixels."""
    batch, height, _, width, channels = x.shape
    return x.reshape(batch, 2 * height, 2 * width, channels // 2)


class PackingConv(nn.Module):
    """3x3 `nn.Conv`, with the same variables, for inputs with few channels.

    The input is `[B, H, W, C]`, not packed. `pairs_of_runs` reshapes the output to pairs.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: int = 1
    use_bias: bool = True
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        x, kernel, bias = _variables(self, [x], 3, channels)
        # Each run of pixels, together with the pixel before it and the one after it, as channels.
        runs = x.reshape(batch, height, width // RUN, RUN * channels)
        before = jnp.pad(runs[:, :, :-1, -channels:], ((0, 0), (0, 0), (1, 0), (0, 0)))
        after = jnp.pad(runs[:, :, 1:, :channels], ((0, 0), (0, 0), (0, 1), (0, 0)))
        places = _places(lambda _, d, r: d - r, (0,), RUN + 2, RUN, 3)[0]
        spread = _einsum("qrv,uvio->uqiro", places, kernel)
        # Reorder the pixels of the output to pairs.
        spread = spread.reshape(3, 1, -1, RUN // 2, 2, self.features).swapaxes(4, 5)
        spread = spread.reshape(*spread.shape[:3], -1)
        x = convolve(jnp.concatenate([before, runs, after], axis=-1), spread, (1, 1), (0, 0))
        return x if bias is None else x + jnp.tile(jnp.repeat(bias, 2), RUN // 2)


class PackedConv(nn.Module):
    """3x3 or 1x1 `nn.Conv`, with the same variables, of packed arrays.

    With stride 1 the output is packed; with a 3x3 kernel it is shifted if the input is not, and
    vice versa. With stride 2 the input must not be shifted, and the output is not packed.
    """

    features: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    padding: int = 0
    use_bias: bool = True
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, outputs = self.kernel_size[0], 2 // self.strides[0]
        x, kernel, bias = _variables(self, [x], size, x.shape[-1] // 2)
        shifted = is_shifted(x)
        if shifted:
            x = jnp.where(inside(*x.shape[2:]), x, 0)
        # Output pairs start one pixel before the input pairs, or one pixel after them.
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


class ArrangedDoublingConv(nn.Module):
    """`layers.DoublingConv`, with the same variables, whose output still has to be reshaped.

    With `packed`, `pairs_of_double_rows` reshapes it to pairs, otherwise `pixels_of_double_rows` to
    pixels.
    """

    features: int
    packed: bool
    use_bias: bool = True
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x, kernel, bias = _variables(self, [x], 3, x.shape[-1])
        order = "oq" if self.packed else "qo"
        x = _double(x, _einsum(f"dpu,eqv,uvio->dpei{order}", *_DOUBLING, kernel))
        if bias is None:
            return x
        return x + (jnp.repeat(bias, 2) if self.packed else jnp.tile(bias, 2))


class PackedHead(nn.Module):
    """`layers.Head`, with the same variables, of packed arrays.

    Some of the arrays may be shifted. The output is `[B, H, W, 1]`, not packed.
    """

    features: int = 1
    use_bias: bool = True
    dtype: DTypeLike | None = None

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


def _variables(
    module: PackingConv | PackedConv | ArrangedDoublingConv | PackedHead,
    arrays: Sequence[jax.Array],
    size: int,
    inputs: int,
) -> list[Any]:
    """Returns `arrays`, the kernel and the bias (or None) of a module, all in one dtype."""
    shape = (size, size, inputs, module.features)
    return with_kernel(module, shape, *arrays, use_bias=module.use_bias)


def _places(
    place: Callable[[int, int, int], int],
    reach: Sequence[int],
    inputs: int,
    outputs: int,
    size: int,
) -> np.ndarray:
    """Which kernel element connects an input pixel with an output pixel, on one axis.

    Args:
      place: maps (d, q, r) to the index in the kernel that connects pixel q of the input group at
        distance d with pixel r of the output group. There is none if it is outside the kernel.
      reach: the distances d.
      inputs, outputs: pixels in a group of the input and of the output.
      size: of the kernel.

    Returns:
      Ones and zeros, `[len(reach), inputs, outputs, size]`.
    """
    found = np.zeros((len(reach), inputs, outputs, size))
    for i, q, r in np.ndindex(len(reach), inputs, outputs):
        if 0 <= place(reach[i], q, r) < size:
            found[i, q, r, place(reach[i], q, r)] = 1
    return found


def _run_places(shifted: bool) -> np.ndarray:
    """`_places` of a 1x1 kernel from pairs to runs of pixels."""
    # Shifted pairs need one more pair to cover a run.
    reach = range(RUN // 2 + shifted)
    return _places(lambda d, q, r: 2 * d + q - r - shifted, reach, 2, RUN, 1)


def _doubling_places() -> tuple[np.ndarray, np.ndarray]:
    """`_places` of `DoublingConv` from pixels to pairs, on both axes: `[2, 2, 3]` each.

    On the first axis, the pairs are in reverse order, which `_double` expects.
    """
    columns = _places(lambda d, _, r: 2 * d - r + 1, range(2), 1, 2, 3)[:, 0]
    return columns[:, ::-1], columns


_DOUBLING = _doubling_places()


def _einsum(rule: str, *operands: np.ndarray | jax.Array) -> jax.Array:
    """Distributes the elements of a kernel, the last operand, according to `_places`."""
    *places, kernel = operands
    places = [place.astype(kernel.dtype) for place in places]
    return jnp.einsum(rule, *places, kernel, precision=lax.Precision.HIGHEST)


def _double(x: jax.Array, spread: jax.Array) -> jax.Array:
    """Convolves `[B, H, W, C]` with `[2, 2, 2, C, D, E]` to `[B, H, 2, W, D E]`.

    Each row gives two. The input is a volume of depth 1, which the kernel, of depth 2, covers with
    either half. The output therefore has both rows in their final positions, without a copy.
    """
    spread = spread.reshape(*spread.shape[:4], -1)
    padding = ((0, 1), (1, 1), (0, 1))
    return lax.conv_general_dilated(
        x[:, :, None], spread, (1, 1, 1), padding, dimension_numbers=VOLUMES
    )


def inside(width: int, channels: int) -> np.ndarray:
    """Which pixels of shifted pairs are part of the image: `[width, channels]`."""
    column = 2 * np.arange(width)[:, None] + np.arange(channels) % 2 - 1
    return (column >= 0) & (column < 2 * width - 2)
