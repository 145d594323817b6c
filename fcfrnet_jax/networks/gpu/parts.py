"""Layers of a network with the forms of `convolutions.py` and `norm.py`."""

from functools import partial

from flax import linen as nn

from fcfrnet_jax.networks.gpu.convolutions import PatchConv, double_convolve_by_phases
from fcfrnet_jax.networks.gpu.norm import OnePassNorm
from fcfrnet_jax.networks.layers import ConvNormAct, DoublingConv, Module, UpConvNormAct
from fcfrnet_jax.networks.parts import Parts


class GpuParts(Parts):
    """Layers that are fast on GPUs, with the variables of `Parts`."""

    def stem(self, features: int, name: str) -> nn.Module:
        conv = partial(PatchConv, use_bias=self.folded, dtype=self.dtype)
        return self.checkpointed(ConvNormAct)(features, conv, self.norm, name=name)

    def double(self, features: int, level: int, name: str) -> nn.Module:
        del level
        conv = partial(
            DoublingConv,
            use_bias=self.folded,
            dtype=self.dtype,
            convolve=double_convolve_by_phases,
        )
        return self.checkpointed(UpConvNormAct)(features, conv, self.norm, name=name)

    @property
    def norm(self) -> Module | None:
        return None if self.folded else partial(OnePassNorm, **self.norm_settings)
