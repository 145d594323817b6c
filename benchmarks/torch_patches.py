"""The compact model in PyTorch: both networks on patches, end to end. Needs torch.

The counterpart of `fcfrnet_jax.networks.patches`, `fill` and `models`, with the variables of
`fold.fold`, for comparisons. Tensors are `[B, C, H, W]`: images 0..255, depth in metres. Windows
are pooled and patches are made by `pixel_unshuffle`, which are PyTorch's fast forms.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fcfrnet_jax.networks.fill import SORT_FIVE
from fcfrnet_jax.networks.inputs import MAX_INPUT
from fcfrnet_jax.networks.patches import (
    DILATIONS,
    LIMIT,
    NEIGHBOURS,
    OWN,
    SETS,
    STEPS,
    UNKNOWN,
    UNKNOWN_SHARE,
    Limits,
    outputs,
)
from fcfrnet_jax.networks.specs import TwoStageSpec

LEVELS = ("conv2", "conv3", "conv4", "conv5", "conv6")
DECODER = ("convt4", "convt3", "convt2", "convt1")
# The convolutions that read patches.
STEMS = ("conv1_img", "conv1_d", "conv1_d_2")
SMALLEST = 0.1  # metres, of a measurement


class CompactTwin(nn.Module):
    """Image and sparse depth in, fine depth out, as `models.TwoStage` with networks of patches.

    Args:
      spec: a coarse network of the scan only with measured depths put back, and a fine network in
        the released wiring, both on ResNet-10.
      variables: of `fold.fold`.
      dilations: how often the fill repeats its last dilation. The package repeats it until a frame
        is dense; a fixed number can be compiled and exported.
    """

    def __init__(self, spec: TwoStageSpec, variables: dict[str, Any], dilations: int):
        super().__init__()
        coarse, fine = spec.coarse, spec.fine
        supported = coarse.patch == fine.patch > 1 and coarse.layers == fine.layers == 10
        supported &= coarse.modality == "d" and coarse.keep_measured and fine.modality == "rgbd"
        if not supported or fine.variant != "released":
            raise ValueError(f"there is no twin of {spec}")
        self.spec, self.dilations, self.patch = spec, dilations, fine.patch
        self.coarse, self.fine = (
            _layers(variables["params"][stage], fine.patch) for stage in ("coarse", "fine")
        )

    def forward(self, image: Tensor, sparse: Tensor) -> Tensor:
        least, largest = self.spec.coarse.limits
        sparse = sparse.clamp(max=MAX_INPUT)
        fill = classical_fill(sparse, largest, self.dilations)
        unknown = min(UNKNOWN, UNKNOWN_SHARE * largest)
        coarse = self._coarse(sparse, torch.where(fill > 0, fill, unknown))
        coarse = keep_measured(sparse, keep_measured(sparse, coarse).clamp(least, largest))
        return keep_measured(sparse, self._fine(image, coarse, sparse))

    def _coarse(self, sparse: Tensor, fill: Tensor) -> Tensor:
        limits = self.spec.coarse.limits
        base = _log_depth(keep_measured(sparse, fill), limits)
        maps = _scan_maps(sparse, _log_depth(fill, limits), base, limits)
        x = stem = self._stem(self.coarse["conv1_d"], maps)
        skips = []
        for name in LEVELS[:-1]:
            x = _level(self.coarse, name, x)
            skips.append(x)
        x = _smooth(self.coarse["conv6"]["conv"], x, 2)
        head = _decode(self.coarse, x, skips, [stem])
        return _metres(_combine(head, base, self.patch))

    def _fine(self, image: Tensor, coarse: Tensor, sparse: Tensor) -> Tensor:
        base = _log_depth(coarse, self.spec.fine.limits)
        maps = _scan_maps(sparse, base, base, self.spec.fine.limits)
        a = self._stem(self.fine["conv1_img"], (image / 255.0 - 0.45) / 0.25)
        b = self._stem(self.fine["conv1_d_2"], maps)
        stems, skips = [a, b], []
        for i, name in enumerate(LEVELS[:-1]):
            # From conv4 on, both encoders read the colour branch.
            inputs = b if i < 2 else a
            a, b = _level(self.fine, name, a), _level(self.fine, f"{name}_2", inputs)
            half = a.shape[1] // 2
            a, b = (
                torch.cat([a[:, :half], b[:, half:]], 1),
                torch.cat([b[:, :half], a[:, half:]], 1),
            )
            skips.append(torch.cat([a, b], 1))
        a, b = (_smooth(self.fine[name]["conv"], a, 2) for name in ("conv6", "conv6_2"))
        half = a.shape[1] // 2
        a, b = torch.cat([a[:, :half], b[:, :half]], 1), torch.cat([a[:, half:], b[:, half:]], 1)
        window = self.spec.fine.window
        energies = [
            functional.avg_pool2d(x**2, window, 1, window // 2, divisor_override=1) for x in (a, b)
        ]
        fused = 2 * torch.where(energies[0] >= energies[1], a, b)
        head = _decode(self.fine, fused, skips, stems)
        return _metres(_combine(head, base, self.patch))

    def _stem(self, layer: Any, maps: Tensor) -> Tensor:
        return _smooth(layer["conv"], functional.pixel_unshuffle(maps, self.patch))


class Conv(nn.Module):
    """Weight and bias of a convolution, or of a transposed one."""

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, transposed: bool):
        super().__init__()
        if transposed:
            kernel = kernel[::-1, ::-1].swapaxes(2, 3)
        weight = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        self.weight, self.bias = (
            nn.Parameter(torch.tensor(weight)),
            nn.Parameter(torch.tensor(bias)),
        )


def _layers(params: dict[str, Any], patch: int, name: str = "", outer: str = "") -> nn.Module:
    """The variables of a network as modules of the same names."""
    if "kernel" not in params:
        inner = {key: _layers(leaf, patch, key, name) for key, leaf in params.items()}
        return nn.ModuleDict(inner)
    kernel = np.asarray(params["kernel"])
    if outer in STEMS:
        # `pixel_unshuffle` puts the channel before the position in the patch.
        parts = kernel.reshape(*kernel.shape[:2], patch**2, -1, kernel.shape[-1])
        kernel = parts.swapaxes(2, 3).reshape(kernel.shape)
    transposed = outer in ("convt5", "convt4", "convt3", "convt2")
    return Conv(kernel, np.array(params["bias"]), transposed)


def _conv(layer: Any, x: Tensor, stride: int = 1) -> Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, stride, layer.weight.shape[-1] // 2)


def _smooth(layer: Any, x: Tensor, stride: int = 1) -> Tensor:
    return functional.leaky_relu(_conv(layer, x, stride), 0.2)


def _double(layer: Any, x: Tensor) -> Tensor:
    x = functional.conv_transpose2d(x, layer.weight, layer.bias, 2, 1, 1)
    return functional.leaky_relu(x, 0.2)


def _level(network: Any, name: str, x: Tensor) -> Tensor:
    """A residual block; the first level keeps the size."""
    block, stride = network[name]["block0"], 1 if name.startswith("conv2") else 2
    y = _conv(block["conv2"], functional.relu(_conv(block["conv1"], x, stride)))
    if "proj_conv" in block:
        x = _conv(block["proj_conv"], x, stride)
    return functional.relu(x + y)


def _decode(network: Any, x: Tensor, skips: list[Tensor], stems: list[Tensor]) -> Tensor:
    x = _double(network["convt5"]["conv"], x)
    for name, skip in zip(DECODER, skips[::-1], strict=True):
        x = torch.cat([x[:, :, : skip.shape[2], : skip.shape[3]], skip], 1)
        layer = network[name]["conv"]
        x = _smooth(layer, x) if name == "convt1" else _double(layer, x)
    return _conv(network["convtf"], torch.cat([x, *stems], 1))


def keep_measured(sparse: Tensor, dense: Tensor) -> Tensor:
    return torch.where((sparse > SMALLEST) & (sparse < 1.1 * dense), sparse, dense)


def _log_depth(depth: Tensor, limits: Limits) -> Tensor:
    return depth.clamp(*limits).log()


def _metres(log_depth: Tensor) -> Tensor:
    return log_depth.clamp(-3.0, 7.0).exp()


def _scan_maps(sparse: Tensor, dense: Tensor, base: Tensor, limits: Limits) -> Tensor:
    measured = sparse > SMALLEST
    depth = _log_depth(sparse, limits)
    maps = [0.25 * base, torch.where(measured, 0.25 * depth, 0.0), measured.to(depth.dtype)]
    return torch.cat([*maps, torch.where(measured, depth - dense, 0.0)], 1)


def _combine(head: Tensor, base: Tensor, patch: int) -> Tensor:
    batch, _, height, width = head.shape
    base = functional.pixel_unshuffle(base, patch)
    depth = base.mean(1, keepdim=True) + head[:, :1]
    own = torch.zeros(NEIGHBOURS, 1, 1)
    own[NEIGHBOURS // 2] = OWN
    shares = [
        (head[:, first : first + NEIGHBOURS] + own).clamp(-LIMIT, LIMIT).softmax(1)
        for first in range(1, 1 + SETS * NEIGHBOURS, NEIGHBOURS)
    ]
    for step in range(STEPS):
        around = _neighbours(depth, DILATIONS[step % len(DILATIONS)])
        depth = (shares[step % SETS] * around).sum(1, keepdim=True)
    logits = head[:, 1 + SETS * NEIGHBOURS : outputs(patch)]
    logits = logits.reshape(batch, NEIGHBOURS + 1, patch**2, height, width)
    own = torch.zeros(NEIGHBOURS + 1, 1, 1, 1)
    own[NEIGHBOURS] = OWN
    powers = (logits + own).clamp(-LIMIT, LIMIT).softmax(1)
    mixed = (powers[:, :NEIGHBOURS] * _neighbours(depth)[:, :, None]).sum(1)
    return functional.pixel_shuffle(mixed + powers[:, NEIGHBOURS] * base, patch)


def _neighbours(x: Tensor, dilation: int = 1) -> Tensor:
    """The 3x3 positions around each of `x` `[B, 1, h, w]` as `[B, 9, h, w]`."""
    _, _, height, width = x.shape
    padded = functional.pad(x, (dilation,) * 4, mode="replicate")
    places = range(0, 2 * dilation + 1, dilation)
    return torch.cat(
        [padded[:, :, i : i + height, j : j + width] for i in places for j in places], 1
    )


def classical_fill(sparse: Tensor, max_depth: float, dilations: int) -> Tensor:
    """`fill.classical_fill`, with a fixed number of the last dilations."""
    measured = sparse > SMALLEST
    x = torch.where(measured, (max_depth - sparse).clamp(min=SMALLEST), 0.0)
    for _ in range(2):
        x = torch.maximum(_largest(x, 1, 3), _largest(x, 3, 1))
    x = _dilate(x, 5)
    x = -_dilate(-x, 5)
    x = torch.where(x == 0, _dilate(x, 7), x)
    rows = torch.arange(x.shape[2], device=x.device)[:, None]
    top = torch.where(x > 0, rows, x.shape[2]).amin(2, keepdim=True)
    value = torch.where(rows == top, x, 0.0).amax(2, keepdim=True)
    x = torch.where(rows < top, value, x)
    for _ in range(dilations):
        x = torch.where(x == 0, _dilate(x, 31), x)
    x = _median(x)
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=x.device) / 16
    x = functional.pad(x, (2, 2, 2, 2), mode="reflect")
    x = functional.conv2d(
        functional.conv2d(x, weights[None, None, None]), weights[None, None, :, None]
    )
    return torch.where(measured.any(), max_depth - x, 0.0)


def _largest(x: Tensor, rows: int, columns: int) -> Tensor:
    return functional.max_pool2d(x, (rows, columns), 1, (rows // 2, columns // 2))


def _dilate(x: Tensor, size: int) -> Tensor:
    return _largest(_largest(x, 1, size), size, 1)


def _median(x: Tensor) -> Tensor:
    """Median over 5x5 pixels by the compare-exchanges of `fill.py`."""
    height, width = x.shape[2:]
    x = functional.pad(x, (2, 2, 2, 2), mode="replicate")
    columns = _sort_five([x[:, :, i : i + height] for i in range(5)])
    windows = [_sort_five([c[..., j : j + width] for j in range(5)]) for c in columns]
    left = [
        windows[i][j]
        for i in range(5)
        for j in range(5)
        if (i + 1) * (j + 1) <= 13 and (5 - i) * (5 - j) <= 13
    ]
    kept = len(left) // 2 + 2
    active, waiting = left[:kept], left[kept:]
    while len(active) > 1:
        for k in range(len(active) - 1):
            _exchange(active, k, k + 1)
        for k in range(len(active) - 2, 0, -1):
            _exchange(active, k - 1, k)
        active, waiting = active[1:-1] + waiting[:1], waiting[1:]
    return active[0]


def _sort_five(values: list[Tensor]) -> list[Tensor]:
    for low, high in SORT_FIVE:
        _exchange(values, low, high)
    return values


def _exchange(values: list[Tensor], low: int, high: int) -> None:
    a, b = values[low], values[high]
    values[low], values[high] = torch.minimum(a, b), torch.maximum(a, b)
