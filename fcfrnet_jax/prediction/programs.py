"""The compiled programs of a predictor: one for each batch and image size."""

import warnings
from collections.abc import Generator
from contextlib import closing
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fcfrnet_jax.geometry import Size
from fcfrnet_jax.networks import models, select
from fcfrnet_jax.networks.specs import Spec
from fcfrnet_jax.prediction import arrays
from fcfrnet_jax.prediction.arrays import Frames
from fcfrnet_jax.prediction.estimate import DepthEstimate, predict, predict_with_error
from fcfrnet_jax.prediction.streams import one_ahead


class Inputs(NamedTuple):
    """Padded inputs on the device, and what is needed to crop the result.

    Attributes:
      image: uint8 `[B, H, W, C]`, or None.
      depth: float32 `[B, H, W, 1]` metres, or None.
      size: (height, width) in pixels before padding.
      single: whether they were given as one frame, without B.
    """

    image: jax.Array | None
    depth: jax.Array | None
    size: Size
    single: bool


class Programs:
    """Runs a network on the default device; compiles it once for each size of the inputs."""

    def __init__(self, spec: Spec, variables: models.Variables, dtype: str) -> None:
        network, folded, options = select.for_prediction(spec, variables, jnp.dtype(dtype))
        self._spec = spec
        self._variables = jax.device_put(folded)
        self._apply = {
            False: jax.jit(partial(predict, network), compiler_options=options),
            True: jax.jit(partial(predict_with_error, network), compiler_options=options),
        }
        # The shapes for which each function is compiled.
        self._known: set[tuple[bool, tuple[int, ...], tuple[int, ...]]] = set()

    def load(self, frames: Frames) -> Inputs:
        """Pads inputs and begins their transfer to the device."""
        # Padding copies the arrays, which the caller may reuse.
        padded = arrays.padded(frames.image), arrays.padded(frames.depth)
        image, depth = jax.device_put(padded)
        return Inputs(image, depth, frames.size, frames.single)

    def warm_up(self, shape: tuple[int, int, int], channels: int, with_error: bool) -> None:
        """Compiles and runs the network for inputs `[B, H, W]` and images of these channels."""
        image = np.zeros((*shape, channels), np.uint8) if self._spec.uses_image else None
        depth = np.zeros((*shape, 1), np.float32) if self._spec.uses_depth else None
        inputs = self.load(Frames(image, depth, single=False))
        jax.block_until_ready(self.start(inputs, with_error, warn=False))

    def start(self, inputs: Inputs, with_error: bool, *, warn: bool = True) -> list[jax.Array]:
        """Starts a prediction. Returns the depth and possibly its error, `[B, H, W, 1]`.

        Args:
          inputs: on the device.
          with_error: whether the error is predicted too.
          warn: warn if this size has to be compiled, unless it is the first one.
        """
        image, depth = inputs.image, inputs.depth
        shapes = [() if array is None else array.shape for array in (image, depth)]
        key = with_error, shapes[0], shapes[1]
        if warn and self._known and key not in self._known:
            batch, height, width = (shapes[0] or shapes[1])[:3]
            warnings.warn(
                f"compiling the model for a batch of {batch} and {height}x{width} pixels, which "
                "takes seconds; warm_up compiles the sizes that are needed in advance",
                stacklevel=4,
            )
        self._known.add(key)
        return jax.tree.leaves(self._apply[with_error](self._variables, image, depth))

    def stream(
        self, loaded: Generator[Inputs, None, None], with_error: bool
    ) -> Generator[np.ndarray | DepthEstimate, None, None]:
        """Predicts one input after the other; two threads load and start the following ones."""
        started = ((inputs, self.start(inputs, with_error)) for inputs in one_ahead(loaded))
        with closing(one_ahead(started)) as ready:
            for inputs, outputs in ready:
                yield self.collect(inputs, outputs)

    @staticmethod
    def collect(inputs: Inputs, outputs: list[jax.Array]) -> np.ndarray | DepthEstimate:
        """Waits for the outputs of `start` and crops them."""
        height, width = inputs.size
        frames = 0 if inputs.single else slice(None)
        maps = [np.asarray(output)[frames, :height, :width, 0] for output in outputs]
        return DepthEstimate(*maps) if len(maps) > 1 else maps[0]
