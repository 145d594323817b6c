"""What a worker of `accelerator.py` measures in PyTorch."""

import gc
from importlib import metadata
from typing import Any

import torch

from benchmarks import peer_worker
from benchmarks.accelerators.pairs import Cases

__all__ = ["call", "describe", "drop", "latencies", "prepare", "settle"]

# Every case compiles the same functions for other shapes.
torch._dynamo.config.recompile_limit = 64
torch.set_float32_matmul_precision("high")


def _prepared(task: peer_worker.Task) -> tuple[peer_worker.Call, peer_worker.Wait]:
    prepared = peer_worker.with_torch(task)
    # Both frameworks prepare at once, which would disturb cuDNN's measurements: `settle` makes
    # them. What a graph has captured cannot change any more.
    torch.backends.cudnn.benchmark = task.name == "torch-graphs"
    return prepared


_cases = Cases(
    dict.fromkeys(("torch", "torch-compile", "torch-graphs", "torch-autotune"), _prepared),
    lambda result: result.float().cpu().numpy(),
)
prepare, call, latencies = _cases.prepare, _cases.call, _cases.latencies


def describe() -> dict[str, Any]:
    cuda = torch.cuda.is_available()
    return {
        "torch": metadata.version("torch"),
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "cudnn": torch.backends.cudnn.version() or 0,
    }


def settle(name: str) -> None:
    """Lets cuDNN choose its algorithms by measurements, and warms a case up."""
    torch.backends.cudnn.benchmark = True
    _cases.settle(name)


def drop(name: str) -> None:
    """Frees a case and, after the last one, what the compiler keeps."""
    _cases.drop(name)
    if not len(_cases):
        torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
