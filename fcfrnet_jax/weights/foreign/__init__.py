"""Readers of PaddlePaddle and PyTorch checkpoints that execute nothing from the files.

`read_state` is the entry point. `pickle_reader` turns a pickle into the inert nodes of
`pickle_nodes`; `paddle` and `torch` decode the arrays of the two formats from these nodes.
"""

from fcfrnet_jax.weights.foreign.read import ForeignState, read_state

__all__ = ["ForeignState", "read_state"]
