"""Writes the small PyTorch files of the tests, with PyTorch; run it without arguments.

Every file comes with the numbers that PyTorch itself has for it, as `<name>.npz`.
"""

from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "torch"


def tiny_network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        OrderedDict(conv=torch.nn.Conv2d(1, 4, 3), norm=torch.nn.BatchNorm2d(4))
    )


def odd_state() -> dict[str, torch.Tensor]:
    """Views of one storage, an empty and a 0-d tensor, and every dtype that is read."""
    base = torch.arange(24, dtype=torch.float32)
    state = {
        "whole": base.view(2, 3, 4),
        "transposed": base.view(4, 6).t(),
        "strided": base[1::5],
        "overlapping": base.as_strided((5, 4), (2, 1), 3),
        "channels_last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3.5),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
    }
    for name in (
        "float64",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "bool",
    ):
        state[name] = torch.tensor([0, 1, 2, 3, 100]).to(getattr(torch, name))
    return state


def training_checkpoint() -> dict:
    network = tiny_network()
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 1, 4, 4)).sum().backward()
    optimizer.step()
    return {
        "epoch": 7,
        "model": {f"module.{name}": value for name, value in network.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "args": Namespace(layers=18, data_folder=Path("kitti")),
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    examples = {
        "state": tiny_network().state_dict(),
        "odd": odd_state(),
        "training": training_checkpoint(),
    }
    for name, example in examples.items():
        torch.save(example, FOLDER / f"{name}_zip.pth.tar")
        torch.save(example, FOLDER / f"{name}_legacy.pth", _use_new_zipfile_serialization=False)
        tensors = example.get("model", example)
        arrays = {
            key: (value.float() if value.is_floating_point() else value).detach().numpy()
            for key, value in tensors.items()
        }
        np.savez(FOLDER / f"{name}.npz", **arrays)
    torch.jit.script(tiny_network()).save(FOLDER / "torchscript.pt")


if __name__ == "__main__":
    main()
