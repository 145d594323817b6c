"""Variables for inference: BatchNorm and the channel shuffles folded into the convolutions.

The networks that `models.build(spec, folded=True)` builds compute with them what those of the
original variables compute in eval mode, but for rounding, and run neither.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.models import (
    NORM_EPSILON,
    CoarseToFine,
    SparseToCoarse,
    TwoStage,
    build,
)
from fcfrnet_jax.specs import COARSE_TO_FINE, ModelSpec, TwoStageSpec

Tree = dict[str, Any]


def prepare(
    spec: ModelSpec | TwoStageSpec, variables: Tree, dtype: Any = jnp.float32
) -> tuple[SparseToCoarse | CoarseToFine | TwoStage, Tree]:
    """Returns what runs fastest in eval mode: the folded network, and `fold` of its variables.

    Args:
      spec, variables: the model, as `models.build` has it.
      dtype: of the convolutions.
    """
    return build(spec, dtype=dtype, folded=True), fold(spec, variables)


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
    """Reorders the inputs of what reads shuffled branches, which without shuffling are halves.

    The readers of a level are the first convolutions of both branches' next one, which for a later
    ResNet layer are the first block's two, and one layer of the decoder. It gets the channels from
    below first, then those of the skip connection: of both branches, or of their fusion, which
    compares channels that stay each other's partners.
    """
    halves = 1 if spec.variant == "paper" else 2
    for level in ("conv3", "conv4", "conv5", "conv6"):
        _reorder_level(params[level])
        _reorder_level(params[f"{level}_2"])
    _reorder(params["convt5"]["conv"], 0, 1)
    below = 4 * spec.width
    for decoder in ("convt4", "convt3", "convt2", "convt1"):
        _reorder(params[decoder]["conv"], below, halves)
        below = params[decoder]["conv"]["kernel"].shape[-1]


def _reorder_level(level: Tree) -> None:
    if "conv" in level:
        _reorder(level["conv"], 0, 1)
        return
    for name in ("conv1", "proj_conv"):
        _reorder(level["block0"][name], 0, 1)


def _reorder(conv: Tree, start: int, count: int) -> None:
    """Reorders `count` equal parts of a kernel's inputs from `start` on: the even ones, the odd."""
    kernel = conv["kernel"]
    inputs = kernel.shape[2]
    order = list(range(start))
    size = (inputs - start) // count
    for first in range(start, inputs, size):
        order += [*range(first, first + size, 2), *range(first + 1, first + size, 2)]
    conv["kernel"] = kernel[:, :, order]
