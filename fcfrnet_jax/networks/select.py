"""Chooses the form of a network that is fastest on the backend in use."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import DTypeLike

from fcfrnet_jax.networks.cpu.conv import CpuConv, compiler_options
from fcfrnet_jax.networks.cpu.winograd import transform_kernel
from fcfrnet_jax.networks.fold import Tree, fold
from fcfrnet_jax.networks.layers import HEAD
from fcfrnet_jax.networks.models import Network, build, shapes_of
from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec, TwoStageSpec
from fcfrnet_jax.networks.tpu.parts import PackedParts


class Prediction(NamedTuple):
    """What prediction runs.

    Attributes:
      network: the folded network; `network.apply(variables, image, depth)`.
      variables: its variables, made from those of the plain network.
      compiler_options: for `jax.jit` or `compile`; empty for the defaults.
    """

    network: Network
    variables: Tree
    compiler_options: dict[str, Any]


def for_prediction(spec: Spec, variables: Tree, dtype: DTypeLike = jnp.float32) -> Prediction:
    """Returns the fastest form of a network in eval mode.

    Args:
      spec: what the network is.
      variables: `params` and `batch_stats` of `models.build(spec)`.
      dtype: of the convolutions.
    """
    conv = partial(CpuConv, predicts=True) if jax.default_backend() == "cpu" else nn.Conv
    settings = {"dtype": dtype, "folded": True, "conv": conv} | _packed(spec)
    network = build(spec, **settings)
    folded = _transformed(fold(spec, variables), shapes_of(network))
    return Prediction(network, _rounded(folded, dtype), compiler_options(jnp.dtype(dtype)))


def for_training(spec: Spec, *, dtype: DTypeLike = jnp.float32, remat: bool = False) -> Network:
    """Returns the form of a network that trains fastest; its variables are the plain ones.

    Args:
      spec: what the network is.
      dtype: of the convolutions.
      remat: keep only the inputs of ResNet blocks, stems and decoder layers, and recompute the rest
        in the backward pass: less memory for more time, the same gradients.
    """
    conv = CpuConv if jax.default_backend() == "cpu" else nn.Conv
    return build(spec, dtype=dtype, remat=remat, conv=conv, **_packed(spec))


def can_pack(spec: Spec) -> bool:
    """Whether a network has a packed form.

    Those of ResNet-18 and 34 have one, except the paper's wiring, which compares energies at full
    resolution.
    """
    if isinstance(spec, TwoStageSpec):
        return can_pack(spec.coarse) and can_pack(spec.fine)
    paper = isinstance(spec, CoarseToFineSpec) and spec.variant == "paper"
    return spec.layers < 50 and not paper


def _packed(spec: Spec) -> dict[str, Any]:
    packed = jax.default_backend() == "tpu" and can_pack(spec)
    return {"parts": PackedParts} if packed else {}


def _transformed(folded: Tree, shapes: Tree) -> Tree:
    """Transforms every kernel that the network expects in Winograd's form."""
    return jax.tree.map(
        lambda leaf, wanted: leaf if leaf.ndim == wanted.ndim else transform_kernel(leaf),
        folded,
        shapes,
    )


def _rounded(folded: Tree, dtype: DTypeLike) -> Tree:
    """Rounds once what the network would round in every call: all except the last layer."""

    def rounded(path: Any, leaf: np.ndarray) -> np.ndarray:
        exact = any(key.key == HEAD for key in path)
        wider = leaf.dtype.itemsize > jnp.dtype(dtype).itemsize
        return leaf.astype(dtype) if wider and not exact else leaf

    return jax.tree_util.tree_map_with_path(rounded, folded)
