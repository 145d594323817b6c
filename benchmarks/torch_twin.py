"""FCFR-Net in PyTorch, for comparisons with the same variables. Needs torch.

Modules have the names of the layers in `fcfrnet_jax.networks`, so that variables can be copied by
walking both trees. Tensors are `[B, C, H, W]`: images 0..255, depth in metres.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fcfrnet_jax.networks.layers import NORM_EPSILON
from fcfrnet_jax.networks.network import RESNETS
from fcfrnet_jax.networks.specs import CoarseToFineSpec

LEVELS = ("conv2", "conv3", "conv4", "conv5", "conv6")


def _norm(features: int) -> nn.Module:
    return nn.BatchNorm2d(features, eps=NORM_EPSILON, momentum=0.1)


class ConvNormAct(nn.Module):
    """3x3 convolution, or a transposed one that doubles the size. Without norm it has a bias."""

    def __init__(
        self, inputs: int, features: int, norm: bool, stride: int = 1, double: bool = False
    ):
        super().__init__()
        if double:
            self.conv: nn.Module = nn.ConvTranspose2d(inputs, features, 3, 2, 1, 1, bias=not norm)
        else:
            self.conv = nn.Conv2d(inputs, features, 3, stride, 1, bias=not norm)
        self.norm = _norm(features) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.norm(self.conv(x)), 0.2)


class BasicBlock(nn.Module):
    def __init__(self, inputs: int, features: int, norm: bool, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, features, 3, stride, 1, bias=not norm)
        self.conv2 = nn.Conv2d(features, features, 3, 1, 1, bias=not norm)
        self.norm1, self.norm2, self.proj_norm = (
            _norm(features) if norm else nn.Identity() for _ in range(3)
        )
        self.proj_conv: nn.Module | None = None
        if stride != 1 or inputs != features:
            self.proj_conv = nn.Conv2d(inputs, features, 1, stride, bias=not norm)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        if self.proj_conv is not None:
            x = self.proj_norm(self.proj_conv(x))
        return functional.relu(x + y)


class Twin(nn.Module):
    """FCFR-Net in the released wiring on ResNet-18 or 34.

    With `norm=False`, it expects the variables of `fold.fold`: convolutions have biases, and
    branches exchange halves of their channels instead of shuffling them.
    """

    def __init__(self, spec: CoarseToFineSpec, norm: bool):
        super().__init__()
        if spec.variant != "released" or spec.layers == 50:
            raise ValueError(f"there is no twin of {spec}")
        self.spec, self.interleave = spec, norm
        width = spec.width
        self.conv1_img = ConvNormAct(3 if spec.modality == "rgbd" else 1, width, norm)
        self.conv1_d_2 = ConvNormAct(1, width, norm)
        blocks, _ = RESNETS[spec.layers]
        for suffix in ("", "_2"):
            inputs = width
            for i, name in enumerate(LEVELS[:-1]):
                features = width * 2**i
                level = nn.Sequential()
                for number in range(blocks[i]):
                    stride = 2 if i and not number else 1
                    level.add_module(f"block{number}", BasicBlock(inputs, features, norm, stride))
                    inputs = features
                self.add_module(name + suffix, level)
            self.add_module(f"conv6{suffix}", ConvNormAct(inputs, 8 * width, norm, stride=2))
        # Each layer of the decoder reads the layer below it and both branches of its level.
        self.convt5 = ConvNormAct(8 * width, 4 * width, norm, double=True)
        self.convt4 = ConvNormAct((4 + 2 * 8) * width, 2 * width, norm, double=True)
        self.convt3 = ConvNormAct((2 + 2 * 4) * width, width, norm, double=True)
        self.convt2 = ConvNormAct((1 + 2 * 2) * width, width, norm, double=True)
        self.convt1 = ConvNormAct((1 + 2) * width, width, norm)
        self.convtf = nn.Conv2d((1 + 2) * width, 1, 1)

    def forward(self, image: Tensor, depth: Tensor) -> Tensor:
        coarse = depth.clamp(max=self.spec.max_depth) / self.spec.max_depth
        # The kernels may be bfloat16; the depth to which the residual is added stays float32.
        dtype = self.convtf.weight.dtype
        a = self.conv1_img((image / 255.0).to(dtype))
        b = self.conv1_d_2(coarse.to(dtype))
        skips = [torch.cat([a, b], 1)]
        for i, name in enumerate(LEVELS):
            a, b = getattr(self, name)(a), getattr(self, f"{name}_2")(b if i < 2 else a)
            a, b = self._exchange(a, b, last=name == LEVELS[-1])
            skips.append(torch.cat([a, b], 1))
        stronger = self._energy(a) >= self._energy(b)
        x = self.convt5(2 * torch.where(stronger, a, b))
        for name, skip in zip(("convt4", "convt3", "convt2", "convt1"), skips[4:0:-1], strict=True):
            x = getattr(self, name)(torch.cat([x, skip], 1))
        x = self.convtf(torch.cat([x, skips[0]], 1))
        return self.spec.max_depth * (x.float() + coarse)

    def _exchange(self, a: Tensor, b: Tensor, last: bool) -> tuple[Tensor, Tensor]:
        half = a.shape[1] // 2
        if self.interleave:
            mixed = torch.stack([a, b], 2).flatten(1, 2)
            return mixed[:, : 2 * half], mixed[:, 2 * half :]
        (a, a_rest), (b, b_rest) = a.split(half, 1), b.split(half, 1)
        if last:
            return torch.cat([a, b], 1), torch.cat([a_rest, b_rest], 1)
        return torch.cat([a, b_rest], 1), torch.cat([b, a_rest], 1)

    def _energy(self, x: Tensor) -> Tensor:
        window = self.spec.window
        square = x.float() ** 2
        return functional.avg_pool2d(square, window, 1, window // 2, divisor_override=1)


def load(twin: Twin, variables: dict[str, Any]) -> Twin:
    """Copies variables of `models.build`, folded ones if the twin has no normalisation."""
    statistics = variables.get("batch_stats", {})
    with torch.no_grad():
        _copy(twin, variables["params"], statistics)
    return twin


def _copy(module: nn.Module, params: dict[str, Any], statistics: dict[str, Any]) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        kernel = np.asarray(params["kernel"])
        if isinstance(module, nn.ConvTranspose2d):
            kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
        else:
            kernel = kernel.transpose(3, 2, 0, 1)
        _set(module.weight, kernel)
        if module.bias is not None:
            _set(module.bias, params["bias"])
    elif isinstance(module, nn.BatchNorm2d):
        _set(module.weight, params["scale"])
        _set(module.bias, params["bias"])
        _set(module.running_mean, statistics["mean"])
        _set(module.running_var, statistics["var"])
    else:
        for name, leaf in params.items():
            _copy(getattr(module, name), leaf, statistics.get(name, {}))


def _set(tensor: Any, array: Any) -> None:
    tensor.copy_(torch.from_numpy(np.array(array)))
