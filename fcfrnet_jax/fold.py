"""Variables for inference: BatchNorm and the channel shuffles folded into the convolutions.

The networks that `models.build(spec, folded=True)` builds compute with them what those of the
original variables compute in eval mode, but for rounding, and run neither.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from fcfrnet_jax.cpu_conv import CpuConv
from fcfrnet_jax.models import CoarseToFine, SparseToCoarse, TwoStage, build, can_pack, shapes_of
from fcfrnet_jax.network import HEAD, NORM_EPSILON
from fcfrnet_jax.specs import COARSE_TO_FINE, ModelSpec, TwoStageSpec
from fcfrnet_jax.winograd import transform_kernel

Tree = dict[str, Any]


def prepare(
    spec: ModelSpec | TwoStageSpec, variables: Tree, dtype: Any = jnp.float32
) -> tuple[SparseToCoarse | CoarseToFine | TwoStage, Tree]:
    """Returns what runs fastest in eval mode: the folded network, and `fold` of its variables.

    Args:
      spec, variables: the model, as `models.build` has it.
      dtype: of the convolutions.
    """
    backend = jax.default_backend()
    packed = backend == "tpu" and can_pack(spec)
    conv = partial(CpuConv, predicts=True) if backend == "cpu" else nn.Conv
    network = build(spec, dtype=dtype, folded=True, packed=packed, conv=conv)
    return network, _rounded(_transformed(fold(spec, variables), shapes_of(network)), dtype)


def fold(spec: ModelSpec | TwoStageSpec, variables: Tree) -> Tree:
    """Folds the variables of a model; float64 within.

    Args:
      spec: what they are of.
      variables: `params` and `batch_stats` of `models.build(spec)`.

    Returns:
      `{"params": ...}` of `models.build(spec, folded=True)`, NumPy arrays of the same dtypes.
    """
    params, statistics = variables["params"], variables["batch_stats"]
    if isinstance(spec, TwoStageSpec):
        stages = {"coarse": spec.coarse, "fine": spec.fine}
        folded = {
            name: fold(stage, {"params": params[name], "batch_stats": statistics[name]})["params"]
            for name, stage in stages.items()
        }
        return {"params": folded}
    folded = _without_norms(params, statistics)
    if spec.network == COARSE_TO_FINE:
        _unshuffle(folded, spec)
    return {"params": folded}


def _transformed(folded: Tree, shapes: Tree) -> Tree:
    """Gives every kernel that the network has in Winograd's form that form."""
    return jax.tree.map(
        lambda leaf, wanted: leaf if leaf.ndim == wanted.ndim else transform_kernel(leaf),
        folded,
        shapes,
    )


def _rounded(folded: Tree, dtype: Any) -> Tree:
    """Rounds once what the network would round in every call: all but the layer in float32."""

    def rounded(path: Any, leaf: np.ndarray) -> np.ndarray:
        exact = any(key.key == HEAD for key in path)
        wider = leaf.dtype.itemsize > jnp.dtype(dtype).itemsize
        return leaf.astype(dtype) if wider and not exact else leaf

    return jax.tree_util.tree_map_with_path(rounded, folded)


def _without_norms(params: Tree, statistics: Tree) -> Tree:
    """Gives every convolution with a normalisation after it the scale and the shift of that."""
    folded: Tree = {}
    for name, leaf in params.items():
        norm = name.replace("conv", "norm")
        if not isinstance(leaf, dict):
            folded[name] = np.asarray(leaf)
        elif "kernel" in leaf and norm in params:
            folded[name] = _normalised(leaf["kernel"], params[norm], statistics[norm])
        elif name not in statistics or "mean" not in statistics[name]:
            folded[name] = _without_norms(leaf, statistics.get(name, {}))
    return folded


