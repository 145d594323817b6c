"""Checks of untrusted dicts, sets and trees, each in time linear in the file."""

from collections.abc import Iterable, Iterator
from typing import Any

from fcfrnet_jax.weights.foreign.budget import Budget
from fcfrnet_jax.weights.foreign.pickle_nodes import Call, CheckpointError, PersistentId

MAX_DEPTH = 100
# An estimate of the bytes that `check_depth` keeps for each dict, list, tuple or call.
WALKED = 200


def check_keys(values: Iterable, budget: Budget) -> Iterable:
    """Returns `values` if each is a safe dict key or set member.

    Python salts the hashes of text and bytes only. Numbers are counted, because chosen ones
    collide, and those whose hash is 0 (multiples of 2^61 - 1) are refused, as are tuples, whose
    hash recurses in C.
    """
    for value in values:
        if type(value) not in (str, bytes, int, float, bool, type(None)):
            raise CheckpointError(f"a {type(value).__name__} as a dict key or set member")
        if isinstance(value, int | float):
            budget.add_number()
        if isinstance(value, int) and abs(value) >> 60:
            raise CheckpointError("an integer beyond 2^60 as a dict key or set member")
    return values


def store_pairs(target: dict, pairs: list, budget: Budget) -> None:
    """Stores `pairs`, a list of alternating keys and values, in `target`; keys must be unique."""
    if len(pairs) % 2:
        raise CheckpointError("a key without a value")
    for key, value in zip(check_keys(pairs[::2], budget), pairs[1::2], strict=True):
        if key in target:
            raise CheckpointError("a key given twice in one dict")
        target[key] = value


def check_depth(root: Any, budget: Budget) -> None:
    """Raises CheckpointError if a tree is deeper than `MAX_DEPTH` or contains itself.

    Follows each reference once, however often parts are shared, and does not recurse.
    """
    heights: dict[int, int] = {}
    path, pending, highest = [root], [_children(root)], [0]
    on_path = {id(root)}
    while path:
        budget.spend(1)
        child = next(pending[-1], None)
        if child is None:
            pending.pop()
            node, height = path.pop(), 1 + highest.pop()
            on_path.remove(id(node))
            heights[id(node)] = height
        else:
            height = heights.get(id(child), 0)
            if id(child) in on_path:
                raise CheckpointError("a structure that contains itself")
            if len(path) + max(height, 1) > MAX_DEPTH:
                raise CheckpointError(f"nested deeper than {MAX_DEPTH} levels")
            if not height:
                budget.spend(0, WALKED)
                path.append(child)
                pending.append(_children(child))
                highest.append(0)
                on_path.add(id(child))
        if highest:
            highest[-1] = max(highest[-1], height)


def _children(node: Any) -> Iterator:
    children: Iterable = ()
    if isinstance(node, dict):
        children = node.values()
    elif isinstance(node, list | tuple):
        children = node
    elif isinstance(node, Call):
        own = (node.keywords, node.items, node.appended)
        children = (node.arguments, node.state, *filter(None, own))
    elif isinstance(node, PersistentId):
        children = (node.value,)
    return (
        child for child in children if isinstance(child, dict | list | tuple | Call | PersistentId)
    )
