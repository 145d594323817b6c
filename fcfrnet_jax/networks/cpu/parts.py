"""The parts of networks of patches on CPUs."""

import dataclasses
from collections.abc import Callable

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from fcfrnet_jax.networks.parts import Parts


@dataclasses.dataclass(frozen=True)
class CpuParts(Parts):
    """`Parts` of networks of patches on CPUs."""

    def apart(self, function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        """Compiles a function separately from what computes its argument.

        XLA would otherwise fuse both and compute the argument in the order in which the function
        reads it.
        """
        compiled = jax.jit(function)

        def call(x: jax.Array) -> jax.Array:
            with set_xla_metadata(inlineable="false"):
                return compiled(x)

        return call
