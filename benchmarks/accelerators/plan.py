"""The measurements of `accelerator.py` and their order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

# The published network and KITTI's crop; and a toy, to rehearse on a CPU.
FULL = {"layers": 34, "width": 64, "size": [352, 1216]}
TOY = {"layers": 18, "width": 4, "size": [32, 48]}
TORCH = ("torch", "torch-compile")
GRAPHS = (*TORCH, "torch-graphs")
# Compiler flags that may matter on a GPU.
FLAGS = (
    "--xla_gpu_enable_triton_gemm=false",
    "--xla_gpu_enable_latency_hiding_scheduler=true",
    "--xla_gpu_cudnn_gemm_fusion_level=2",
    "--xla_gpu_enable_command_buffer=",
    "--xla_gpu_autotune_level=0",
    "--xla_gpu_autotune_level=4 --xla_gpu_exhaustive_tiling_search=true",
)
# Groups: the first ones hold what is most worth knowing if the time is short.
CEILINGS, BASICS, RATES, WHOLE, JOINT, FIRST_FLAGS = range(6)
MORE, LATE, LAST = 50, 51, 60
# What a comparison takes in jax alone.
JAX_SECONDS = 20


@dataclass(frozen=True)
class Item:
    """A measurement.

    Attributes:
      part: the table to which it belongs.
      name: unique in its part.
      call: the function of a worker in jax, or `pair` for a comparison with PyTorch.
      arguments: of the function.
      seconds: the time that it takes on a GPU, mostly compilation; it is not begun with less left.
      group: items of a group are prepared together, by both frameworks at once, and then measured
        one by one. The groups follow each other in this order; all flags of a group are the same.
      flags: compiler flags, for a worker that has them.
      rivals: the contenders in PyTorch of a pair.
    """

    part: str
    name: str
    call: str
    arguments: dict[str, Any] = field(default_factory=dict)
    seconds: float = 30
    group: int = LATE
    flags: str = ""
    rivals: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.part}/{self.name}"


def make_plan(toy: bool) -> list[list[Item]]:
    """The groups of items in their order."""
    groups: dict[int, list[Item]] = {}
    parts = (_device, _parity, _profiles, _prediction, _training, _renderer, _flags)
    for part in parts:
        for item in part(toy):
            groups.setdefault(item.group, []).append(item)
    found = []
    for number in sorted(groups):
        items = groups[number]
        size = 3 if number >= MORE else len(items)
        found += [items[start : start + size] for start in range(0, len(items), size)]
    return found


def seconds_of(items: Sequence[Item]) -> float:
    """The time that a group takes, in which both frameworks prepare at once."""
    pairs = [item for item in items if item.call == "pair"]
    others = [item for item in items if item.call != "pair"]
    in_jax = sum(item.seconds for item in others) + JAX_SECONDS * len(pairs)
    return max(in_jax, sum(item.seconds for item in pairs))


def _device(toy: bool) -> list[Item]:
    size, mebibytes = (256, 4) if toy else (8192, 2048)
    products = [("bfloat16", "default"), ("float32", "default"), ("float32", "highest")]
    return [
        *(
            Item(
                "device",
                f"product {dtype} {precision}",
                "product",
                {"dtype": dtype, "precision": precision, "size": size},
                seconds=6,
                group=CEILINGS,
            )
            for dtype, precision in products
        ),
        Item("device", "copy", "copy", {"mebibytes": mebibytes}, seconds=4, group=CEILINGS),
    ]


def _parity(toy: bool) -> list[Item]:
    kinds = [("float32", "highest"), ("float32", "default"), ("bfloat16", "default")]
    models = ("fcfrnet18_rgbd", "std18_rgbd", "fcfrnet34_gd", "std34_gd")[: 1 if toy else 4]
    size = [32, 48] if toy else [352, 1216]
    return [
        *(
            Item(
                "parity",
                f"{model} {dtype} {precision}",
                "golden",
                {"name": model, "dtype": dtype, "precision": precision},
                seconds=15,
                group=BASICS if model == models[0] else LATE,
            )
            for model in models
            for dtype, precision in kinds
        ),
        Item("parity", "fill", "fill", {"size": size}, seconds=10, group=BASICS),
    ]


def _profiles(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    batch = 1 if toy else 8
    settings = {"network": "fine", "batch": batch, "dtype": "bfloat16", "repeats": 2 if toy else 10}
    return [
        Item(
            "profile",
            mode,
            "profile",
            {"mode": mode, **shape, **settings, "count": 25},
            seconds=30,
            group=BASICS,
        )
        for mode in ("predict", "train")
    ]


def _prediction(toy: bool) -> list[Item]:
    return [*_fine(toy), *_both_stages(toy), *_compact(toy)]


def _fine(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    first = 1 if toy else 8
    groups = {8: BASICS, 32: RATES, 1: MORE, 16: MORE, 4: LATE}
    items = []
    for dtype in ("bfloat16", "float32"):
        for batch in (1,) if toy else (8, 32, 1, 16, 4):
            late = MORE if batch == first else LATE
            items.append(
                Item(
                    "prediction",
                    f"fine {dtype} batch {batch}",
                    "pair",
                    {"task": {"mode": "predict", "dtype": dtype, "batch": batch, **shape}},
                    seconds=45,
                    group=late if dtype == "float32" else BASICS if toy else groups[batch],
                    rivals=_rivals(toy, dtype, batch),
                )
            )
    if toy:
        # Compilation takes minutes on a CPU.
        return items
    task = {"mode": "predict", "dtype": "bfloat16", "batch": first, **shape}
    for rival, seconds in (("torch-graphs", 45), ("torch-autotune", 150)):
        name = f"fine bfloat16, {rival}"
        items.append(
            Item("prediction", name, "pair", {"task": task}, seconds, LAST, rivals=(rival,))
        )
    return items


def _rivals(toy: bool, dtype: str, batch: int) -> tuple[str, ...]:
    if toy:
        return TORCH if dtype == "bfloat16" else TORCH[:1]
    return GRAPHS if batch == 1 else TORCH


def _both_stages(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    items = []
    for dtype in ("bfloat16", "float32"):
        for batch in (1,) if toy else (8, 1, 16):
            settings = {"network": "joint", **shape, "repeats": 2 if toy else 20}
            arguments = {"mode": "predict", "batch": batch, "dtype": dtype, "remat": False}
            first = dtype == "bfloat16" and batch == (1 if toy else 8)
            group = JOINT if first else MORE if dtype == "bfloat16" else LATE
            name = f"both stages {dtype} batch {batch}"
            items.append(Item("prediction", name, "case", arguments | settings, 40, group))
    return items


def _compact(toy: bool) -> list[Item]:
    return [
        Item(
            "prediction",
            f"compact batch {batch}",
            "compact",
            {
                "batch": batch,
                "dtype": "bfloat16",
                "size": (TOY if toy else FULL)["size"],
                "repeats": 2 if toy else 100 if batch == 1 else 20,
            },
            seconds=25,
            group=WHOLE,
        )
        for batch in ((1,) if toy else (1, 16))
    ]


def _training(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    first = 1 if toy else 8
    batches = (1,) if toy else (8, 16, 4)
    items = [
        Item(
            "training",
            f"fine bfloat16 batch {batch}",
            "pair",
            {"task": {"mode": "train", "dtype": "bfloat16", "batch": batch, **shape}},
            seconds=70,
            group=BASICS if batch == first else LATE,
            # PyTorch 2.13 crashes in the compiled step of so small a network on a CPU.
            rivals=TORCH[:1] if toy else TORCH,
        )
        for batch in batches
    ]
    for network in ("joint", "fine"):
        for batch in batches:
            for remat in (True,) if network == "fine" else (False, True):
                name = f"{network} bfloat16 batch {batch}{' rematerialised' if remat else ''}"
                arguments = {"mode": "train", "batch": batch, "dtype": "bfloat16", "remat": remat}
                settings = {"network": network, **shape, "repeats": 2 if toy else 6}
                group = LATE
                if batch == first:
                    group = MORE if remat else JOINT
                items.append(Item("training", name, "case", arguments | settings, 60, group))
    if toy:
        return items
    task = {"mode": "train", "dtype": "bfloat16", "batch": first, **shape}
    name = "fine bfloat16, torch-graphs"
    items.append(Item("training", name, "pair", {"task": task}, 80, LAST, rivals=GRAPHS[-1:]))
    return items


def _renderer(toy: bool) -> list[Item]:
    windows = {"32x48": [32, 48]} if toy else {"352x1216": [352, 1216], "256x512": [256, 512]}
    return [
        Item(
            "renderer",
            f"{name} batch {batch}",
            "render",
            {"window": window, "batch": batch, "repeats": 2 if toy else 8},
            seconds=45,
            group=RATES if toy or (name == "352x1216" and batch > 1) else LATE,
        )
        for name, window in windows.items()
        for batch in ((1,) if toy else (16, 64, 1))
    ]


def _flags(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    settings = {"network": "fine", "batch": 1 if toy else 8, "dtype": "bfloat16", "remat": False}
    return [
        Item(
            "flags",
            f"{mode} {flags or 'default'}",
            "case",
            {"mode": mode, **settings, **shape, "repeats": 2 if toy else 10},
            seconds=25,
            group=FIRST_FLAGS + number,
            flags=flags,
        )
        for number, flags in enumerate(("", *(FLAGS[:1] if toy else FLAGS)))
        for mode in ("predict", "train")
    ]
