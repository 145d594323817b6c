"""Recognises the network whose state dict a released checkpoint holds."""

import re

import numpy as np

from fcfrnet_jax.networks.network import RESNETS
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, StageSpec
from fcfrnet_jax.text import printable
from fcfrnet_jax.weights.foreign.pickle_nodes import list_printable

Arrays = dict[str, np.ndarray]


def recognise(arrays: Arrays) -> StageSpec:
    """Detects the network, ResNet depth, input modality and width from the entries of a state dict.

    Raises:
      ValueError: the entries belong to neither network, or do not determine its ResNet or modality.
    """
    _refuse_bfloat16(arrays)
    fine = any(re.match(r"(conv[2-6]_2|conv1_d_2)\.", name) for name in arrays)
    if not any(re.match(r"conv[2-5]\.\d+\.", name) for name in arrays):
        raise ValueError(
            "the entries belong to neither FCFR-Net nor the STD network "
            f"(conv2.0.conv1.weight and so on); found {list_printable([*arrays], 4)}"
        )
    image = arrays.get("conv1_img.0.weight")
    if image is not None and (image.ndim != 4 or image.shape[1] not in (1, 3)):
        raise ValueError(f"conv1_img.0.weight: expected [N, 1 or 3, 3, 3], found {image.shape}")
    if fine and image is None:
        raise ValueError(
            "conv1_img.0.weight is missing; it determines whether the image is colour or gray"
        )
    modality = "" if image is None else "g" if image.shape[1] == 1 else "rgb"
    modality += "d" if fine or "conv1_d.0.weight" in arrays else ""
    first = arrays.get("conv2.0.conv1.weight")
    if first is None or first.ndim != 4 or not modality:
        missing = "conv1_img.0.weight and conv1_d.0.weight" if first is not None else ""
        raise ValueError(f"{missing or 'conv2.0.conv1.weight'}: missing or not a convolution")
    kind = CoarseToFineSpec if fine else SparseToCoarseSpec
    return kind(_resnet_layers(arrays), modality, width=first.shape[0])


def _resnet_layers(arrays: Arrays) -> int:
    found = [re.match(r"conv([2-5])\.(\d{1,4})\.", name) for name in arrays]
    blocks = [0] * 4
    for match in filter(None, found):
        level = int(match[1]) - 2
        blocks[level] = max(blocks[level], int(match[2]) + 1)
    expansion = 4 if "conv2.0.conv3.weight" in arrays else 1
    for layers, (wanted, block) in RESNETS.items():
        if (tuple(blocks), expansion) == (wanted, block.expansion):
            return layers
    kind = "bottleneck" if expansion == 4 else "basic"
    known = ", ".join(f"ResNet-{layers}" for layers in RESNETS)
    raise ValueError(f"conv2..conv5 hold {blocks} {kind} blocks, expected those of {known}")


def _refuse_bfloat16(arrays: Arrays) -> None:
    for name, array in arrays.items():
        if array.dtype.name == "uint16" and array.ndim == 4:
            raise ValueError(
                f"{printable(name)} holds uint16, as PaddlePaddle saves bfloat16; load the file in "
                "PaddlePaddle and save the values as float32, value.astype('float32')"
            )