def _normalised(kernel: Any, norm: Tree, statistics: Tree) -> Tree:
    scale, shift, mean, variance = (
        np.asarray(leaf, np.float64)
        for leaf in (norm["scale"], norm["bias"], statistics["mean"], statistics["var"])
    )
    factor = scale / np.sqrt(variance + NORM_EPSILON)
    dtype = np.asarray(kernel).dtype
    return {
        "kernel": (np.asarray(kernel, np.float64) * factor).astype(dtype),
        "bias": (shift - mean * factor).astype(dtype),
    }


def _unshuffle(params: Tree, spec: ModelSpec) -> None:
    """Reorders the inputs of what reads shuffled branches, which without shuffling get halves.

    The readers of a level are the first convolutions of both branches' next one, which for a later
    ResNet layer are the first block's two, and one layer of the decoder. It gets the channels from
    below first, then those of the skip connection: of both branches, or of their fusion, which
    compares channels that stay each other's partners.
    """
    swapping = spec.variant != "paper"
    for level in ("conv3", "conv4", "conv5", "conv6"):
        for branch in (level, f"{level}_2"):
            # Of the released wiring's branches this alone reads the second of two.
            second = swapping and branch == "conv3_2"
            for conv in _first_convs(params[branch]):
                order = _apart(conv["kernel"].shape[2])
                _reorder_inputs(conv, _swapped(order) if second else order)
    _reorder_inputs(params["convt5"]["conv"], _apart(params["convt5"]["conv"]["kernel"].shape[2]))
    below = 4 * spec.width
    for decoder in ("convt4", "convt3", "convt2", "convt1"):
        conv = params[decoder]["conv"]
        order = _apart(conv["kernel"].shape[2] - below)
        if swapping:
            first, last = np.split(order, 2)
            order = np.concatenate([first, _swapped(last)])
        _reorder_inputs(conv, order, below)
        below = conv["kernel"].shape[-1]
    if swapping:
        _swap_second_branch(params)


def _swap_second_branch(params: Tree) -> None:
    """Swaps the halves of the second branch's channels from `conv2_2` to `conv5_2`, so that
    `layers.exchange_halves` moves none of them to another place.
    """
    for level in ("conv2_2", "conv3_2", "conv4_2", "conv5_2"):
        blocks = params[level]
        for name, block in blocks.items():
            last = max(conv for conv in block if conv.startswith("conv"))
            for conv in (last, "proj_conv"):
                if conv in block:
                    _swap_outputs(block[conv])
            if name != "block0" or "proj_conv" not in block:
                _swap_last_inputs(block["conv1"], block["conv1"]["kernel"].shape[2])
        if "proj_conv" not in blocks["block0"]:
            # What its first block adds to is the stem, which the last layer reads last.
            stem, head = params["conv1_d_2"]["conv"], params["convtf"]
            _swap_outputs(stem)
            _swap_last_inputs(head, stem["kernel"].shape[-1])


def _first_convs(level: Tree) -> list[Tree]:
    if "conv" in level:
        return [level["conv"]]
    return [level["block0"]["conv1"], level["block0"]["proj_conv"]]


def _apart(count: int) -> np.ndarray:
    """The even channels, then the odd."""
    return np.concatenate([np.arange(0, count, 2), np.arange(1, count, 2)])


def _swapped(order: np.ndarray) -> np.ndarray:
    return np.roll(order, order.size // 2)


def _reorder_inputs(conv: Tree, order: np.ndarray, start: int = 0) -> None:
    """Reorders a kernel's inputs from `start` on."""
    kernel = conv["kernel"]
    conv["kernel"] = kernel[:, :, np.concatenate([np.arange(start), start + order])]


def _swap_last_inputs(conv: Tree, count: int) -> None:
    """Swaps the halves of the last `count` inputs of a kernel."""
    _reorder_inputs(conv, _swapped(np.arange(count)), conv["kernel"].shape[2] - count)


def _swap_outputs(conv: Tree) -> None:
    for name, leaf in conv.items():
        conv[name] = leaf[..., _swapped(np.arange(leaf.shape[-1]))]
