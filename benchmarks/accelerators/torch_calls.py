"""What a worker of `accelerator.py` measures in PyTorch."""

import gc
from importlib import metadata
from typing import Any

import torch

from benchmarks import peer_worker
from benchmarks.accelerators.pairs import Cases

__all__ = ["call", "describe", "drop", "latencies", "prepare"]

_cases = Cases(
    dict.fromkeys(("torch", "torch-compile", "torch-autotune"), peer_worker.with_torch),
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


def drop() -> None:
    """Frees the prepared cases and what the compiler keeps of them."""
    _cases.drop()
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
