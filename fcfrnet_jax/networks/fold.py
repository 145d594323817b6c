"""Folds BatchNorm and the channel shuffles into the convolutions, for inference.

With the folded variables, `models.build(spec, folded=True)` computes the same depth as the plain
network in eval mode, up to rounding.
"""

from typing import Any

import numpy as np

from fcfrnet_jax.networks.layers import HEAD, NORM_EPSILON
from fcfrnet_jax.networks.models import Variables
from fcfrnet_jax.networks.specs import CoarseToFineSpec, Spec, TwoStageSpec


def fold(spec: Spec, variables: Variables) -> Variables:
    """Folds the variables of a model, computing in float64.

    Args:
      spec: the model.
      variables: `params` and `batch_stats` of `models.build(spec)`.

    Returns:
      `{"params": ...}` of `models.build(spec, folded=True)`, NumPy arrays of the same dtypes.
    """
    params, statistics = variables["params"], variables["batch_stats"]
    if isinstance(spec, TwoStageSpec):
        stages: dict[str, Spec] = {"coarse": spec.coarse, "fine": spec.fine}
        folded = {
            name: fold(stage, {"params": params[name], "batch_stats": statistics[name]})["params"]
            for name, stage in stages.items()
        }
        return {"params": folded}
    folded = _without_norms(params, statistics)
    if isinstance(spec, CoarseToFineSpec):
        _unshuffle(folded, spec)
    return {"params": folded}


def _without_norms(params: Variables, statistics: Variables) -> Variables:
    """Multiplies the scale of every BatchNorm into the convolution before it."""
    folded: Variables = {}
    for name, leaf in params.items():
        norm = name.replace("conv", "norm")
        if not isinstance(leaf, dict):
            folded[name] = np.asarray(leaf)
        elif "kernel" in leaf and norm in params:
            folded[name] = _normalised(leaf["kernel"], params[norm], statistics[norm])
        elif name not in statistics or "mean" not in statistics[name]:
            folded[name] = _without_norms(leaf, statistics.get(name, {}))
    return folded


def _normalised(kernel: Any, norm: Variables, statistics: Variables) -> Variables:
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


def _unshuffle(params: Variables, spec: CoarseToFineSpec) -> None:
    """Reorders the input channels of all convolutions that read shuffled branches.

    These are the first convolutions of the next level in both encoders (two in a ResNet layer), and
    one layer of the decoder. The inputs of the latter are the output of the decoder layer before
    it, then the skip: both branches, or their fusion.

    The shuffled channels of a branch are [a1 b1 a2 b2 ..]. In the folded network they are
    [a1 a2 .. b1 b2 ..], and [b1 b2 .. a1 a2 ..] in the second branch of the released wiring (see
    `ExchangeHalves`).
    """
    released = spec.variant != "paper"
    for level in ("conv3", "conv4", "conv5", "conv6"):
        for branch in (level, f"{level}_2"):
            # In the released wiring, no other level reads the second branch.
            second = released and branch == "conv3_2"
            for conv in _first_convs(params[branch]):
                order = _evens_first(conv["kernel"].shape[2])
                _reorder_inputs(conv, _swapped(order) if second else order)
    deepest = params["convt5"]["conv"]
    _reorder_inputs(deepest, _evens_first(deepest["kernel"].shape[2]))
    below = 4 * spec.width
    for decoder in ("convt4", "convt3", "convt2", "convt1"):
        conv = params[decoder]["conv"]
        skip = conv["kernel"].shape[2] - below
        if released:
            order = _evens_first(skip // 2)
            order = np.concatenate([order, skip // 2 + _swapped(order)])
        else:
            order = _evens_first(skip)
        _reorder_inputs(conv, order, below)
        below = conv["kernel"].shape[-1]
    if released:
        _swap_second_branch(params)


def _swap_second_branch(params: Variables) -> None:
    """Swaps the halves of the second branch's channels from `conv2_2` to `conv5_2`.

    `ExchangeHalves` expects them in this order.
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
            # The first block adds its input, the stem, which the last layer also reads, as its last
            # input.
            stem, head = params["conv1_d_2"]["conv"], params[HEAD]
            _swap_outputs(stem)
            _swap_last_inputs(head, stem["kernel"].shape[-1])


def _first_convs(level: Variables) -> list[Variables]:
    if "conv" in level:
        return [level["conv"]]
    return [level["block0"]["conv1"], level["block0"]["proj_conv"]]


def _evens_first(count: int) -> np.ndarray:
    """The even channels, then the odd ones."""
    return np.concatenate([np.arange(0, count, 2), np.arange(1, count, 2)])


def _swapped(order: np.ndarray) -> np.ndarray:
    return np.roll(order, order.size // 2)


def _reorder_inputs(conv: Variables, order: np.ndarray, start: int = 0) -> None:
    """Reorders the input channels of a kernel from `start` on."""
    kernel = conv["kernel"]
    conv["kernel"] = kernel[:, :, np.concatenate([np.arange(start), start + order])]


def _swap_last_inputs(conv: Variables, count: int) -> None:
    """Swaps the halves of the last `count` input channels of a kernel."""
    _reorder_inputs(conv, _swapped(np.arange(count)), conv["kernel"].shape[2] - count)


def _swap_outputs(conv: Variables) -> None:
    for name, leaf in conv.items():
        conv[name] = leaf[..., _swapped(np.arange(leaf.shape[-1]))]
