"""The rehearsal of `accelerator.py`: one item of each kind, as small as possible, for a CPU."""

from typing import Any

from benchmarks.accelerators.plan import FLAGS, PLAIN, Item, grouped

SIZE = [32, 48]
SHAPE = {"layers": 18, "width": 4, "size": SIZE}
CASE = {"network": "fine", "batch": 1, "dtype": "bfloat16", **SHAPE, "repeats": 2}


def make_toy_plan() -> list[list[Item]]:
    """The groups of items. Those of a worker predict with the same program, compiled once."""
    product = {"dtype": "bfloat16", "precision": "default", "size": 256}
    golden = {"name": "fcfrnet18_rgbd", "dtype": "float32", "precision": "highest"}
    task = {"mode": "predict", "dtype": "bfloat16", "batch": 1, **SHAPE}
    compact = {"batch": 1, "dtype": "bfloat16", "size": SIZE, "repeats": 2}
    predict: dict[str, Any] = {"mode": "predict", **CASE}
    train: dict[str, Any] = {"mode": "train", **CASE}
    items = [
        Item("device", "product bfloat16 default", "product", product, group=0),
        Item("device", "copy", "copy", {"mebibytes": 4}, group=0),
        Item("parity", "fcfrnet18_rgbd float32 highest", "golden", golden, group=1),
        Item("parity", "fill", "fill", {"size": SIZE}, group=1),
        # Compilation in PyTorch takes minutes on a CPU.
        Item("prediction", "fine", "pair", {"task": task}, group=2, rivals=("torch", PLAIN)),
        Item("prediction", "case", "case", predict | {"remat": False}, group=2),
        Item("prediction", "compact", "compact", compact, group=2),
        Item("training", "case", "case", train | {"remat": False}, group=2),
        Item("profile", "predict", "profile", predict | {"count": 10}, group=2),
        Item(
            "profile",
            "renderer",
            "profile_renderer",
            {"window": SIZE, "batch": 1, "count": 10},
            group=2,
        ),
        Item("renderer", "32x48", "render", {"window": SIZE, "batch": 1, "repeats": 2}, group=2),
    ]
    flagged = Item("flags", "predict", "case", predict | {"remat": False}, group=3, flags=FLAGS[0])
    return grouped([*items, flagged])
