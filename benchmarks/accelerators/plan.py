"""The measurements of `accelerator.py`, in the order of their parts."""

from dataclasses import dataclass, field
from typing import Any

# The published network and KITTI's crop; and a toy, to rehearse on a CPU.
FULL = {"layers": 34, "width": 64, "size": [352, 1216]}
TOY = {"layers": 18, "width": 4, "size": [32, 48]}
TORCH = ("torch", "torch-compile")
# Compiler flags that may matter on a GPU.
FLAGS = (
    "--xla_gpu_enable_triton_gemm=false",
    "--xla_gpu_enable_latency_hiding_scheduler=true",
    "--xla_gpu_cudnn_gemm_fusion_level=2",
    "--xla_gpu_enable_command_buffer=",
    "--xla_gpu_autotune_level=0",
    "--xla_gpu_autotune_level=4 --xla_gpu_exhaustive_tiling_search=true",
)


@dataclass(frozen=True)
class Item:
    """A measurement.

    Attributes:
      part: the table to which it belongs.
      name: unique in its part.
      call: the function of a worker in jax, or `pair` for a comparison with PyTorch.
      arguments: of the function.
      seconds: the time that it usually takes at most; it is not begun with less time left.
      late: measured only after all items that are not late.
      flags: compiler flags, for a worker that has them.
      rivals: the contenders in PyTorch of a pair.
    """

    part: str
    name: str
    call: str
    arguments: dict[str, Any] = field(default_factory=dict)
    seconds: float = 30
    late: bool = False
    flags: str = ""
    rivals: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.part}/{self.name}"


def make_plan(toy: bool) -> list[Item]:
    """All items: those that are not late first, both kinds in the order of the parts."""
    items = [
        *_device(toy),
        *_parity(toy),
        *_prediction(toy),
        *_training(toy),
        *_renderer(toy),
        *_flags(toy),
        *_profiles(toy),
    ]
    return sorted(items, key=lambda item: item.late)


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
                seconds=15,
            )
            for dtype, precision in products
        ),
        Item("device", "copy", "copy", {"mebibytes": mebibytes}, seconds=10),
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
                seconds=40,
                late=model != models[0],
            )
            for model in models
            for dtype, precision in kinds
        ),
        Item("parity", "fill", "fill", {"size": size}, seconds=20),
    ]


def _prediction(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    repeats = 2 if toy else 100
    items = []
    sizes = (1,) if toy else (8, 1, 16, 32, 4)
    for dtype in ("bfloat16", "float32"):
        items += [
            Item(
                "prediction",
                f"fine {dtype} batch {batch}",
                "pair",
                {"task": {"mode": "predict", "dtype": dtype, "batch": batch, **shape}},
                seconds=75,
                late=dtype == "float32" and batch != sizes[0],
                rivals=TORCH,
            )
            for batch in sizes
        ]
    for dtype in ("bfloat16", "float32"):
        for batch in (1,) if toy else (1, 8, 16):
            settings = {"network": "joint", **shape, "repeats": repeats if batch == 1 else 10}
            if toy:
                settings["repeats"] = 2
            arguments = {"mode": "predict", "batch": batch, "dtype": dtype, "remat": False}
            late = dtype == "float32" or batch == 16
            name = f"both stages {dtype} batch {batch}"
            items.append(Item("prediction", name, "case", arguments | settings, 60, late))
    size = shape["size"]
    for batch in (1,) if toy else (1, 16):
        arguments = {"batch": batch, "dtype": "bfloat16", "size": size, "repeats": repeats}
        items.append(Item("prediction", f"compact batch {batch}", "compact", arguments, 40))
    autotuned = {"mode": "predict", "dtype": "bfloat16", "batch": 1 if toy else 8, **shape}
    items.append(
        Item(
            "prediction",
            "fine bfloat16, torch autotuned",
            "pair",
            {"task": autotuned},
            seconds=150,
            late=True,
            rivals=("torch-autotune",),
        )
    )
    return items


def _training(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    items = [
        Item(
            "training",
            f"fine bfloat16 batch {batch}",
            "pair",
            {"task": {"mode": "train", "dtype": "bfloat16", "batch": batch, **shape}},
            seconds=120,
            late=batch == 4,
            rivals=TORCH,
        )
        for batch in ((1,) if toy else (8, 16, 4))
    ]
    for network in ("fine", "joint"):
        for batch in (1,) if toy else (8, 16, 4):
            for remat in (True,) if network == "fine" else (False, True):
                name = f"{network} bfloat16 batch {batch}{' rematerialised' if remat else ''}"
                arguments = {"mode": "train", "batch": batch, "dtype": "bfloat16", "remat": remat}
                settings = {"network": network, **shape, "repeats": 2 if toy else 6}
                late = batch != 8 and not toy
                items.append(Item("training", name, "case", arguments | settings, 90, late))
    return items


def _renderer(toy: bool) -> list[Item]:
    windows = {"32x48": [32, 48]} if toy else {"352x1216": [352, 1216], "256x512": [256, 512]}
    return [
        Item(
            "renderer",
            f"{name} batch {batch}",
            "render",
            {"window": window, "batch": batch, "repeats": 2 if toy else 5},
            seconds=75,
            late=batch in (1, 64),
        )
        for name, window in windows.items()
        for batch in ((1,) if toy else (16, 64, 1))
    ]


def _flags(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    batch = 1 if toy else 8
    return [
        Item(
            "flags",
            f"{mode} {flags or 'default'}",
            "case",
            {"mode": mode, "network": "fine", "batch": batch, "dtype": "bfloat16", "remat": False}
            | shape
            | {"repeats": 2 if toy else 8},
            seconds=75,
            late=True,
            flags=flags,
        )
        for flags in ("", *(FLAGS[:1] if toy else FLAGS))
        for mode in ("predict", "train")
    ]


def _profiles(toy: bool) -> list[Item]:
    shape = TOY if toy else FULL
    return [
        Item(
            "profile",
            mode,
            "profile",
            {"mode": mode, "network": "fine", "batch": 1 if toy else 8, "dtype": "bfloat16"}
            | shape
            | {"count": 10},
            seconds=60,
            # A profile does not name what runs in a command buffer.
            flags="--xla_gpu_enable_command_buffer=",
        )
        for mode in ("predict", "train")
    ]
