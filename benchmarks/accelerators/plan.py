"""The measurements of `accelerator.py` and their order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# The published network and KITTI's crop.
FULL = {"layers": 34, "width": 64, "size": [352, 1216]}
# Operations of a frame in 1e12, as XLA counts them in the plain form of the network.
TFLOP_A_FRAME = {"predict": 2.116, "train": 6.366}
TORCH = ("torch", "torch-compile")
# In jax without the forms for GPUs in `networks/gpu/`.
PLAIN = "jax-plain"
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
CEILINGS, PAIRS, LARGE, JOINT, BATCHES, COMPACT, RENDERER, CHECKS, FIRST_FLAGS = range(9)
GRAPHED, REST = 50, 51
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
      rivals: the other contenders of a pair, in PyTorch or `PLAIN`.
    """

    part: str
    name: str
    call: str
    arguments: dict[str, Any] = field(default_factory=dict)
    seconds: float = 30
    group: int = REST
    flags: str = ""
    rivals: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.part}/{self.name}"


def make_plan() -> list[list[Item]]:
    """The groups of items in their order."""
    parts = (_device, _prediction, _training, _renderer, _parity, _profiles, _flags)
    return grouped([item for part in parts for item in part()])


def grouped(items: Sequence[Item]) -> list[list[Item]]:
    """The items by their groups; large late groups in parts."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(item.group, []).append(item)
    found = []
    for number in sorted(groups):
        members = groups[number]
        size = 3 if number >= GRAPHED else len(members)
        found += [members[start : start + size] for start in range(0, len(members), size)]
    return found


def seconds_of(items: Sequence[Item]) -> float:
    """The time that a group takes, in which both frameworks prepare at once."""
    pairs = [item for item in items if item.call == "pair"]
    others = [item for item in items if item.call != "pair"]
    in_jax = sum(item.seconds for item in others) + JAX_SECONDS * len(pairs)
    return max(in_jax, sum(item.seconds for item in pairs))


def operations(task: Mapping[str, Any]) -> float:
    """The operations of a frame of a pair in 1e12; NaN for another network than the published."""
    published = all(task[name] == value for name, value in FULL.items())
    return TFLOP_A_FRAME[task["mode"]] if published else float("nan")


def _device() -> list[Item]:
    products = [("bfloat16", "default"), ("float32", "default"), ("float32", "highest")]
    items = []
    for dtype, precision in products:
        arguments = {"dtype": dtype, "precision": precision, "size": 8192}
        name = f"product {dtype} {precision}"
        items.append(Item("device", name, "product", arguments, 6, CEILINGS))
    return [*items, Item("device", "copy", "copy", {"mebibytes": 2048}, 4, CEILINGS)]


def _parity() -> list[Item]:
    kinds = [("float32", "highest"), ("float32", "default"), ("bfloat16", "default")]
    items = [Item("parity", "fill", "fill", {"size": FULL["size"]}, 10, CHECKS)]
    for model in ("fcfrnet18_rgbd", "std18_rgbd", "fcfrnet34_gd", "std34_gd"):
        group = CHECKS if model == "fcfrnet18_rgbd" else REST
        for dtype, precision in kinds:
            arguments = {"name": model, "dtype": dtype, "precision": precision}
            name = f"{model} {dtype} {precision}"
            items.append(Item("parity", name, "golden", arguments, 15, group))
    return items


def _profiles() -> list[Item]:
    settings = {"network": "fine", "batch": 8, "dtype": "bfloat16", "repeats": 10, **FULL}
    items = [
        Item("profile", mode, "profile", {"mode": mode, **settings, "count": 25}, 30, CHECKS)
        for mode in ("predict", "train")
    ]
    arguments = {"window": FULL["size"], "batch": 16, "count": 25}
    return [*items, Item("profile", "renderer", "profile_renderer", arguments, 45, CHECKS)]


def _prediction() -> list[Item]:
    items = []
    groups = {8: PAIRS, 32: LARGE, 1: BATCHES, 16: BATCHES}
    for dtype in ("bfloat16", "float32"):
        for batch in (8, 32, 1, 16, 4):
            task = {"mode": "predict", "dtype": dtype, "batch": batch, **FULL}
            name = f"fine {dtype} batch {batch}"
            group = groups.get(batch, REST) if dtype == "bfloat16" else REST
            rivals = GRAPHS if batch == 1 else (*TORCH, PLAIN) if group == PAIRS else TORCH
            items.append(_pair("prediction", name, task, 45, group, rivals))
    task = {"mode": "predict", "dtype": "bfloat16", "batch": 8, **FULL}
    for rival, seconds in (("torch-graphs", 45), ("torch-autotune", 150)):
        name = f"fine bfloat16 batch 8, {rival}"
        items.append(_pair("prediction", name, task, seconds, GRAPHED, (rival,)))
    for dtype in ("bfloat16", "float32"):
        for batch in (8, 1, 16):
            settings = {"network": "joint", **FULL, "repeats": 20}
            arguments = {"mode": "predict", "batch": batch, "dtype": dtype, "remat": False}
            group = JOINT if (dtype, batch) == ("bfloat16", 8) else REST
            name = f"both stages {dtype} batch {batch}"
            items.append(Item("prediction", name, "case", arguments | settings, 40, group))
    for batch in (1, 16):
        arguments = {"batch": batch, "dtype": "bfloat16", "size": FULL["size"]}
        arguments |= {"repeats": 100 if batch == 1 else 20}
        name = f"compact batch {batch}"
        items.append(Item("prediction", name, "compact", arguments, 25, COMPACT))
    return items


def _training() -> list[Item]:
    items = []
    for batch in (8, 16, 4):
        task = {"mode": "train", "dtype": "bfloat16", "batch": batch, **FULL}
        group = PAIRS if batch == 8 else REST
        rivals = (*TORCH, PLAIN) if group == PAIRS else TORCH
        items.append(_pair("training", f"fine bfloat16 batch {batch}", task, 70, group, rivals))
        if batch == 8:
            name = "fine bfloat16 batch 8, torch-graphs"
            items.append(_pair("training", name, task, 80, GRAPHED, GRAPHS[-1:]))
    for network in ("joint", "fine"):
        for batch in (8, 16, 4):
            for remat in (True,) if network == "fine" else (False, True):
                name = f"{network} bfloat16 batch {batch}{' rematerialised' if remat else ''}"
                arguments = {"mode": "train", "batch": batch, "dtype": "bfloat16", "remat": remat}
                settings = {"network": network, **FULL, "repeats": 6}
                group = JOINT if batch == 8 and not remat else REST
                items.append(Item("training", name, "case", arguments | settings, 60, group))
    return items


def _pair(
    part: str,
    name: str,
    task: dict[str, Any],
    seconds: float,
    group: int,
    rivals: tuple[str, ...],
) -> Item:
    return Item(part, name, "pair", {"task": task}, seconds, group, rivals=rivals)


def _renderer() -> list[Item]:
    items = []
    for name, window in {"352x1216": [352, 1216], "256x512": [256, 512]}.items():
        for batch in (16, 64, 1):
            arguments = {"window": window, "batch": batch, "repeats": 8}
            group = RENDERER if name == "352x1216" and batch > 1 else REST
            items.append(Item("renderer", f"{name} batch {batch}", "render", arguments, 45, group))
    return items


def _flags() -> list[Item]:
    settings = {"network": "fine", "batch": 8, "dtype": "bfloat16", "remat": False, **FULL}
    return [
        Item(
            "flags",
            f"{mode} {flags or 'default'}",
            "case",
            {"mode": mode, **settings, "repeats": 10},
            seconds=25,
            group=FIRST_FLAGS + number,
            flags=flags,
        )
        for number, flags in enumerate(("", *FLAGS))
        for mode in ("predict", "train")
    ]
