"""Selects the fastest form of a network for the backend in use."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from fcfrnet_jax.networks.cpu.conv import CompilerOptions, CpuConv, compiler_options
from fcfrnet_jax.networks.cpu.parts import CpuParts
from fcfrnet_jax.networks.cpu.winograd import transform_kernel
from fcfrnet_jax.networks.fold import fold
from fcfrnet_jax.networks.gpu.parts import GpuParts
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.models import Network, Variables, build, shapes_of
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec, TwoStageSpec
from fcfrnet_jax.networks.tpu.parts import PackedParts


class Prediction(NamedTuple):
    """A network in the form that prediction runs.

    Attributes:
      network: the folded network, to call as `network.apply(variables, image, depth)`.
      variables: the variables of `network`, NumPy arrays.
      compiler_options: options for `jax.jit`; empty for the defaults.
    """

    network: Network
    variables: Variables
    compiler_options: CompilerOptions


def for_prediction(
    spec: Spec,
    variables: Variables,
    dtype: DTypeLike = jnp.float32,
    *,
    parts: type[Parts] | None = None,
) -> Prediction:
    """Returns the fastest form of a network in eval mode.

    Args:
      spec: the model.
      variables: `params` and `batch_stats` of `models.build(spec)`.
      dtype: dtype of the convolutions.
      parts: makes the layers; None for the fastest ones.
    """
    on_cpu = jax.default_backend() == "cpu"
    conv = partial(CpuConv, predicts=True) if on_cpu and not _has_patches(spec) else nn.Conv
    network = build(spec, dtype=dtype, folded=True, conv=conv, parts=parts or _parts(spec))
    folded = _transformed(fold(spec, variables), shapes_of(network))
    options = compiler_options(jnp.dtype(dtype), _has_patches(spec))
    return Prediction(network, _rounded(folded, dtype), options)


def for_training(
    spec: Spec,
    *,
    dtype: DTypeLike = jnp.float32,
    remat: bool = False,
    parts: type[Parts] | None = None,
) -> Network:
    """Returns the form of a network that trains fastest, with the variables of `models.build`.

    Args:
      spec: the model.
      dtype: dtype of the convolutions.
      remat: keep only the inputs of ResNet blocks, stems and decoder layers, and recompute the
        other activations in the backward pass. This takes less memory and more time; gradients are
        the same.
      parts: makes the layers; None for the fastest ones.
    """
    conv = CpuConv if jax.default_backend() == "cpu" else nn.Conv
    return build(spec, dtype=dtype, remat=remat, conv=conv, parts=parts or _parts(spec))


def can_pack(spec: Spec) -> bool:
    """Whether `PackedParts` can make the layers of a network.

    It supports ResNet-18 and 34. It does not support the wiring of the paper, which compares
    energies at full resolution.
    """
    if isinstance(spec, TwoStageSpec):
        return can_pack(spec.coarse) and can_pack(spec.fine)
    paper = isinstance(spec, CoarseToFineSpec) and spec.variant == "paper"
    return spec.layers < 50 and spec.patch == 1 and not paper


def _parts(spec: Spec) -> type[Parts]:
    backend = jax.default_backend()
    if backend == "tpu" and can_pack(spec):
        return PackedParts
    if backend == "cpu" and _has_patches(spec):
        return CpuParts
    return GpuParts if backend == "gpu" else Parts


def _has_patches(spec: Spec) -> bool:
    return (spec.fine if isinstance(spec, TwoStageSpec) else spec).patch > 1


def _transformed(folded: Variables, shapes: Variables) -> Variables:
    """Transforms the kernels of the convolutions that use Winograd F(4x4, 3x3)."""
    return jax.tree.map(
        lambda leaf, wanted: leaf if leaf.ndim == wanted.ndim else transform_kernel(leaf),
        folded,
        shapes,
    )


def _rounded(folded: Variables, dtype: DTypeLike) -> Variables:
    """Casts all variables except those of the last layer, which computes in float32.

    The network would otherwise cast them in every call.
    """

    def rounded(path: tuple, leaf: np.ndarray) -> np.ndarray:
        exact = any(key.key == HEAD for key in path)
        wider = leaf.dtype.itemsize > jnp.dtype(dtype).itemsize
        return leaf.astype(dtype) if wider and not exact else leaf

    return jax.tree_util.tree_map_with_path(rounded, folded)
