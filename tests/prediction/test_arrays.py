"""Conversion of the arrays of other libraries, and depth in other units."""

import jax.numpy as jnp
import numpy as np
import pytest

from fcfrnet_jax.networks.specs import SparseToCoarseSpec
from fcfrnet_jax.prediction.arrays import as_numpy, prepare

SPEC = SparseToCoarseSpec(18, modality="d")
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


class Tensor:
    """Behaves like a tensor of PyTorch that requires gradients."""

    def __init__(self, values, attached=True):
        self.values, self.attached = values, attached

    def detach(self):
        return Tensor(self.values, attached=False)

    def __array__(self, dtype=None, copy=None):
        if self.attached:
            raise RuntimeError("call detach")
        return self.values


class OnDevice(Tensor):
    """Like a tensor on a GPU, which NumPy cannot read until it is copied."""

    def detach(self):
        return self

    def cpu(self):
        return self.values


class Exchanged:
    """Has `__dlpack__` alone."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **settings):
        return self.values.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray, Tensor, OnDevice, Exchanged, list])
def test_arrays_of_other_libraries_are_converted(kind):
    np.testing.assert_array_equal(as_numpy(kind(VALUES), "depth"), VALUES)


def test_an_array_that_cannot_be_converted_is_named():
    with pytest.raises(ValueError, match=r"^depth: a tests\.\S+\.Broken cannot be converted to"):
        as_numpy(type("Broken", (Tensor,), {"detach": lambda self: self})(VALUES), "depth")


@pytest.mark.parametrize("scale", [256, 1000])
def test_integers_are_divided_by_the_scale(scale):
    stored = np.array([[0, 256], [1000, 65535]], np.uint16)
    found = prepare(SPEC, None, stored, scale).depth
    np.testing.assert_allclose(found[0, ..., 0], stored / scale, rtol=1e-6)


@pytest.mark.parametrize("scale", [0, -1, np.nan])
def test_a_scale_must_be_positive(scale):
    with pytest.raises(ValueError, match="depth_scale must be a positive number, got"):
        prepare(SPEC, None, VALUES, scale)
