"""Finds the state dict of a network in the contents of a checkpoint."""

import re
from typing import Any

import numpy as np

from fcfrnet_jax.weights.foreign.pickle_nodes import (
    Call,
    CheckpointError,
    is_call,
    list_printable,
    printable_name,
)

# Names under which training scripts save the state dict, and the moving average of the weights.
_STATES = ("model", "state_dict", "model_state_dict", "net", "network")
_AVERAGES = ("model_ema", "ema", "ema_model", "state_dict_ema", "ema_state_dict", "averaged_model")
# What wrappers put before every name: data-parallel training, torch.compile, and Lightning modules
# with the network in the attribute `model` or `net`.
_PREFIXES = re.compile(r"(?:(?:_layers|module|_orig_mod|model|net)\.)+")
_OPTIMIZER = re.compile(r".*_(?:moment[12]|velocity|beta[12]_pow_acc|master_weight)_\d+", re.DOTALL)
MAX_NAME = 1000
_LISTED = 20


def find_state(root: Any, name: str | None = None) -> tuple[dict, list[str]]:
    """Returns a copy of the state dict in `root`, and notes on the other entries.

    Args:
      root: the contents of the checkpoint: a state dict, or a dict of one under a usual name.
      name: the entry of `root` that holds the state dict; None for the usual names. Of weights and
        their moving average, the weights are taken.

    Raises:
      CheckpointError: there is no state dict, or the choice is not unique.
    """
    outer = _mapping(root)
    if outer is None:
        what = f"an object of {printable_name(root.function)}" if isinstance(root, Call) else None
        raise CheckpointError(
            f"found {what or 'a ' + type(root).__name__}, expected a dict of names and arrays: the "
            "state_dict() of a network"
        )
    states = [key for key in _STATES if _mapping(outer.get(key)) is not None]
    averages = [key for key in _AVERAGES if _holds_arrays(outer.get(key))]
    if name is None:
        name = _choose(outer, states or averages)
    elif _mapping(outer.get(name)) is None:
        raise CheckpointError(
            f"no state dict {printable_name(name)!r}{_candidates(outer) or '; it has no other'}"
        )
    if name is None:
        return dict(outer), []
    epoch = outer.get("epoch")
    notes = [f"training checkpoint, epoch {epoch}" if type(epoch) is int else "training checkpoint"]
    others = [other for other in (*states, *averages) if other != name]
    if others:
        notes.append(f"took {printable_name(name)}; state={others[0]!r} takes the other weights")
    ignored = [key for key in outer if isinstance(key, str) and key not in (name, "epoch", *others)]
    if ignored:
        notes.append(f"entries ignored: {list_printable(ignored)}")
    return dict(_mapping(outer[name]) or {}), notes


def _choose(outer: dict, found: list[str]) -> str | None:
    """The entry that holds the state dict; None if `outer` is the state dict."""
    if len(found) > 1:
        raise CheckpointError(
            f"both {found[0]} and {found[1]} hold a state; choose one, such as state={found[0]!r}"
        )
    if found:
        return found[0]
    if {"state", "param_groups"} <= outer.keys():
        raise CheckpointError(
            "the state of a PyTorch optimizer without weights; convert the model's checkpoint"
        )
    if "LR_Scheduler" in outer or any(
        isinstance(key, str) and _OPTIMIZER.fullmatch(key[-MAX_NAME:]) for key in outer
    ):
        raise CheckpointError(
            "the state of a PaddlePaddle optimizer (.pdopt) without weights; convert the .pdparams "
            "file beside it"
        )
    if outer and not _holds_arrays(outer):
        candidates = _candidates(outer)
        if candidates:
            raise CheckpointError(f"no state dict under a usual name{candidates}")
    return None


def _candidates(outer: dict) -> str:
    """The entries that may hold a state dict, of the first ones."""
    names = [key for key in [*outer][:_LISTED] if isinstance(key, str)]
    holding = [key for key in names if _holds_arrays(outer[key])]
    if not holding:
        return ""
    listed = list_printable(holding)
    return (
        f"; these hold arrays: {listed}; choose one, such as state='{printable_name(holding[0])}'"
    )


def _holds_arrays(node: Any) -> bool:
    mapping = _mapping(node)
    return mapping is not None and any(
        isinstance(value, Call) and _mapping(value) is None for value in mapping.values()
    )


def _mapping(node: Any) -> dict | None:
    """The items of a dict or an OrderedDict; None for anything else."""
    if isinstance(node, dict):
        return node
    if not is_call(node, "collections.OrderedDict") or node.appended:
        return None
    match node.arguments:
        case ():
            return node.items
        case ([*pairs],) if not node.items:
            # Python 2 wrote one list of [key, value].
            lists = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2]
            names = {key for key, _ in lists if isinstance(key, str)}
            if len(names) == len(pairs):
                return dict(lists)
    return None


def strip_prefixes(arrays: dict[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray]:
    """Removes the prefixes of wrappers from all names, and notes them.

    Raises:
      CheckpointError: two entries have the same name then.
    """
    result: dict[str, np.ndarray] = {}
    stripped: dict[str, None] = {}
    twice = []
    for name, array in arrays.items():
        match = _PREFIXES.match(name)
        if match:
            stripped.update(dict.fromkeys(part + "." for part in match[0].split(".")[:-1]))
            name = name[match.end() :]
        if name in result:
            twice.append(name)
        result[name] = array
    if twice:
        raise CheckpointError(f"entries with and without a prefix: {list_printable(twice)}")
    notes.extend(f"prefix {prefix} stripped" for prefix in stripped)
    return result
