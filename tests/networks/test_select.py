"""The form of a network that is selected, and its outputs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from fcfrnet_jax.networks import models, select
from fcfrnet_jax.networks.cpu.conv import CpuConv
from fcfrnet_jax.networks.fill import classical_fill
from fcfrnet_jax.networks.fold import fold
from fcfrnet_jax.networks.gpu.parts import GpuParts
from fcfrnet_jax.networks.parts import Parts
from fcfrnet_jax.networks.specs import CoarseToFineSpec, SparseToCoarseSpec, TwoStageSpec
from fcfrnet_jax.networks.tpu.parts import PackedParts
from tests import golden_data
from tests.random_weights import random_variables

FINE = CoarseToFineSpec(18, width=4)
BOTH = TwoStageSpec(SparseToCoarseSpec(18, width=4), FINE)


def inputs():
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (2, 32, 48, 3), dtype=np.uint8)
    return image, random.uniform(1, 80, (2, 32, 48, 1)).astype(np.float32)


def shapes(tree):
    return jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)


@pytest.mark.parametrize("name", golden_data.ONE_QUICK)
def test_golden_depth(name, monkeypatch):
    """Uses strips, as for images of full size."""
    monkeypatch.setattr("fcfrnet_jax.networks.cpu.winograd.STRIP_BYTES", 2**20)
    golden = golden_data.load(name)
    spec, variables = golden_data.model(name, int(golden["seed"]))
    network, folded, options = select.for_prediction(spec, variables)
    apply = jax.jit(network.apply, compiler_options=options)
    depth = apply(folded, golden_data.image(golden, spec), golden["depth"])
    difference = np.maximum(depth, 0.9) - golden["pred_eval"]
    assert 1e3 * np.sqrt(np.mean(np.square(difference, dtype=np.float64))) < 0.05
    assert 1e3 * np.abs(difference).max() < 0.5


@pytest.mark.slow
def test_a_real_frame_of_full_size(kitti_real):
    """Against the plain network, compiled as users compile it.

    At the optimisation level of the tests (see conftest.py), rounding changes one choice of the
    fusion on some processors, and with it the depth of 0.25% of the pixels by up to 46 mm.
    """
    folder = kitti_real / "depth_selection" / "val_selection_cropped"
    frame = "2011_09_30_drive_0016_sync_{}_0000000030_image_02.png"
    image = np.asarray(Image.open(folder / "image" / frame.format("image")))[None]
    sparse = Image.open(folder / "velodyne_raw" / frame.format("velodyne_raw"))
    coarse = classical_fill(np.asarray(sparse, np.float32)[None, ..., None] / 256)
    spec, variables = golden_data.model("fcfrnet18_rgbd", 7)
    as_users = {"xla_backend_optimization_level": 3}
    plain = jax.jit(models.build(spec).apply, compiler_options=as_users)
    network, folded, options = select.for_prediction(spec, variables)
    fast = jax.jit(network.apply, compiler_options=options | as_users)
    expected = np.float64(plain(variables, image, coarse))
    assert expected.shape == (1, 352, 1216, 1)
    difference = 1e3 * np.abs(fast(folded, image, coarse) - expected)
    assert np.sqrt(np.mean(np.square(difference))) < 0.05
    assert difference.max() < 0.5


@pytest.mark.usefixtures("short_resnet")
def test_on_a_cpu_wide_layers_use_winograd(monkeypatch):
    """Narrow networks are treated as wide ones; their depth must not change."""
    monkeypatch.setattr(select, "CpuConv", partial(CpuConv, min_channels=16))
    variables = random_variables(BOTH)
    network, folded, _ = select.for_prediction(BOTH, variables)
    assert shapes(folded) == shapes(models.shapes_of(network))
    for params in folded["params"].values():
        assert params["conv4"]["block0"]["conv2"]["kernel"].shape == (36, 16, 16)
        assert params["conv3"]["block0"]["conv2"]["kernel"].shape == (3, 3, 8, 8)
    plain = models.build(BOTH, folded=True)
    expected = jax.jit(plain.apply)(fold(BOTH, variables), *inputs())
    found = jax.jit(network.apply)(folded, *inputs())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=0.05)


@pytest.mark.usefixtures("short_resnet")
def test_variables_are_rounded_as_the_network_would_in_every_call():
    # Width 4 has no layers for Winograd, whose kernels `fold` does not transform.
    network, rounded, _ = select.for_prediction(BOTH, random_variables(BOTH), jnp.bfloat16)
    kinds = {
        (path[-2].key == "convtf", str(leaf.dtype))
        for path, leaf in jax.tree_util.tree_leaves_with_path(rounded)
    }
    assert kinds == {(True, "float32"), (False, "bfloat16")}
    exact = fold(BOTH, random_variables(BOTH))
    apply = jax.jit(network.apply)
    np.testing.assert_array_equal(apply(rounded, *inputs()), apply(exact, *inputs()))


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
def test_training_uses_the_variables_of_the_plain_network(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    network = select.for_training(FINE, remat=True)
    assert network.remat
    assert network.parts is {"cpu": Parts, "tpu": PackedParts, "gpu": GpuParts}[backend]
    assert (network.conv is CpuConv) == (backend == "cpu")
    assert models.shapes_of(network) == models.variable_shapes(FINE)


@pytest.mark.parametrize("backend", ["gpu", "tpu"])
def test_prediction_on_accelerators(monkeypatch, backend):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    variables = random_variables(FINE)
    network, folded, _ = select.for_prediction(FINE, variables)
    assert network.folded
    assert network.conv is nn.Conv
    assert network.parts is {"cpu": Parts, "tpu": PackedParts, "gpu": GpuParts}[backend]
    jax.tree.map(np.testing.assert_array_equal, folded, fold(FINE, variables))


@pytest.mark.parametrize(
    ("spec", "can"),
    [
        (SparseToCoarseSpec(34), True),
        (CoarseToFineSpec(18), True),
        (SparseToCoarseSpec(50), False),
        (CoarseToFineSpec(18, variant="paper"), False),
        (TwoStageSpec(SparseToCoarseSpec(), CoarseToFineSpec()), True),
        (TwoStageSpec(SparseToCoarseSpec(50), CoarseToFineSpec()), False),
        (TwoStageSpec(SparseToCoarseSpec(), CoarseToFineSpec(50)), False),
    ],
)
def test_which_networks_can_be_packed(monkeypatch, spec, can):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert select.can_pack(spec) == can
    network = select.for_training(spec)
    fine = network.fine if isinstance(spec, TwoStageSpec) else network
    assert (fine.parts is PackedParts) == can
